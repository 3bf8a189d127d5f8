"""The ports in memory, with the monitor at each of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evergrant.adapters.aws.records import DueConnection
from evergrant.ports import Due, PortUnavailable
from evergrant.profiles.model import Profile, content_hash
from evergrant.record import queued_save
from evergrant.record.connection import Connection, RecordChange
from evergrant.record.sealed import Sealed
from tests.proof.faults import Faults
from tests.proof.monitor import Monitor
from tests.unit import memory
from tests.unit.memory import FakeClock


class Records(memory.MemoryRecords):
    def __init__(self, faults: Faults, clock: FakeClock, monitor: Monitor) -> None:
        super().__init__(faults)
        self.down_until = 0.0
        self._clock = clock
        self._monitor = monitor

    def apply(
        self,
        connection: str,
        change: RecordChange,
        only_if: dict[str, Any],
        lease_free_at: int | None,
        change_id: str,
    ) -> Connection:
        if self._clock.now() < self.down_until:
            raise PortUnavailable("the table is down")
        before = self.items.get(connection)
        after = super().apply(connection, change, only_if, lease_free_at, change_id)
        self.history.clear()
        if before is not None and self.items[connection] is not before:
            self._monitor.written(before, after, change.fields, only_if)
        return after

    def due(self, shard: str, before: int) -> Iterator[Due]:
        """The due index. A shard that shows nothing is asked for nothing: its failure would change nothing here."""
        due = [
            DueConnection(
                record.name, record.due_at, record.expires_at, record.client, record.endpoint or "", record.profile_hash
            )
            for record in self.items.values()
            if record.due_shard == shard and record.due_at is not None and record.due_at <= before
        ]
        if due:
            due.sort(key=lambda one: one.due_at)
            yield from self._faults.around("records.due", lambda: due, memory._unavailable)


class Seal(memory.MemorySeal):
    def __init__(self, faults: Faults, clock: FakeClock) -> None:
        super().__init__(faults)
        self.down_until = 0.0
        self._clock = clock

    def unseal(self, sealed: Sealed, connection: str, generation: int) -> bytes:
        if self._clock.now() < self.down_until:
            raise PortUnavailable("KMS is down")
        return super().unseal(sealed, connection, generation)


class Queue(memory.MemoryQueue):
    """Its messages are kept with the moment from which they can be received."""

    def __init__(self, faults: Faults, clock: FakeClock, monitor: Monitor) -> None:
        super().__init__(faults)
        self._clock = clock
        self._monitor = monitor

    def arrive(self, text: str, delay: int) -> None:
        assert 0 <= delay <= 900, "SQS delays a message by at most 15 minutes"
        self._monitor.sent(text)
        message = json.loads(text)
        if message.get("task") == queued_save.TASK:
            self._monitor.kept(memory.read_queued(message))
        self.messages.append((message, int(self._clock.now()) + delay))


class Bus(memory.MemoryBus):
    def __init__(self, faults: Faults, monitor: Monitor) -> None:
        super().__init__(faults)
        self._monitor = monitor

    def take(self, events: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
        self._monitor.sent(str(events))
        return super().take(events)


class Vault(memory.MemoryVault):
    def __init__(self, faults: Faults, monitor: Monitor) -> None:
        super().__init__(faults)
        self._monitor = monitor

    def publish(self, connection: str, *args: Any, **more: Any) -> None:
        self._monitor.publishes(connection)
        super().publish(connection, *args, **more)

    def put(self, connection: str, document: Mapping[str, Any], version: str) -> None:
        self._monitor.published(document)
        super().put(connection, document, version)


class Profiles:
    def __init__(self, faults: Faults, profiles: Sequence[Profile]) -> None:
        self._faults = faults
        self._by_hash = {content_hash(profile): profile for profile in profiles}

    def load_pinned(self, content_hash: str) -> Profile:
        return self._faults.around("profiles.load_pinned", lambda: self._by_hash[content_hash], memory._unavailable)  # type: ignore[no-any-return]
