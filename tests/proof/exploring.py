"""Every fault at every call, and every second one after it: complete, since each run is traced anew.

A history is a first pass, or several, and then recovery: fresh workers, woken by the queue and by the tick, until the
connection is at peace. From every state, a pass is run once without a fault, which gives the trace of its calls; then
once for each call of the trace and each kind of fault of that call; then, while faults are left, the same for the calls
after it in the trace that this run gave. Histories that come to the same state with as many faults left are one from
there on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from evergrant.record.status import Status
from tests.proof.faults import kinds
from tests.proof.judging import judge
from tests.proof.recovering import Recovery
from tests.proof.simulation import Simulation, determined
from tests.unit.memory import Crash


@dataclass
class Scenario:
    """A world, what its first worker does, and what must be true of it in the end beyond what always must.

    What comes ``then`` is a pass of its own: histories that are in the same state before it are followed once.
    ``undisturbed`` judges the history without a fault: that it took no longer than it has to.
    """

    name: str
    build: Callable[[], Simulation]
    first: Callable[[Simulation], object] = lambda world: world.worker()
    ends_as: tuple[Status, ...] = (Status.ACTIVE, Status.AUTHORIZATION_REQUIRED)
    also: Callable[[Simulation], None] = lambda _: None
    then: Callable[[Simulation], object] | None = None
    undisturbed: Callable[[Simulation], None] = lambda _: None

    @property
    def acts(self) -> Sequence[Callable[[Simulation], object]]:
        return [self.first, self.then] if self.then else [self.first]


@dataclass
class Report:
    """What an exploration covered. ``points`` counts the runs by how many faults had gone wrong in them."""

    points: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    states: int = 0
    ends: int = 0
    resent: Counter[str] = field(default_factory=Counter)
    windows: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@dataclass
class _Point:
    photograph: tuple[Any, ...]
    left: int
    #: Which of the scenario's acts comes next. None: recovery.
    act: int | None
    begun: float
    history: tuple[str, ...]
    key: tuple[bytes, int, int | None] | None = None


def explore(
    scenario: Scenario, faults: int, order: str = "in order", *, recovery: bool = True, most_failures: int = 1
) -> Report:
    """Follow every history of at most so many faults to its end, and check each state on the way.

    ``recovery`` says whether the workers that recover meet faults too, or only the first pass.
    """
    with determined():
        return _Exploration(scenario, faults, order, recovery, most_failures).run()


class _Exploration:
    def __init__(self, scenario: Scenario, faults: int, order: str, recovery: bool, most_failures: int) -> None:
        self.scenario = scenario
        self.world = scenario.build()
        self.most = faults
        self.order = order
        self.coming = Recovery(self.world, order)
        self.recovery = recovery
        self.most_failures = most_failures
        self.report = Report()
        self.known: set[tuple[bytes, int, int | None]] = set()

    def run(self) -> Report:
        world = self.world
        todo = [_Point(world.photograph(), self.most, 0, world.clock.now(), ())]
        while todo and len(self.report.failures) < self.most_failures:
            point = todo.pop()
            self.report.states += 1
            for plan, left in self._runs(point):
                names = tuple(f"{kind} @{at} {self._call(at)}" for at, kind in sorted(plan.items()))
                ended = point.act is None and left == point.left and self.coming.at_peace(point.begun)
                if ended and not world.faults.pending:
                    self._judge(point)
                    continue
                if ended:
                    world.faults.land()
                act = self._after(point.act)
                left = left if self.recovery or act is not None else 0
                key = (world.likeness(), left, act)
                if not names and key == point.key:
                    self.report.failures.append(f"{self._story(point)}: nothing moves on from here")
                if key not in self.known:
                    self.known.add(key)
                    todo.append(_Point(world.photograph(), left, act, point.begun, (*point.history, *names), key))
        return self.report

    def _call(self, at: int) -> str:
        calls = self.world.faults.calls
        return calls[at - 1] if at <= len(calls) else "?"

    def _runs(self, point: _Point) -> Iterator[tuple[dict[int, str], int]]:
        """Every run of the next pass: the world is as it was left by it whenever one is given."""
        plans: list[tuple[dict[int, str], int]] = [({}, point.left)]
        while plans:
            plan, left = plans.pop()
            if not self._pass(point, plan):
                continue
            used = self.most - left if point.act is not None or self.recovery else 0
            self.report.points[used] += bool(plan)
            faults = self.world.faults
            calls, could_land = list(faults.calls), list(faults.could_land)
            yield plan, left
            for at in range(max(plan, default=0) + 1, len(calls) + 1):
                if could_land[at - 1]:
                    plans.append(({**plan, at: "lands"}, 0))
                if left:
                    plans += (({**plan, at: kind}, left - 1) for kind in kinds(calls[at - 1]))
                    self.report.faults.update(f"{calls[at - 1]} {kind}" for kind in kinds(calls[at - 1]))

    def _pass(self, point: _Point, plan: dict[int, str]) -> bool:
        """Put the world back and run its next pass. False when a check failed."""
        world = self.world
        world.put_back(point.photograph)
        world.faults.begin(plan)
        try:
            if point.act is not None:
                with suppress(Crash):
                    self.scenario.acts[point.act](world)
            elif not self.coming.at_peace(point.begun):
                self.coming.next()
        except Exception as error:
            names = [f"{kind} @{at} {self._call(at)}" for at, kind in sorted(plan.items())]
            self.report.failures.append(f"{self._story(point, *names)}: {type(error).__name__}: {error}")
            if not isinstance(error, AssertionError) and self.most_failures == 1:
                raise
            return False
        return True

    def _after(self, act: int | None) -> int | None:
        return act + 1 if act is not None and act + 1 < len(self.scenario.acts) else None

    # --- judgement --------------------------------------------------------------------------------------------

    def _judge(self, point: _Point) -> None:
        self.report.ends += 1
        world = self.world
        self.report.ended[str(world.record.status)] += 1
        self.report.windows.update(world.seen.lost)
        self.report.resent.update({why: n for why, n in world.provider.resent.items() if " of refresh" not in why})
        try:
            judge(world, self.scenario.ends_as)
            self.scenario.also(world)
            if not point.history:
                self.scenario.undisturbed(world)
        except AssertionError as error:
            self.report.failures.append(f"{self._story(point)}: {error}")

    def _story(self, point: _Point, *more: str) -> str:
        return f"{self.scenario.name} ({self.order}): {' -> '.join([*point.history, *more]) or 'no fault'}"
