"""Recovery: messages arrive and ticks come by, in one order or another, until every connection is at peace."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from evergrant.record.connection import Connection
from evergrant.record.status import INACTIVE_STATUSES, Status
from evergrant.times import DAY_SECONDS, TICK_HORIZON_SECONDS
from tests.proof.simulation import DELIVERIES, REDELIVERY, Simulation
from tests.unit.memory import Crash

#: How messages arrive: at once and in order; the last first, each twice, after the tick; a save minutes late.
ORDERS = ("in order", "doubled", "saves last")
_LATE = 150


class Recovery:
    def __init__(self, world: Simulation, order: str = "in order") -> None:
        self.world = world
        self.order = order

    def at_peace(self, begun: float) -> bool:
        """Whether nothing is left to happen but what happens every day; or enough of that happened since ``begun``."""
        records = self.world.records.items.values()
        return (self._nothing_waits() and all(self._calm(record) for record in records)) or all(
            self._waited_for(record, begun) for record in records
        )

    def _waited_for(self, record: Connection, begun: float) -> bool:
        over, patience = self.world.clock.now() - begun, self.world.patience
        return over > 2 * patience or (over > patience and not record.outbox and record.status is not Status.DEGRADED)

    def _calm(self, record: Connection) -> bool:
        now = self.world.clock.now()
        if record.status in INACTIVE_STATUSES or record.status is Status.AWAITING_AUTHORIZATION:
            return record.due_at is None or record.due_at > now + DAY_SECONDS
        if record.status is Status.AUTHORIZATION_REQUIRED and not (self.world.person or self.world.alive(record)):
            # Of a grant that is dead no probe brings anything.
            return not (record.attempt_id or record.lease_owner or record.outbox or record.is_unpublished)
        calm = record.status is Status.ACTIVE and not (record.attempt_id or record.lease_owner or record.outbox)
        due = record.refresh_at is None or record.refresh_at <= now
        return calm and not record.is_unpublished and not record.failures and not due

    def _nothing_waits(self) -> bool:
        """Whether no message waits but that of the next refresh of a connection in order."""
        messages = self.world.queue.messages
        records = self.world.records.items
        named = [message.get("connection") for message, _ in messages]
        return len(named) == len(set(named)) and all(
            "task" not in message and at == records[message["connection"]].refresh_at for message, at in messages
        )

    def settle(self) -> None:
        """Go on until there is peace, without a fault."""
        begun = self.world.clock.now()
        self.world.faults.begin({})
        while not self.at_peace(begun):
            self.next()

    def next(self) -> None:
        """The next thing that happens: a message arrives, or the tick comes by, after the time that has to pass."""
        world = self.world
        messages = world.queue.messages
        due = min((record.due_at for record in world.records.items.values() if record.due_at is not None), default=None)
        tick_at = None if due is None else max(due - TICK_HORIZON_SECONDS, world.next_tick)
        arrivals = [(self._arrives(message, at), number) for number, (message, at) in enumerate(messages)]
        if self.order == "doubled":
            arrivals = [(at, -number) for at, number in arrivals]
        first = min(arrivals, default=None)
        try:
            if first is None and world.person and world.person():
                return
        except Crash:
            return
        if first is None and tick_at is None:
            world.clock.advance(world.patience)
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
