"""A share of a limit that many workers have in common: so many a second, without asking the others."""

from __future__ import annotations

from threading import Lock

from ..ports import Clock


class RateLimiter:
    """Lets callers through at a rate, at most one second's worth at once; the others wait their turn.

    Parameters
    ----------
    per_second
        How many, as the worker's share of the whole.
    patience
        Nobody waits for longer, in seconds: a small share and many at once, and an invocation would end before.
    """

    def __init__(self, per_second: float, clock: Clock, patience: float = float("inf")) -> None:
        self._apart = 1 / per_second
        self._patience = patience
        self._clock = clock
        self._free_at = 0.0
        self._lock = Lock()

    def wait(self) -> bool:
        """Return when it is the caller's turn; False at once where that would be too late."""
        with self._lock:
            now = self._clock.now()
            turn = max(self._free_at, now - 1)
            if turn - now > self._patience:
                return False
            self._free_at = turn + self._apart
        if turn > now:
            self._clock.sleep(turn - now)
        return True
