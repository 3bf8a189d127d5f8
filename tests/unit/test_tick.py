"""Protects the tick: everything due is sent once, in time and by its exact delay; what fails is found by the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from msgspec import structs

from evergrant.errors import UnknownProfile
from evergrant.ports import PortUnavailable
from evergrant.profiles.model import Profile, Rate
from evergrant.record import refresh_schedule
from evergrant.rotation.tick import Tick, TickPorts, tick
from evergrant.times import TICK_SECONDS
from tests.unit.memory import Faults, MemoryCircuits
from tests.unit.samples import KEAP, NOW


@dataclass
class Entry:
    """A line of the due index."""

    name: str
    due_at: int
    expires_at: int | None = None
    client: str = "keap"
    profile_hash: str = "unpaced"
    endpoint: str = "https://api.example.com/token"


class Table:
    """The due index and the one condition that claims are made under."""

    def __init__(self, *entries: Entry) -> None:
        self.entries = {entry.name: entry for entry in entries}
        self.caller_waits: list[tuple[str, int]] = []
        self.beaten: set[str] = set()
        self.throttled: set[str] = set()
        self.claims: list[str] = []
        self.broken_after: int | None = None

    def due(self, shard: str, before: int) -> Iterator[Any]:
        self.caller_waits.append((shard, before))
        if self.broken_after is not None and len(self.caller_waits) > self.broken_after:
            raise PortUnavailable("made to fail")
        for entry in list(self.entries.values()):
            if refresh_schedule.choose_shard(entry.name) == shard and entry.due_at <= before:
                yield replace(entry)

    def claim(self, connection: str, due_at: int, until: int) -> bool:
        entry = self.entries[connection]
        self.claims.append(connection)
        if connection in self.throttled:
            raise PortUnavailable("made to fail")
        if connection in self.beaten or due_at != entry.due_at:
            return False
        entry.due_at = until
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
        self.batches: list[int] = []
        self.fails = False

    def send_many(self, messages: Sequence[tuple[Mapping[str, Any], int]]) -> int:
        if self.fails and messages:
            raise PortUnavailable("made to fail")
        self.batches.append(len(messages))
        assert all(message.keys() == {"connection"} for message, _ in messages)
        self.sent += [(message["connection"], delay) for message, delay in messages]
        return len(messages)


class Profiles:
    """One profile without a rate, and one with each rate that is asked for as ``requests/seconds``."""

    fails = False

    def load_pinned(self, content_hash: str) -> Profile:
        if self.fails:
            raise PortUnavailable("made to fail")
        if content_hash == "gone":
            raise UnknownProfile("gone")
        requests, _, seconds = content_hash.partition("/")
        rate = Rate(int(requests), int(seconds)) if seconds else None
        return structs.replace(KEAP, rotation=structs.replace(KEAP.rotation, rate=rate))


class Clock:
    """Moves on by a step at each look."""

    def __init__(self, step: float = 0) -> None:
        self.time, self.step = float(NOW), step

    def now(self) -> float:
        self.time += self.step
        return self.time

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a tick does not sleep")


def run(
    table: Table, queue: Queue, clock: Clock | None = None, budget: float = 30, profiles: Profiles | None = None
) -> Tick:
    circuits: Any = MemoryCircuits(Faults())
    ports = TickPorts(table, circuits, profiles or Profiles(), queue, clock or Clock())  # type: ignore[arg-type]
    done = tick(ports, NOW + budget)
    assert not circuits.items, "while nothing is wrong, nothing is written"
    return done


def many(count: int, due_at: int = NOW) -> list[Entry]:
    return [Entry(f"keap/a{number}", due_at, NOW + 86_400) for number in range(count)]


def test_what_is_due_before_the_next_tick_is_sent_with_its_exact_delay() -> None:
    """What is due before the next tick could see it is sent with its exact delay."""
    table = Table(
        Entry("keap/overdue", NOW - 500),
        Entry("keap/now", NOW),
        Entry("keap/soon", NOW + 31),
        Entry("keap/last", NOW + 75),
        Entry("keap/next", NOW + 76),
    )
    queue = Queue()
    assert run(table, queue) == Tick(claimed=4, sent=4)
    assert sorted(queue.sent) == [("keap/last", 75), ("keap/now", 0), ("keap/overdue", 0), ("keap/soon", 31)]


def test_every_partition_is_asked_once() -> None:
    table = Table()
    assert run(table, Queue()) == Tick(0, 0)
    assert table.caller_waits == [(str(number), NOW + 75) for number in range(refresh_schedule.SHARD_COUNT)]


def test_a_claim_keeps_the_next_tick_away_and_expires_if_lost() -> None:
    """What was claimed is left alone by the next tick, and found again if the message was lost."""
    table, queue = Table(*many(5)), Queue()
    run(table, queue)
    assert run(table, queue) == Tick(0, 0)
    clock = Clock()
    clock.time += 120
    assert run(table, queue, clock, budget=200).claimed == 5


def test_of_two_ticks_only_one_sends() -> None:
    table, queue = Table(*many(3)), Queue()
    table.beaten = {"keap/a1"}
    assert run(table, queue) == Tick(2, 2)
    assert sorted(name for name, _ in queue.sent) == ["keap/a0", "keap/a2"]


def test_a_failing_claim_is_reported_and_delays_no_other() -> None:
    entries = many(30)
    entries[0].due_at = NOW - 500
    table, queue = Table(*entries), Queue()
    table.throttled = {"keap/a0", "keap/a7", "keap/a19"}
    with pytest.raises(PortUnavailable):
        run(table, queue)
    assert {name for name, _ in queue.sent} == table.entries.keys() - table.throttled


def test_a_table_that_takes_no_claims_is_left_and_claimed_ones_are_sent() -> None:
    """A table that takes no claim is soon left alone, and what was claimed is sent."""
    table, queue = Table(Entry("keap/first", NOW - 500), *many(500)), Queue()
    table.throttled = table.entries.keys() - {"keap/first"}
    with pytest.raises(PortUnavailable):
        run(table, queue)
    assert len(table.claims) == 11
    assert queue.sent == [("keap/first", 0)]


@pytest.mark.parametrize("count", [1, 9, 10, 11, 20, 35])
def test_messages_go_in_batches_of_ten_and_none_is_left_behind(count: int) -> None:
    queue = Queue()
    assert run(Table(*many(count)), queue) == Tick(count, count)
    assert max(queue.batches) <= 10
    assert len(set(queue.sent)) == count


def test_when_time_runs_out_what_is_claimed_is_still_sent() -> None:
    queue = Queue()
    done = run(Table(*many(35)), queue, Clock(step=1), budget=16)
    assert done.unfinished
    assert 0 < done.claimed < 35
    assert done.sent == done.claimed == len(queue.sent)


def test_a_queue_that_fails_is_heard_of() -> None:
    table, queue = Table(*many(5)), Queue()
    queue.fails = True
    with pytest.raises(PortUnavailable):
        run(table, queue)
    assert {entry.due_at for entry in table.entries.values()} == {NOW + 120}, "the claims send them again in time"


def test_an_index_that_fails_half_way_is_reported_and_claims_are_sent() -> None:
    """An index that fails half-way is reported, and what was claimed is sent."""
    table, queue = Table(*many(8)), Queue()
    table.broken_after = 4
    with pytest.raises(PortUnavailable):
        run(table, queue)
    claimed = {entry.name for entry in table.entries.values() if entry.due_at > NOW}
    assert 0 < len(claimed) < 8, "what the readable shards showed"
    assert {name for name, _ in queue.sent} == claimed


def build_paced_entries(
    count: int, rate: str, due_at: int = NOW, client: str = "keap", provider: str = "keap"
) -> list[Entry]:
    endpoint = f"https://{provider}.example.com/token"
    return [
        Entry(f"{provider}/{client}-{number}", due_at, NOW + 86_400, client, rate, endpoint) for number in range(count)
    ]


def test_a_declared_rate_spreads_due_work_over_the_tick() -> None:
    """A declared rate spreads what is due together over the tick, and leaves the rest."""
    table, queue = Table(*build_paced_entries(200, "100/60")), Queue()
    assert run(table, queue) == Tick(claimed=100, sent=100, left=100)
    delays = [delay for _, delay in queue.sent]
    assert delays == sorted(delays)
    assert (min(delays), max(delays)) == (0, 59)
    assert max(delays.count(second) for second in delays) == 2, "100 a minute are two in a second at most"
    assert {entry.due_at for entry in table.entries.values()} > {NOW}, "what is left is due as before"


def test_the_next_tick_goes_on_with_what_a_rate_left() -> None:
    table, queue = Table(*build_paced_entries(150, "100/60")), Queue()
    run(table, queue)
    for name, _ in queue.sent:
        del table.entries[name]  # rotated
    clock = Clock()
    clock.time += TICK_SECONDS
    assert run(table, queue, clock, budget=120) == Tick(claimed=50, sent=50)
    assert len(set(queue.sent)) == len({name for name, _ in queue.sent}) == 150


def test_a_rate_holds_for_each_client_and_each_provider_by_itself() -> None:
    table = Table(
        *build_paced_entries(20, "10/60", client="one"),
        *build_paced_entries(20, "10/60", client="two"),
        *build_paced_entries(20, "10/60", provider="xero"),
    )
    assert run(table, Queue()) == Tick(claimed=30, sent=30, left=30)


def test_what_has_no_declared_rate_is_not_held_up_by_what_has_one() -> None:
    table = Table(*build_paced_entries(50, "1/60", due_at=NOW - 100), *many(20))
    assert run(table, Queue()) == Tick(claimed=21, sent=21, left=49)


def test_the_most_overdue_goes_first_across_all_shards() -> None:
    entries = build_paced_entries(40, "10/60")
    for number, entry in enumerate(entries):
        entry.due_at = NOW - (number * 7) % 40
    queue = Queue()
    run(Table(*entries), queue)
    waited = {f"keap/keap-{number}": (number * 7) % 40 for number in range(40)}
    assert [waited[name] for name, _ in queue.sent] == list(range(39, 29, -1))


def test_a_claim_reaches_beyond_the_moment_that_a_rate_gave() -> None:
    table = Table(*build_paced_entries(60, "60/60"))
    run(table, Queue())
    assert min(entry.due_at - NOW - 15 for entry in table.entries.values()) >= 0
    assert max(entry.due_at for entry in table.entries.values()) == NOW + 59 + 120


def test_a_slow_rate_sends_one_and_no_more_within_a_tick() -> None:
    assert run(Table(*build_paced_entries(5, "1/60")), Queue()) == Tick(claimed=1, sent=1, left=4)


def test_an_unreadable_profile_is_reported_and_delays_no_other() -> None:
    """A profile that cannot be read is reported, and holds up no other connection."""
    table, queue, profiles = Table(*many(3)), Queue(), Profiles()
    profiles.fails = True
    with pytest.raises(PortUnavailable):
        run(table, queue, profiles=profiles)
    assert queue.sent == []


def test_a_connection_whose_profile_is_gone_is_sent_to_hear_so() -> None:
    assert run(Table(*build_paced_entries(3, "gone")), Queue()) == Tick(claimed=3, sent=3)


def test_a_full_batch_that_the_queue_refused_is_not_sent_twice() -> None:
    queue = Queue()
    queue.fails = True
    with pytest.raises(PortUnavailable):
        run(Table(*many(10)), queue)
    assert queue.sent == []
