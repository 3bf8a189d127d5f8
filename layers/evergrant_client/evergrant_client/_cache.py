"""What a process remembers of each connection: the latest token, and how asking went.

A token is cached on its own expiry, never on a fixed TTL. The clock is the wall clock, since that is
what expiries are written in; a clock that was set back past the moment a token was received makes
that token stale, not younger.
"""

from __future__ import annotations

import math
import threading

from ._errors import AccessDenied, EvergrantError, TemporarilyUnavailable
from ._tokens import AccessToken

SAFETY_SECONDS = 5.0
"""A token counts as ended this long before it does: clocks differ, and a call takes time to arrive."""

PAUSE_SECONDS = (1.0, 5.0, 30.0)
"""After getter failed it is left alone for: at least, where it does not say, at most."""

SECRET_PAUSE_SECONDS = 3600.0
"""A secret that is absent or denied is not looked for again for so long, while getter answers instead."""


class Entry:
    """A cached token and the span of time in which it may be handed out."""

    __slots__ = ("not_before", "reach", "received", "token", "usable_until")

    def __init__(self, token: AccessToken, now: float, behind: float) -> None:
        self.token = token
        self.received = now
        self.not_before = now - SAFETY_SECONDS
        self.usable_until = token.expires_at - behind - SAFETY_SECONDS
        self.reach = math.inf

    def serves(self, now: float, min_ttl: float) -> bool:
        """Say whether the token is good for `min_ttl` seconds more."""
        if min_ttl > self.reach:
            # Nobody has a token that lives so long. Half of what there was when getter gave its freshest
            # is when asking again becomes worth it; else a 300-second token would be fetched on every call.
            min_ttl = self.reach / 2
        return self.not_before <= now < self.usable_until - min_ttl

    def ended(self, now: float) -> bool:
        """Say whether the token's end has come."""
        return self.usable_until + SAFETY_SECONDS <= now

    def lives(self, now: float) -> bool:
        """Say whether the token is good at all."""
        return self.not_before <= now < self.usable_until


class Slot:
    """One connection's lock, and what its latest fetches came to."""

    __slots__ = (
        *("fetches", "lock", "shared"),
        *("_failure", "_forced_at", "_forced_for", "_no_secret", "_no_secret_until", "_until"),
    )

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.fetches = 0  # completed ones; whoever sees it grow while waiting shares the outcome
        self.shared: EvergrantError | None = None  # how the latest fetch failed
        self._failure: EvergrantError | None = None  # of getter,
        self._until = 0.0  # and how long it is left alone for it
        self._forced_for = ""  # the fingerprint of the refused token that getter gave again,
        self._forced_at = 0.0  # and when
        self._no_secret = False
        self._no_secret_until = 0.0

    def leave_getter_alone(self, failure: EvergrantError, now: float) -> None:
        """Remember getter's failure, and do not ask it again for a while."""
        least, usual, most = PAUSE_SECONDS
        after = failure.retry_after if isinstance(failure, TemporarilyUnavailable) else None
        if isinstance(failure, AccessDenied):
            after = most  # until somebody changes a policy; each denied call is somebody's alarm
        self._failure = failure.again()
        self._until = now + min(max(usual if after is None else after, least), most)
        self._no_secret_until = 0.0

    def getter_failure(self, now: float) -> EvergrantError | None:
        """Return a copy of the failure for which getter is still being left alone."""
        if self._failure is None or not _ahead(self._until, now, PAUSE_SECONDS[-1]):
            return None
        failure = self._failure.again()
        if isinstance(failure, TemporarilyUnavailable):
            failure.retry_after = math.ceil(self._until - now)
        return failure

    def gave_again(self, refused: str, now: float) -> None:
        """Remember that getter, told of this refused token, had no other."""
        self._forced_for, self._forced_at = refused, now

    def has_no_other(self, refused: str, now: float) -> bool:
        """Say whether getter had no other token than this a moment ago."""
        usual = PAUSE_SECONDS[1]
        return self._forced_for == refused and _ahead(self._forced_at + usual, now, usual)

    def looked_for_secret(self, *, found: bool) -> None:
        """Remember whether there was a secret that may be read."""
        self._no_secret = not found

    def getter_answered(self, now: float) -> None:
        """Where there was no secret to read and getter gave the token, spare the next ones the look."""
        if self._no_secret:
            self._no_secret, self._no_secret_until = False, now + SECRET_PAUSE_SECONDS

    def secret_is_worth_a_look(self, now: float) -> bool:
        """Say whether there may be a secret to read."""
        return not _ahead(self._no_secret_until, now, SECRET_PAUSE_SECONDS)


def _ahead(moment: float, now: float, most: float) -> bool:
    """Whether the end of a pause is yet to come; a clock that was set back does not prolong it."""
    return 0 < moment - now <= most
