"""A share of a limit that many workers have in common: so many a second, without asking the others."""

from __future__ import annotations

from threading import Lock

from .ports import Clock


class Pace:
    """Lets callers through at a rate, at most one second's worth at once; the others wait their turn.

    Parameters
    ----------
    per_second
        How many, as the worker's share of the whole.
    """

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._apart = 1 / per_second
        self._clock = clock
        self._free_at = 0.0
        self._lock = Lock()

    def wait(self) -> None:
        """Return when it is the caller's turn."""
        with self._lock:
            now = self._clock.now()
            turn = max(self._free_at, now - 1)
            self._free_at = turn + self._apart
        if turn > now:
            self._clock.sleep(turn - now)
