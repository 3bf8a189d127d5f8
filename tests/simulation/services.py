"""The services of AWS in memory, in virtual time, with their latencies and failures.

They are the ports of :mod:`tests.unit.memory`. Added here are the due index, a queue that delivers, and windows of
failure.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from functools import partial
from math import inf
from operator import attrgetter
from random import Random
from typing import Any, Literal

from evergrant.adapters.aws.records import DueConnection
from evergrant.record.connection import Connection, RecordChange
from tests.simulation.timeline import Timeline
from tests.unit import memory

#: See the template: visibility timeout and receptions of the rotation queue, and the size of a batch.
REDELIVERY_SECONDS, MAX_RECEPTIONS, BATCH_SIZE = 360, 5, 10
#: A message that a function sends while it processes one of the same queue continues its chain. After so many, Lambda
#: hands the message to no function any more, unless the function allows it (Lambda guide, "Recursive loop detection").
MAX_CHAIN = 16
#: SQS delays a message by 15 minutes at most.
MAX_DELAY_SECONDS = 900

Service = Literal["records", "circuits", "seal", "vault", "queue", "bus"]
#: What the due index shows of a record.
_project = attrgetter(*(field.name for field in fields(DueConnection)))


@dataclass(frozen=True)
class Outage:
    """A service fails from ``start`` to ``end`` (epoch seconds), in ``share`` of its calls.

    ``takes_effect`` is the share of the failed calls that take effect all the same: only their answer is lost.
    """

    service: Service
    start: float
    end: float
    share: float = 1.0
    takes_effect: float = 0.0


class ServiceFaults(memory.Faults):
    """What a call of a service meets: its latency, and its failures."""

    def __init__(self, timeline: Timeline, random: Random) -> None:
        super().__init__()
        self._timeline = timeline
        self._random = random
        self.outages: list[Outage] = []
        #: The longest that a call takes, in seconds. Zero is cheap: calls then do not interleave.
        self.max_latency = 0.0

    def around(self, name: str, effect: Callable[[], Any], failure: Callable[[], Exception]) -> Any:
        if self.max_latency:
            self._timeline.sleep(self._random.uniform(0, self.max_latency))
        if self.outages:
            self._fail(name.partition(".")[0], effect, failure)
        return effect()

    def _fail(self, service: str, effect: Callable[[], Any], failure: Callable[[], Exception]) -> None:
        now = self._timeline.time
        for outage in self.outages:
            if outage.service == service and outage.start <= now < outage.end and self._random.random() < outage.share:
                if self._random.random() < outage.takes_effect:
                    effect()
                raise failure()


class Records(memory.MemoryRecords):
    """Connection records with their due index. ``written`` sees each change."""

    def __init__(self, faults: memory.Faults) -> None:
        super().__init__(faults)
        self.written: Callable[[Connection, Connection, RecordChange], None] = lambda *_: None
        self._shards: dict[str, dict[str, Connection]] = {}

    def create(self, connection: Connection) -> None:
        super().create(connection)
        self._index(connection)

    def apply(
        self,
        connection: str,
        change: RecordChange,
        only_if: dict[str, Any],
        lease_free_at: int | None,
        change_id: str,
    ) -> Connection:
        before = self.items.get(connection)
        after = super().apply(connection, change, only_if, lease_free_at, change_id)
        self.history.clear()
        if before is not None and self.items[connection] is not before:
            if before.due_shard is not None and before.due_shard != after.due_shard:
                self._shards[before.due_shard].pop(connection, None)
            self._index(after)
            self.written(before, after, change)
        return after

    def due(self, shard: str, before: int) -> Iterator[DueConnection]:
        """What is due before ``before``, the most overdue first."""

        def find() -> list[DueConnection]:
            found = [
                DueConnection(*_project(held))
                for held in self._shards.get(shard, {}).values()
                if held.due_at is not None and held.due_at <= before
            ]
            return sorted(found, key=lambda due: due.due_at)

        yield from self._faults.around("records.due", find, memory._unavailable)

    def _index(self, connection: Connection) -> None:
        if connection.due_shard is not None:
            self._shards.setdefault(connection.due_shard, {})[connection.name] = connection


class Vault(memory.MemoryVault):
    """Secrets Manager, of each secret the current version and the one before."""

    def put(self, connection: str, document: Mapping[str, Any], version: str) -> None:
        before = self.current_version.get(connection)
        super().put(connection, document, version)
        if before is not None and before != self.current_version[connection]:
            del self.versions[before]

    def read(self, connection: str) -> dict[str, Any] | None:
        """A consumer's direct read."""
        version = self.current_version.get(connection)
        return None if version is None or connection in self.deleted else dict(self.versions[version])


