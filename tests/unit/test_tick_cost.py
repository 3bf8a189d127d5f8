"""Protects the cost of a tick: it grows with what is due, not with what exists; and what is due together is spread.

Capacity is counted as DynamoDB counts it (Developer Guide, "Read/write capacity units", "Global secondary indexes").
"""

from __future__ import annotations

import heapq
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import pytest
from msgspec import structs

from evergrant.adapters.aws.items import to_item
from evergrant.adapters.observability import metrics
from evergrant.http_messages import HttpRequest, HttpResponse
from evergrant.oauth.token_set import TokenLifetime
from evergrant.profiles.model import Profile, Rate, content_hash
from evergrant.profiles.model import Rotation as ProfileRotation
from evergrant.record import refresh_schedule
from evergrant.record.connection import Connection
from evergrant.record.sealed import Sealed
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.handler import process_task
from evergrant.rotation.tick import Tick, TickPorts, tick
from evergrant.settings import Settings
from evergrant.times import DAY_SECONDS, TICK_SECONDS
from tests.unit.fleet import connection as due_connection
from tests.unit.fleet import fleet
from tests.unit.memory import FakeClock, Faults, MemoryCircuits, MemoryProfiles, answer
from tests.unit.samples import KEAP, NOW, connection

#: What the index holds of an item, see template.yaml.
PROJECTED = ("pk", "due_shard", "due_at", "expires_at", "client", "endpoint", "profile_hash")


def size(item: Mapping[str, Any]) -> int:
    """An item's size in bytes ("DynamoDB item sizes and formats"), a little more than DynamoDB counts for numbers."""
    return sum(len(name) + _size(value) for name, value in item.items())


def _size(typed: Mapping[str, Any]) -> int:
    ((kind, value),) = typed.items()
    if kind == "M":
        return 3 + sum(len(name) + _size(held) + 1 for name, held in value.items())
    return len(value) if kind in "SB" else len(str(value)) // 2 + 2 if kind == "N" else 1


@dataclass(frozen=True)
class Entry:
    """A line of the due index."""

    name: str
    due_at: int
    expires_at: int | None
    client: str
    endpoint: str
    profile_hash: str


class Table:
    """A table and its due index that count what they consume, as fast for many items as for few."""

    def __init__(self, template: Connection) -> None:
        item = to_item(template)
        self._item_size = size(item)
        self._line_size = size({name: item[name] for name in PROJECTED})
        self._template = template
        self._shards: dict[str, list[tuple[int, str]]] = {
            str(number): [] for number in range(refresh_schedule.SHARD_COUNT)
        }
        self._due_at: dict[str, int] = {}
        self.read = self.written = 0.0

    def __len__(self) -> int:
        return len(self._due_at)

    def put(self, name: str, due_at: int) -> None:
        if name in self._due_at:
            self._shards[refresh_schedule.choose_shard(name)].remove((self._due_at[name], name))
        self._due_at[name] = due_at
        insort(self._shards[refresh_schedule.choose_shard(name)], (due_at, name))

    def due(self, shard: str, before: int) -> Iterator[Entry]:
        lines = self._shards[shard]
        found = lines[: bisect_right(lines, (before, chr(0x10FFFF)))]
        # An eventually consistent query: half a unit for each 4 KB of all that it read, and for nothing as well.
        self.read += max(ceil(len(found) * self._line_size / 4096), 1) / 2
        held = self._template
        for due_at, name in found:
            yield Entry(name, due_at, held.expires_at, held.client, held.endpoint or "", held.profile_hash)

    def claim(self, connection: str, due_at: int, until: int) -> bool:
        # A unit for each KB of the item, however little of it changes; a refused write costs as much.
        self.written += ceil(self._item_size / 1024)
        if due_at != self._due_at[connection]:
            return False
        # The index's sort key changes: one line is deleted, another one put.
        self.written += 2 * ceil(self._line_size / 1024)
        self.put(connection, until)
        return True

    def change(self, connection: str, fields: Any, **_: Any) -> Any:
        raise AssertionError("a tick changes nothing but a due date")

    def get(self, connection: str) -> Any:
        raise AssertionError("a tick reads nothing but the index")

    def create(self, connection: Any) -> None:
        raise AssertionError("a tick creates nothing")


class Queue:
    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []

    def send_many(self, messages: Sequence[tuple[Mapping[str, Any], int]]) -> int:
        self.sent += [(message["connection"], delay) for message, delay in messages]
        return len(messages)


class Profiles:
    def __init__(self, profile: Profile = KEAP) -> None:
        self._profile = profile

    def load_pinned(self, content_hash: str) -> Profile:
        return self._profile


def whole() -> Connection:
    """A record of the usual size: a sealed token set of 2 KB and all its fields."""
    sealed = Sealed(b"k" * 184, b"n" * 12, b"t" * 2000)
    return connection(
        sealed=sealed,
        expires_at=NOW + DAY_SECONDS,
        due_at=NOW,
        due_shard="0",
        profile_hash=content_hash(KEAP),
        endpoint="https://api.example.com/token",
    )


