"""Protects a shared limit: each worker keeps to its share, and none waits without need."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import pytest

from evergrant.adapters.rate_limiter import RateLimiter


class Clock:
    """Each waiting thread sleeps by itself: what it returns from ``sleep`` is noted, and time stands still."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.slept: list[float] = []
        self._lock = Lock()

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)


def test_who_comes_rarely_never_waits() -> None:
    clock = Clock()
    pace = RateLimiter(4, clock)
    for _ in range(20):
        pace.wait()
        clock.time += 0.25
    assert clock.slept == []


@pytest.mark.parametrize("per_second", [0.5, 4, 40])
def test_a_burst_stays_within_twice_the_rate_then_at_the_rate(per_second: float) -> None:
    """Of many callers at once, no second sees more than twice the rate, and each later second the rate."""
    clock = Clock()
    pace = RateLimiter(per_second, clock)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: pace.wait(), range(100)))
    at_once = 100 - len(clock.slept)
    assert at_once <= per_second + 1
    later = Counter(int(seconds) for seconds in clock.slept if seconds >= 1)
    assert max(later.values()) <= max(per_second, 1)


def test_a_pause_is_no_credit_beyond_a_second() -> None:
    clock = Clock()
    pace = RateLimiter(4, clock)
    pace.wait()
    clock.time += 3600
    for _ in range(10):
        pace.wait()
    assert len(clock.slept) == 5


def test_no_wait_exceeds_the_patience_and_giving_up_takes_no_turn() -> None:
    """No caller waits longer than its patience, and one that gives up takes no other caller's turn."""
    clock = Clock()
    pace = RateLimiter(0.4, clock, max_wait=10)
    assert [pace.wait() for _ in range(8)] == [True] * 5 + [False] * 3
    assert max(clock.slept) <= 10
    clock.time += 2.5
    assert pace.wait()