@dataclass(eq=False)
class Message:
    """``chain`` counts the messages before it of which each was sent while the one before was processed."""

    text: str
    chain: int = 0
    receptions: int = 0


@dataclass
class Batch:
    """One invocation for some messages.

    ``left`` counts those under work. ``killed_at`` is when it ends in any case; ``turns`` limits its requests.
    """

    messages: list[Message]
    left: int
    deadline: float = inf
    killed_at: float = inf
    turns: AbstractContextManager[Any] = field(default_factory=nullcontext)
    undone: list[Message] = field(default_factory=list)


class Queue(memory.MemoryQueue):
    """The rotation queue with its event source: batches are delivered to so many invocations at once.

    ``process`` processes one message in an actor of its own and returns whether it is done with. ``begin`` is called
    with each new batch. Delivery is at least once: ``duplicates`` is the share of messages that arrive twice, ``late``
    the share that is late, by a quarter of an hour at most.
    """

    def __init__(self, faults: memory.Faults, timeline: Timeline, random: Random, max_batches: int) -> None:
        super().__init__(faults)
        self._timeline = timeline
        self._random = random
        self._free = max_batches
        self._ready: deque[Message] = deque()
        #: By the thread that processes it.
        self._processed: dict[threading.Thread, Message] = {}
        #: As the template says of rotator.
        self.allows_recursion = True
        self.begin: Callable[[Batch], None] = lambda _: None
        self.process: Callable[[Batch, str], bool] = lambda *_: True
        self.duplicates = self.late = 0.0
        self.dead: list[str] = []

    def arrive(self, text: str, delay: int) -> None:
        assert 0 <= delay <= MAX_DELAY_SECONDS, "SQS delays a message by at most 15 minutes"
        before = self._processed.get(threading.current_thread())
        chain = before.chain + 1 if before else 0
        copies = 2 if self.duplicates and self._random.random() < self.duplicates else 1
        for number in range(copies):
            wait = float(delay) + (self._random.uniform(0, 60) if number else 0)
            if self.late and self._random.random() < self.late:
                wait += self._random.uniform(0, MAX_DELAY_SECONDS)
            self._timeline.after(wait, partial(self._show, Message(text, chain)))

    def _show(self, message: Message) -> None:
        self._ready.append(message)
        if self._free:
            self._timeline.after(0, self._receive)

    def _receive(self) -> None:
        if not self._ready or not self._free:
            return
        self._free -= 1
        taken = [self._ready.popleft() for _ in range(min(BATCH_SIZE, len(self._ready)))]
        batch = Batch(taken, len(taken))
        self.begin(batch)
        for message in taken:
            message.receptions += 1
            self._timeline.after(0, partial(self._work, batch, message))

    def _work(self, batch: Batch, message: Message) -> None:
        done = False
        self._processed[threading.current_thread()] = message
        try:
            if self.allows_recursion or message.chain < MAX_CHAIN:
                done = self.process(batch, message.text)
        except memory.Crash:
            batch.undone = list(batch.messages)  # none was deleted
        finally:
            del self._processed[threading.current_thread()]
            if not done and message not in batch.undone:
                batch.undone.append(message)
            batch.left -= 1
            if not batch.left and not self._timeline.is_closed:
                self._end(batch)

    def _end(self, batch: Batch) -> None:
        self._free += 1
        for message in batch.undone:
            if message.receptions >= MAX_RECEPTIONS:
                self.dead.append(message.text)
            else:
                self._timeline.after(REDELIVERY_SECONDS, partial(self._show, message))
        self._receive()


class Bus(memory.MemoryBus):
    """The bus, on which each event arrives once or more. ``delivered`` sees it once."""

    def __init__(self, faults: memory.Faults, delivered: Callable[[Mapping[str, Mapping[str, Any]]], None]) -> None:
        super().__init__(faults)
        self._delivered = delivered
        self._known: set[str] = set()

    def take(self, events: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
        new = {key: body for key, body in events.items() if key not in self._known}
        self._known.update(new)
        self._delivered(new)
        return frozenset(events)