def run(table: Table, queue: Queue, clock: FakeClock, faults: Faults | None = None, profile: Profile = KEAP) -> Tick:
    circuits: Any = MemoryCircuits(faults or Faults())
    return tick(TickPorts(table, circuits, Profiles(profile), queue, clock), clock.now() + 55)  # type: ignore[arg-type]


@pytest.mark.parametrize("due", [0, 50])
def test_a_tick_costs_as_much_at_100000_connections_as_at_100(due: int) -> None:
    """A tick consumes as much among a hundred thousand connections as among a hundred."""
    consumed = {}
    for count in (100, 100_000):
        table, queue, faults = Table(whole()), Queue(), Faults()
        for number in range(count):
            table.put(f"keap/a{number}", NOW if number < due else NOW + 3600 + number)
        assert run(table, queue, FakeClock(NOW), faults) == Tick(claimed=due, sent=due)
        assert len(table) == count
        assert faults.calls == ["circuits.get_many"] * bool(due), "one read of the circuits, and no write"
        consumed[count] = table.read, table.written
    assert consumed[100_000] == consumed[100]
    read, written = consumed[100_000]
    assert read == refresh_schedule.SHARD_COUNT / 2, "half a unit a shard"
    assert written == due * (ceil(size(to_item(whole())) / 1024) + 2)


def test_connections_that_were_made_together_fall_due_spread_over_minutes() -> None:
    life, count = TokenLifetime(NOW, NOW + 3600), 10_000
    due = [
        refresh_schedule.compute_refresh_at(life, ProfileRotation(), 300, f"keap/a{number}", 1)
        for number in range(count)
    ]
    assert max(due) - min(due) == 300, "half the lead of ten minutes"
    a_second = Counter(due)
    assert max(a_second.values()) < 3 * count / 300, "no second gets more than thrice its share"
    again = [
        refresh_schedule.compute_refresh_at(life, ProfileRotation(), 300, f"keap/a{number}", 2)
        for number in range(count)
    ]
    assert due != again, "another generation, another place: no connection is always the last"


def test_ten_thousand_due_at_once_are_drained_within_the_declared_rate() -> None:
    """Ten thousand that fall due at the same moment are drained within the declared rate."""
    rate = Rate(requests=50, seconds=1)
    paced = structs.replace(KEAP, rotation=structs.replace(KEAP.rotation, rate=rate))
    table, clock = Table(replace(whole(), profile_hash=content_hash(paced))), FakeClock(NOW)
    for number in range(10_000):
        table.put(f"keap/a{number}", NOW)
    asked: Counter[int] = Counter()
    refreshed: set[str] = set()
    for _ in range(5):
        queue, now = Queue(), int(clock.now())
        run(table, queue, clock, profile=paced)
        for name, delay in queue.sent:
            assert name not in refreshed
            refreshed.add(name)
            asked[now + delay] += 1
            table.put(name, NOW + DAY_SECONDS)
        clock.advance(TICK_SECONDS)
    assert len(refreshed) == 10_000
    assert max(asked.values()) == 50
    assert max(asked) - NOW < 10_000 / 50, "and no slower than that"


@pytest.mark.parametrize(
    ("refusal", "most", "had_a_turn"),
    [
        (answer(400, {"error": "invalid_scope"}), 60, 200),
        (answer(400, {"error": "invalid_grant"}), 60, 200),
        (answer(429, b""), 2, 2),
    ],
    ids=["request refused", "grant refused", "endpoint's circuit open"],
)
def test_the_declared_rate_holds_while_the_provider_refuses(
    refusal: HttpResponse, most: int, had_a_turn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer of the server itself holds up no other connection; an endpoint that does not work gets two."""
    monkeypatch.setattr(metrics, "add_metric", lambda *_: None)
    paced = structs.replace(KEAP, rotation=structs.replace(KEAP.rotation, rate=Rate(60, 60)))
    f = fleet()
    ports, start = replace(f.ports, profiles=MemoryProfiles(paced)), int(f.clock.now())
    for number in range(200):
        due = due_connection(f"keap/a{number}", start)
        f.records.items[due.name] = replace(due, profile_hash=content_hash(paced))
    asked: Counter[int] = Counter()

    def refuse(request: HttpRequest, **_: Any) -> HttpResponse:
        asked[int(f.clock.now() - start) // TICK_SECONDS] += 1
        return refusal

    f.provider.send = refuse  # type: ignore[method-assign]
    waiting: list[tuple[float, int, dict[str, Any]]] = []
    sent = 0
    for minute in range(15):
        f.clock.time = float(start + minute * TICK_SECONDS)
        tick(TickPorts(f.records, f.circuits, ports.profiles, f.queue, f.clock), f.clock.now() + 55)
        while True:
            for message, delay in f.queue.messages:
                sent += 1
                heapq.heappush(waiting, (f.clock.now() + delay, sent, message))
            f.queue.messages.clear()
            if not waiting or waiting[0][0] >= start + (minute + 1) * TICK_SECONDS:
                break
            f.clock.time, _, message = heapq.heappop(waiting)
            assert process_task(Rotation(ports, Settings(), f.clock.now() + 59), message)
    assert max(asked.values()) <= most
    assert len({name for name, held in f.records.items.items() if held.failures}) == had_a_turn
