"""Limit the rate of calls to one worker's share of a common quota."""

from __future__ import annotations

from threading import Lock

from ..ports import Clock


class RateLimiter:
    """Lets callers through at a rate, at most one second's worth at once. The others wait their turn.

    Parameters
    ----------
    per_second
        Calls per second: the worker's share of the quota.
    max_wait
        No caller waits longer, in seconds: with a small share and many callers the invocation would end first.
    """

    def __init__(self, per_second: float, clock: Clock, max_wait: float = float("inf")) -> None:
        self._interval = 1 / per_second
        self._max_wait = max_wait
        self._clock = clock
        self._free_at = 0.0
        self._lock = Lock()

    def wait(self) -> bool:
        """Wait for the caller's turn. Returns False at once where that would be too late."""
        with self._lock:
            now = self._clock.now()
            turn = max(self._free_at, now - 1)
            if turn - now > self._max_wait:
                return False
            self._free_at = turn + self._interval
        if turn > now:
            self._clock.sleep(turn - now)
        return True
