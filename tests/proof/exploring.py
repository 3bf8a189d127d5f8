"""Every fault at every call, and every second one after it: complete, since each run is traced anew.

A history is a first pass and then recovery: fresh workers, woken by the queue and by the tick, until the connection is
at peace. From every state, a pass is run once without a fault, which gives the trace of its calls; then once for each
call of the trace and each kind of fault of that call; then, while faults are left, the same for the calls after it in
the trace that this run gave. Histories that come to the same state with as many faults left are one from there on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from evergrant import schedule
from evergrant.connection import AT_REST, Status
from tests.proof.faults import kinds
from tests.proof.simulation import DELIVERIES, REDELIVERY, Simulation, determined
from tests.unit.memory import Crash

#: How messages arrive: at once and in order; the last first, each twice, after the tick; a save minutes late.
ORDERS = ("in order", "doubled", "saves last")
_LATE = 150
_PATIENCE = 4 * schedule.DAY


@dataclass
class Scenario:
    """A world, what its first worker does, and what must be true of it in the end beyond what always must."""

    name: str
    build: Callable[[], Simulation]
    first: Callable[[Simulation], object] = lambda world: world.worker()
    ends_as: tuple[Status, ...] = (Status.ACTIVE,)


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
    first: bool
    begun: float
    history: tuple[str, ...]
    key: tuple[str, int] | None = None


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
        self.recovery = recovery
        self.most_failures = most_failures
        self.report = Report()
        self.known: set[tuple[str, int]] = set()

    def run(self) -> Report:
        world = self.world
        todo = [_Point(world.photograph(), self.most, True, world.clock.now(), ())]
        while todo and len(self.report.failures) < self.most_failures:
            point = todo.pop()
            self.report.states += 1
            for plan, left in self._runs(point):
                names = tuple(f"{kind} @{at} {self._call(at)}" for at, kind in sorted(plan.items()))
                ended = not point.first and left == point.left and self._at_peace(point)
                if ended and not world.faults.pending:
                    self._judge(point)
                    continue
                if ended:
                    world.faults.land()
                left = left if self.recovery else 0
                key = (world.likeness(), left)
                if not names and key == point.key:
                    self.report.failures.append(f"{self._story(point)}: nothing moves on from here")
                if key not in self.known:
                    self.known.add(key)
                    todo.append(_Point(world.photograph(), left, False, point.begun, (*point.history, *names), key))
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
            used = self.most - left if point.first or self.recovery else 0
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
            if point.first:
                self._first()
            elif not self._at_peace(point):
                self._recover()
        except Exception as error:
            names = [f"{kind} @{at} {self._call(at)}" for at, kind in sorted(plan.items())]
            self.report.failures.append(f"{self._story(point, *names)}: {type(error).__name__}: {error}")
            if not isinstance(error, AssertionError) and self.most_failures == 1:
                raise
            return False
        return True

    def _first(self) -> None:
        with suppress(Crash):
            self.scenario.first(self.world)

    # --- recovery ---------------------------------------------------------------------------------------------

    def _at_peace(self, point: _Point) -> bool:
        world = self.world
        record = world.record
        over = self.world.clock.now() - point.begun
        if over > 2 * _PATIENCE or (over > _PATIENCE and not record.outbox and record.status is not Status.DEGRADED):
            return True
        if world.queue.messages and not (len(world.queue.messages) == 1 and self._mere_schedule()):
            return False
        if record.status in AT_REST or record.status is Status.AWAITING_AUTHORIZATION:
            return record.due_at is None or record.due_at > world.clock.now() + schedule.DAY
        calm = record.status is Status.ACTIVE and not (record.spend_id or record.lease_owner or record.outbox)
        due = record.refresh_at is None or record.refresh_at <= world.clock.now()
        return calm and not record.unpublished and not record.failures and not due

    def _mere_schedule(self) -> bool:
        """Whether the one message waiting is that of the next refresh of a connection in order."""
        [(message, visible_at)] = self.world.queue.messages
        return "task" not in message and visible_at == self.world.record.refresh_at

    def _recover(self) -> None:
        """The next thing that happens: a message arrives, or the tick comes by, after the time that has to pass."""
        world = self.world
        record, messages = world.record, world.queue.messages
        tick_at = None if record.due_at is None else max(record.due_at - schedule.HORIZON, world.next_tick)
        arrivals = [(self._arrives(message, at), number) for number, (message, at) in enumerate(messages)]
        if self.order == "doubled":
            arrivals = [(at, -number) for at, number in arrivals]
        first = min(arrivals, default=None)
        if first is None and tick_at is None:
            world.clock.advance(_PATIENCE)
            return
        now = world.clock.now()
        message_at = max(first[0], now) if first else float("inf")
        tick_at = max(tick_at, now) if tick_at is not None else float("inf")
        if tick_at < message_at or (tick_at == message_at and self.order == "doubled"):
            world.clock.time = float(tick_at)
            with suppress(Crash):
                world.tick()
            return
        world.clock.time = float(message_at)
        assert first
        message, _ = messages.pop(abs(first[1]))
        self._deliver(message)

    def _arrives(self, message: dict[str, Any], visible_at: int) -> float:
        late = self.order == "saves last" and message.get("task") == "save" and not message.get("resent")
        return visible_at + (_LATE if late else 0)

    def _deliver(self, message: dict[str, Any]) -> None:
        world, deliveries = self.world, message.pop("deliveries", 1)
        try:
            done = world.worker(message)
            if self.order == "doubled" and not message.get("resent"):
                world.worker(message)
        except Crash:
            done = False
        if not done and deliveries < DELIVERIES:
            redelivered = {**message, "deliveries": deliveries + 1}
            world.queue.messages.append((redelivered, int(world.clock.now()) + REDELIVERY))

    # --- judgement --------------------------------------------------------------------------------------------

    def _judge(self, point: _Point) -> None:
        self.report.ends += 1
        world = self.world
        self.report.ended[str(world.record.status)] += 1
        self.report.windows.update(world.seen.lost)
        self.report.resent.update({why: n for why, n in world.provider.resent.items() if " of refresh" not in why})
        try:
            judge(world, self.scenario)
        except AssertionError as error:
            self.report.failures.append(f"{self._story(point)}: {error}")

    def _story(self, point: _Point, *more: str) -> str:
        return f"{self.scenario.name} ({self.order}): {' -> '.join([*point.history, *more]) or 'no fault'}"


def settle(world: Simulation) -> None:
    """Recovery without a fault, until the connection is at peace."""
    exploration = _Exploration(Scenario("settling", lambda: world), 0, "in order", False, 1)
    point = _Point((), 0, False, world.clock.now(), ())
    world.faults.begin({})
    while not exploration._at_peace(point):
        exploration._recover()


def judge(world: Simulation, scenario: Scenario) -> None:
    """What must be true in the end."""
    record, seen = world.record, world.seen
    assert record.status in (*scenario.ends_as, Status.AUTHORIZATION_REQUIRED), f"it ended as {record.status}"
    assert set(seen.told) <= set(world.bus.events), "an event was never delivered"
    rotated = [body["detail"]["generation"] for body in world.bus.events.values() if "generation" in body["detail"]]
    assert len(rotated) == len(set(rotated)), "a generation was told of twice"
    stored = world.stored
    if record.status in (Status.DISCONNECTED, Status.AWAITING_AUTHORIZATION):
        assert stored is None, "what was given up came back"
        return
    assert stored
    lost = {window.rpartition(" ")[2] for window in seen.lost}
    reached = {_grant(token) for token in seen.received - lost} | {0}
    newest = f"access-{max(world.provider.live)}-{world.provider.number}"
    if record.status is Status.AUTHORIZATION_REQUIRED:
        assert not world.alive, "a grant that lives is given up"
        assert newest not in seen.received or newest in lost, "its newest answer reached us, and is not stored"
        return
    if stored.refresh_token:
        grant = _grant(stored.refresh_token.reveal())
        # Whoever logs in again where a refresh is refused cannot lose its grant, and need not keep the newest.
        # Paused, and so nobody has to be asked, with a grant whose last answer never reached us.
        unreached = record.status is Status.PAUSED and newest not in seen.received - lost
        assert world.alive or record.grant == "login" or unreached, (
            "the stored refresh token is not the provider's live one"
        )
        renewed = {grant for grant in reached if grant > 0}  # of two that were connected at once either may win
        assert grant in (renewed or {0}) or record.grant == "login", "an older grant outlived a newer one"
        assert grant > seen.given_up, "a grant that was given up came back"
    if record.status is Status.ACTIVE and record.direct_read and stored.lifetime >= 1800:
        if world.overtaken:
            # A Put that came in late is noticed by the next reader whose token is refused or stale.
            world.faults.begin({})
            world.worker(asked=True)
        assert world.vault.published.get(record.name, {}).get("access_token") == stored.access_token.reveal(), (
            "consumers see another token than the stored one"
        )


def _grant(token: str) -> int:
    return int(token.split("-")[1])
