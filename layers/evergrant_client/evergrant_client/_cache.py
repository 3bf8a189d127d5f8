"""What a process remembers of each connection: the latest token, and how asking went.

A token is cached on its own expiry, never on a fixed TTL. The clock is the wall clock, since that is
what expiries are written in; a clock that was set back past the moment a token was received makes
that token stale, not younger.
"""

from __future__ import annotations

import math
import threading

from ._errors import EvergrantError, TemporarilyUnavailable
from ._tokens import AccessToken

SAFETY_SECONDS = 5.0
"""A token counts as ended this long before it does: clocks differ, and a call takes time to arrive."""

PAUSE_SECONDS = (1.0, 5.0, 30.0)
"""After getter failed it is left alone for: at least, where it does not say, at most."""


class Entry:
    """A cached token and the span of time in which it may be handed out."""

    __slots__ = ("not_before", "reach", "token", "usable_until")

    def __init__(self, token: AccessToken, now: float) -> None:
        self.token = token
        self.not_before = now - SAFETY_SECONDS
        self.usable_until = token.expires_at - SAFETY_SECONDS
        self.reach = math.inf

    def serves(self, now: float, min_ttl: float) -> bool:
        """Say whether the token is good for `min_ttl` seconds more."""
        if min_ttl > self.reach:
            # Nobody has a token that lives so long. Half of what there was when getter gave its freshest
            # is when asking again becomes worth it; else a 300-second token would be fetched on every call.
            min_ttl = self.reach / 2
        return self.not_before <= now < self.usable_until - min_ttl

    def lives(self, now: float) -> bool:
        """Say whether the token is good at all."""
        return self.not_before <= now < self.usable_until


class Slot:
    """One connection's lock, and the outcome of its latest fetch for those who waited at the lock."""

    __slots__ = ("_failure", "_until", "fetches", "forced", "forced_for", "lock", "shared")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.fetches = 0  # completed ones; whoever sees it grow while waiting shares the outcome
        self.shared: EvergrantError | None = None  # how the latest fetch failed
        self.forced = 0  # forced refreshes asked for, and
        self.forced_for = ""  # the fingerprint of the refused token of the latest
        self._failure: EvergrantError | None = None
        self._until = 0.0

    def leave_getter_alone(self, failure: EvergrantError, now: float) -> None:
        """Remember getter's failure, and do not ask it again for a while."""
        least, usual, most = PAUSE_SECONDS
        after = failure.retry_after if isinstance(failure, TemporarilyUnavailable) else None
        self._failure = failure.again()
        self._until = now + min(max(usual if after is None else after, least), most)

    def getter_failure(self, now: float) -> EvergrantError | None:
        """Return a copy of the failure for which getter is still being left alone."""
        # The upper bound keeps a clock that was set back from prolonging the pause.
        if self._failure is None or not 0 < self._until - now <= PAUSE_SECONDS[-1]:
            return None
        failure = self._failure.again()
        if isinstance(failure, TemporarilyUnavailable):
            failure.retry_after = math.ceil(self._until - now)
        return failure
