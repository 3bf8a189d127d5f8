"""Cache the latest token of each connection, and how the latest fetches ended.

A token is cached until its own expiry, never for a fixed TTL. The clock is the wall clock, in which
expiries are written. Where it is set back past the time at which a token was received, that token is
stale, not younger.
"""

from __future__ import annotations

import math
import threading

from ._errors import AccessDenied, EvergrantError, TemporarilyUnavailable
from ._tokens import AccessToken

SAFETY_SECONDS = 5.0
"""A token counts as expired this long before it is: clocks differ, and a call takes time to arrive."""

PAUSE_SECONDS = (1.0, 5.0, 30.0)
"""The pause after a failure of getter: the least, the usual where getter gives none, the most."""

SECRET_PAUSE_SECONDS = 3600.0
"""How long an absent or denied secret is not read again, while getter answers instead."""


class Entry:
    """A cached token and the span of time in which it may be handed out."""

    __slots__ = ("best_ttl", "not_before", "received", "token", "usable_until")

    def __init__(self, token: AccessToken, now: float, behind: float) -> None:
        self.token = token
        self.received = now
        self.not_before = now - SAFETY_SECONDS
        self.usable_until = token.expires_at - behind - SAFETY_SECONDS
        self.best_ttl = math.inf

    def is_fresh(self, now: float, min_ttl: float) -> bool:
        """Whether the token is valid for `min_ttl` seconds more."""
        if min_ttl > self.best_ttl:
            # Getter has no token that lives so long. Asking again is worth it after half the lifetime of its
            # freshest one; otherwise a token of 300 seconds would be fetched on every call.
            min_ttl = self.best_ttl / 2
        return self.not_before <= now < self.usable_until - min_ttl

    def has_expired(self, now: float) -> bool:
        """Whether the token has expired."""
        return self.usable_until + SAFETY_SECONDS <= now

    def is_valid(self, now: float) -> bool:
        """Whether the token is valid now."""
        return self.not_before <= now < self.usable_until


class Slot:
    """One connection's lock, and how its latest fetches ended."""

    __slots__ = (
        *("fetches", "lock", "shared"),
        *("_failure", "_forced_at", "_forced_for", "_no_secret", "_no_secret_until", "_until"),
    )

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.fetches = 0  # completed ones; a thread that sees it grow while it waits shares the outcome
        self.shared: EvergrantError | None = None  # how the latest fetch failed
        self._failure: EvergrantError | None = None  # of getter,
        self._until = 0.0  # and until when it is not asked again
        self._forced_for = ""  # the fingerprint of the rejected token that getter gave again,
        self._forced_at = 0.0  # and when
        self._no_secret = False
        self._no_secret_until = 0.0

    def record_failure(self, failure: EvergrantError, now: float) -> None:
        """Record getter's failure. Getter is not asked again for a while."""
        least, usual, most = PAUSE_SECONDS
        after = failure.retry_after if isinstance(failure, TemporarilyUnavailable) else None
        if isinstance(failure, AccessDenied):
            after = most  # until a policy changes; a denied call may raise an alarm in the account
        self._failure = failure.copy()
        self._until = now + min(max(usual if after is None else after, least), most)
        self._no_secret_until = 0.0

    def find_failure(self, now: float) -> EvergrantError | None:
        """Return a copy of the failure after which getter is still not asked."""
        if self._failure is None or not _is_ahead(self._until, now, PAUSE_SECONDS[-1]):
            return None
        failure = self._failure.copy()
        if isinstance(failure, TemporarilyUnavailable):
            failure.retry_after = math.ceil(self._until - now)
        return failure

    def record_no_other(self, refused: str, now: float) -> None:
        """Record that getter has no other token than this rejected one."""
        self._forced_for, self._forced_at = refused, now

    def has_no_other(self, refused: str, now: float) -> bool:
        """Whether getter had no other token than this one a moment ago."""
        usual = PAUSE_SECONDS[1]
        return self._forced_for == refused and _is_ahead(self._forced_at + usual, now, usual)

    def record_secret(self, *, found: bool) -> None:
        """Record whether there was a secret that may be read."""
        self._no_secret = not found

    def record_answer(self, now: float) -> None:
        """Record that getter gave the token. Where there was no secret to read, the next fetches skip it."""
        if self._no_secret:
            self._no_secret, self._no_secret_until = False, now + SECRET_PAUSE_SECONDS

    def may_have_secret(self, now: float) -> bool:
        """Whether there may be a secret to read."""
        return not _is_ahead(self._no_secret_until, now, SECRET_PAUSE_SECONDS)


def _is_ahead(moment: float, now: float, most: float) -> bool:
    """Whether the end of a pause is ahead. A clock that was set back does not prolong the pause."""
    return 0 < moment - now <= most
