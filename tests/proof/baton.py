"""Several workers at once, one call of one of them at a time, in the order that a schedule gives.

Each worker is a thread that runs only while it holds the baton, from one call of a port to the next. So a schedule is
all there is to chance: the same one is the same run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from evergrant.errors import Conflict, LostResponse
from tests.proof.faults import Faults
from tests.unit.memory import Crash, FakeClock

ATTEMPT = 8.0


class Worker(threading.Thread):
    """A worker that waits for the baton before each call."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.act = act
        self.baton = threading.Semaphore(0)
        self.returned = threading.Semaphore(0)
        self.fault: str | None = None
        self.killed_at = float("inf")
        self.in_hand: set[str] = set()
        self.crashed = False
        self.failure: BaseException | None = None
        self.done = False

    def run(self) -> None:
        self.baton.acquire()
        try:
            self.act()
        except Crash:
            self.crashed = True
        except BaseException as error:  # noqa: BLE001 - it is raised again by who holds the schedule
            self.failure = error
        self.done = True
        self.returned.release()

    def wait_for_baton(self) -> None:
        self.returned.release()
        self.baton.acquire()

    def go_on(self, fault: str | None = None) -> None:
        """Let it run up to its next call; ``fault`` is of the call that it waits before."""
        self.fault = fault
        self.baton.release()
        self.returned.acquire()
        if self.failure:
            raise self.failure


class Baton(Faults):
    """The ports' calls, each of which waits for the baton when a worker of a schedule makes it."""

    def around(self, name: str, effect: Callable[[], Any], failure: Callable[[], Exception]) -> Any:
        worker = threading.current_thread()
        if not isinstance(worker, Worker):
            return super().around(name, effect, failure)
        began = self.clock.now()
        worker.wait_for_baton()
        fault, worker.fault = worker.fault, None
        if fault == "killed before" or self.clock.now() > worker.killed_at:
            raise Crash(name)
        if name == "provider.send" and self.clock.now() > began + ATTEMPT:
            raise LostResponse("made to fail")  # our own limit of time
        if fault == "fails before":
            raise failure()
        try:
            result = effect()
        except Conflict:
            if fault is None:
                raise
        if fault == "killed after":
            raise Crash(name)
        if fault == "fails after":
            raise LostResponse("made to fail") if name == "provider.send" else failure()
        return result

    @property
    def killed_at(self) -> float:
        worker = threading.current_thread()
        return worker.killed_at if isinstance(worker, Worker) else self._killed_at

    @killed_at.setter
    def killed_at(self, at: float) -> None:
        worker = threading.current_thread()
        if isinstance(worker, Worker):
            worker.killed_at = at
        else:
            self._killed_at = at

    @property
    def in_hand(self) -> set[str]:
        worker = threading.current_thread()
        return worker.in_hand if isinstance(worker, Worker) else self._in_hand

    @in_hand.setter
    def in_hand(self, answers: set[str]) -> None:
        worker = threading.current_thread()
        if isinstance(worker, Worker):
            worker.in_hand = answers
        else:
            self._in_hand = answers

    def __init__(self, clock: FakeClock, meanwhile: Callable[[], object]) -> None:
        self._killed_at, self._in_hand = float("inf"), set[str]()
        super().__init__(clock, meanwhile)
