"""Virtual time: a heap of events, and actors that sleep in it.

Nothing here waits for a real clock. An event is a callable at a time. While one runs, it may sleep: then the events
before its awakening run, on another thread, and it goes on. One thread runs at any moment, and a seed therefore gives
the same run every time. An actor that sleeps while nothing else happens costs an addition.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import Any

from tests.unit.memory import Crash

Action = Callable[[], Any]


class Stopped(BaseException):
    """The simulation is over: an actor that still sleeps ends here."""


class Actor(threading.Thread):
    """A thread that runs the events, until one of its own sleeps and another thread has to go on.

    ``killed_at`` is when the invocation that it is running ends, in the middle of a call too.
    """

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(daemon=True)
        self.baton = threading.Lock()
        self.baton.acquire()
        self.killed_at = inf
        self._timeline = timeline

    def run(self) -> None:
        while True:
            self.baton.acquire()
            if self._timeline.is_closed:
                return
            try:
                self._timeline._run_events(self)
            except Stopped:
                return


class Timeline:
    """The clock of a simulation, which is also the protocols' ``Clock``, and all that is still to happen."""

    def __init__(self, now: float) -> None:
        self.time = now
        self.is_closed = False
        #: Called after each event.
        self.after_event: Action = lambda: None
        self._heap: list[tuple[float, int, Action | Actor]] = []
        self._number = 0
        self._until = now
        self._actors: list[Actor] = []
        self._idle: list[Actor] = []
        self._finished = threading.Lock()
        self._finished.acquire()
        self._failure: BaseException | None = None

    def now(self) -> float:
        return self.time

    def at(self, time: float, action: Action) -> None:
        """Let something happen at ``time``, or now if that is past."""
        self._push(max(time, self.time), action)

    def after(self, seconds: float, action: Action) -> None:
        self._push(self.time + seconds, action)

    def run(self, until: float) -> None:
        """Let everything happen up to ``until``. Raises what an event raised."""
        assert not isinstance(threading.current_thread(), Actor), "an event cannot run the timeline"
        self._until = until
        self._hand_over()
        self._finished.acquire()
        if self._failure:
            raise self._failure

    def sleep(self, seconds: float) -> None:
        """Sleep in virtual time. The worker of an invocation that ends meanwhile is killed."""
        actor = threading.current_thread()
        if not isinstance(actor, Actor):
            self.run(self.time + seconds)
            return
        wake_at = min(self.time + seconds, actor.killed_at)
        if wake_at > self._until or (self._heap and self._heap[0][0] <= wake_at):
            self._push(wake_at, actor)
            self._wait(actor)
        else:
            self.time = wake_at
        if self.time >= actor.killed_at:
            raise Crash("killed")

    def park(self) -> Actor:
        """Wait until another actor wakes this one by :meth:`wake`. Returns this actor."""
        actor = threading.current_thread()
        assert isinstance(actor, Actor)
        self._wait(actor)
        return actor

    def wake(self, actor: Actor) -> None:
        self._push(self.time, actor)

    def close(self) -> None:
        """End every thread."""
        self.is_closed = True
        for actor in self._actors:
            actor.baton.release()
            actor.join()

    def _push(self, time: float, what: Action | Actor) -> None:
        self._number += 1
        heappush(self._heap, (time, self._number, what))

    def _wait(self, actor: Actor) -> None:
        if self.is_closed:
            raise Stopped
        self._hand_over()
        actor.baton.acquire()
        if self.is_closed:
            raise Stopped

    def _hand_over(self) -> None:
        if not self._idle:
            actor = Actor(self)
            self._actors.append(actor)
            actor.start()
            self._idle.append(actor)
        self._idle.pop().baton.release()

    def _run_events(self, actor: Actor) -> None:
        """Run events on this thread, until it is another one's turn or the time is over."""
        heap, after_event = self._heap, self.after_event
        while heap and heap[0][0] <= self._until:
            self.time, _, what = heappop(heap)
            if isinstance(what, Actor):
                self._idle.append(actor)
                what.baton.release()
                return
            try:
                what()
                after_event()
            except Stopped:
                raise
            except BaseException as failure:  # noqa: BLE001 - it is raised where the simulation was started
                self._failure = failure
                break
        else:
            self.time = self._until
        self._idle.append(actor)
        self._finished.release()


class Turns:
    """A semaphore in virtual time: so many actors may hold it at once."""

    def __init__(self, timeline: Timeline, turns: int) -> None:
        self._timeline = timeline
        self._free = turns
        self._waiting: list[Actor] = []

    def __enter__(self) -> None:
        if self._free:
            self._free -= 1
            return
        actor = threading.current_thread()
        assert isinstance(actor, Actor)
        self._waiting.append(actor)
        self._timeline.park()

    def __exit__(self, *_: object) -> None:
        if self._waiting:
            self._timeline.wake(self._waiting.pop(0))
        else:
            self._free += 1
