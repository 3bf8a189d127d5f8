"""Protects a tick among open circuits: what they hold back stays unclaimed, few probes are sent, and a circuit that has
closed lets all of them through, spread, and within the declared rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from msgspec import structs

from evergrant.errors import Conflict, RecordBroken
from evergrant.ports import PortUnavailable
from evergrant.profiles.model import Profile, Rate, content_hash
from evergrant.record.circuit import Circuit, Failure, create_client_key, create_endpoint_key
from evergrant.record.connection import Connection
from evergrant.record.queued_dispatch import create_message, create_probe
from evergrant.rotation.tick import Tick, TickPorts, dispatch, tick
from evergrant.times import TICK_SECONDS
from tests.unit.fleet import ENDPOINT
from tests.unit.fleet import connection as build_due
from tests.unit.memory import FakeClock, Faults, MemoryCircuits, MemoryProfiles, MemoryQueue, MemoryRecords
from tests.unit.samples import KEAP, NOW

CLIENT_KEY, ENDPOINT_KEY = create_client_key("keap"), create_endpoint_key(ENDPOINT)
OTHER = "https://other.example.com/token"
HARMLESS = structs.replace(KEAP, rotation=structs.replace(KEAP.rotation, rotates=False))
BOUND = structs.replace(KEAP, rotation=structs.replace(KEAP.rotation, refresh_token_life="with_access_token"))


def with_rate(requests: int, seconds: int) -> Profile:
    return structs.replace(KEAP, rotation=structs.replace(KEAP.rotation, rate=Rate(requests, seconds)))


@dataclass
class Scene:
    """Records and circuits at a moment."""

    profile: Profile = KEAP
    faults: Faults = field(default_factory=Faults)
    clock: FakeClock = field(default_factory=lambda: FakeClock(NOW))

    def __post_init__(self) -> None:
        self.records, self.circuits = MemoryRecords(self.faults), MemoryCircuits(self.faults)
        self.queue, self.profiles = MemoryQueue(self.faults), MemoryProfiles(self.profile, HARMLESS)

    @property
    def ports(self) -> TickPorts:
        return TickPorts(self.records, self.circuits, self.profiles, self.queue, self.clock)

    def add(self, name: str, left: int = -60, due: int = 60, profile: Profile | None = None, **fields: Any) -> None:
        """A connection whose token expires in so many seconds, and that has been due for so many."""
        life: dict[str, Any] = {"expires_at": NOW + left, "issued_at": NOW + left - 86_400, "due_at": NOW - due}
        hashed = content_hash(profile or self.profile)
        record: Connection = replace(build_due(f"keap/{name}", NOW), **life, profile_hash=hashed, **fields)
        self.records.items[record.name] = record

    def open(self, key: str = ENDPOINT_KEY, **fields: Any) -> None:
        self.circuits.items[key] = Circuit(key, **{"opened_at": NOW - 60, "probed_at": NOW - 60, **fields})

    def tick(self) -> Tick:
        return tick(self.ports, self.clock.now() + 50)

    def dispatch(self, key: str = ENDPOINT_KEY) -> Tick:
        return dispatch(self.ports, key, self.clock.now() + 50)

    def take_messages(self) -> dict[str, tuple[str | None, int]]:
        """What was sent to each connection: its task and its delay."""
        sent = {message["connection"]: (message.get("task"), delay) for message, delay in self.queue.messages}
        assert len(sent) == len(self.queue.messages), "one message each"
        self.queue.messages.clear()
        return sent

    def get_due(self, name: str) -> int:
        return (self.records.items[f"keap/{name}"].due_at or 0) - NOW


def build_scene(count: int = 0, profile: Profile = KEAP, **fields: Any) -> Scene:
    scene = Scene(profile)
    for number in range(count):
        scene.add(f"a{number:04}", **fields)
    return scene


# Held back


@pytest.mark.parametrize("key", [CLIENT_KEY, ENDPOINT_KEY])
def test_what_a_circuit_holds_back_is_passed_over_unclaimed(key: str) -> None:
    scene = build_scene(20, left=7200)
    scene.add("free", endpoint=OTHER, client="other")
    scene.open(key, probes=10, probed_at=NOW - 30)
    before = dict(scene.records.items)
    assert scene.tick() == Tick(claimed=1, sent=1, held=20)
    assert scene.take_messages() == {"keap/free": (None, 0)}
    changed = {name for name, record in scene.records.items.items() if record != before[name]}
    assert changed == {"keap/free"}


def test_what_is_held_back_for_hours_is_due_as_before() -> None:
    scene = build_scene(3, left=100_000)
    scene.open()
    for _ in range(60):
        scene.tick()
        scene.clock.advance(TICK_SECONDS)
    assert {held.due_at for held in scene.records.items.values()} == {NOW - 60}
    assert scene.queue.messages == []


def test_circuits_are_read_in_one_call_for_all_that_is_due() -> None:
    scene = build_scene(30, left=7200)
    scene.add("other", endpoint=OTHER, client="other")
    scene.tick()
    assert scene.faults.calls.count("circuits.get_many") == 1
    assert scene.circuits.items == {}


def test_a_table_that_shows_no_circuits_holds_nothing_back() -> None:
    """The passes look by themselves; the failure is reported."""
    scene = build_scene(3)
    scene.open()
    scene.faults.at, scene.faults.kind = 1, "before"
    with pytest.raises(PortUnavailable):
        scene.tick()
    assert [task for task, _ in scene.take_messages().values()] == [None] * 3


def test_an_endpoint_holds_back_before_the_client_does() -> None:
    """Where both are open, the endpoint's probes are the ones that are sent."""
    scene = build_scene(1)
    scene.open(CLIENT_KEY)
    scene.open(ENDPOINT_KEY)
    assert scene.tick() == Tick(claimed=1, sent=1, held=1)
    assert scene.circuits.items[ENDPOINT_KEY].probed_at == NOW
    assert scene.circuits.items[CLIENT_KEY].probed_at == NOW - 60


# Probes


def test_probes_go_as_delayed_messages_that_carry_their_claim() -> None:
    scene = build_scene(6)
    scene.open()
    assert scene.tick() == Tick(claimed=4, sent=4, held=6)
    for number, (message, delay) in enumerate(scene.queue.messages):
        name = f"keap/a{number:04}"
        claimed_until = scene.records.items[name].due_at or 0
        assert (message, delay) == (create_probe(name, ENDPOINT_KEY, claimed_until), 15 * number)
        assert claimed_until >= NOW + delay + 15
    assert scene.circuits.items[ENDPOINT_KEY].probed_at == NOW + 45


def test_of_two_ticks_at_once_one_sends_the_probes() -> None:
    scene = build_scene(8)
    scene.open()
    change = scene.circuits.change

    def second_tick_first(*args: Any, **kwargs: Any) -> Any:
        scene.circuits.change = change  # type: ignore[method-assign]
        assert scene.tick().sent == 4
        return change(*args, **kwargs)

    scene.circuits.change = second_tick_first  # type: ignore[method-assign]
    assert scene.tick() == Tick(claimed=0, sent=0, held=8)
    assert len(scene.take_messages()) == 4


def test_the_next_tick_goes_on_in_the_same_rhythm() -> None:
    scene = build_scene(40)
    scene.open()
    moments: list[int] = []
    for _ in range(5):
        scene.tick()
        moments += [int(scene.clock.now()) - NOW + delay for _, delay in scene.take_messages().values()]
        scene.clock.advance(TICK_SECONDS)
    assert moments == list(range(0, 300, 15))
    assert len({held.due_at for held in scene.records.items.values()}) > 20, "they go round"


@pytest.mark.parametrize("harmless", [HARMLESS, BOUND], ids=["not rotating", "ends with the access token"])
def test_one_whose_refresh_token_is_not_worth_sparing_probes_for_all(harmless: Profile) -> None:
    scene = build_scene(3, left=7200)
    scene.profiles = MemoryProfiles(KEAP, harmless)
    scene.add("harmless", 7200, profile=harmless)
    scene.open()
    assert scene.tick() == Tick(claimed=1, sent=1, held=4)
    assert scene.take_messages() == {"keap/harmless": ("probe", 0)}


def test_a_probe_whose_connection_changed_meanwhile_is_left_out() -> None:
    scene = build_scene(2)
    scene.open()
    change = scene.records.change

    def changed(connection: str, fields: Any, **kwargs: Any) -> Any:
        if connection == "keap/a0000":
            raise Conflict(connection)
        return change(connection, fields, **kwargs)

    scene.records.change = changed  # type: ignore[method-assign]
    assert scene.tick() == Tick(claimed=1, sent=1, held=2)
    assert scene.take_messages() == {"keap/a0001": ("probe", 15)}


@pytest.mark.parametrize("kind", ["before", "after"])
def test_a_table_that_takes_no_probe_is_reported_and_delays_no_other(kind: str) -> None:
    scene = build_scene(2)
    scene.add("free", endpoint=OTHER)
    scene.open()
    scene.faults.at, scene.faults.kind = 3, kind  # circuits.get_many, records.change, circuits.change
    with pytest.raises(PortUnavailable):
        scene.tick()
    assert scene.faults.calls[2] == "circuits.change"
    assert scene.take_messages() == {"keap/free": (None, 0)}


def test_an_unreadable_profile_keeps_no_circuit_from_its_probes() -> None:
    scene = build_scene(1)
    scene.add("other", endpoint=OTHER, profile=HARMLESS)
    scene.open(ENDPOINT_KEY)
    scene.open(create_endpoint_key(OTHER))
    load, of_keap = scene.profiles.load_pinned, content_hash(KEAP)

    def fail_for_keap(content_hash: str) -> Profile:
        if content_hash == of_keap:
            raise PortUnavailable("made to fail")
        return load(content_hash)

    scene.profiles.load_pinned = fail_for_keap  # type: ignore[method-assign]
    with pytest.raises(PortUnavailable):
        scene.tick()
    assert scene.take_messages().keys() == {"keap/a0000", "keap/other"}, "expired, so it may probe all the same"


# The dispatch after a circuit has closed


def test_a_dispatch_sends_one_a_second_or_all_over_a_minute() -> None:
    twice = [second for second in range(60) for _ in "ab"]
    for count, moments in ((3, [0, 1, 2]), (60, list(range(60))), (120, twice)):
        scene = build_scene(count)
        assert scene.dispatch() == Tick(claimed=count, sent=count)
        assert [delay for _, delay in scene.queue.messages] == moments
        assert {message.get("task") for message, _ in scene.queue.messages} == {None}


def test_a_dispatch_sends_the_first_to_expire_first() -> None:
    scene = build_scene()
    for name, left in (("c", 900), ("a", -30), ("b", 20)):
        scene.add(name, left)
    scene.dispatch()
    assert scene.take_messages() == {"keap/a": (None, 0), "keap/b": (None, 1), "keap/c": (None, 2)}


def test_a_dispatch_is_of_one_circuit_alone() -> None:
    scene = build_scene(2)
    scene.add("elsewhere", endpoint=OTHER, client="other")
    assert scene.dispatch(ENDPOINT_KEY).sent == 2
    assert scene.get_due("elsewhere") == -60
    assert scene.dispatch(create_client_key("other")).sent == 1


def test_a_clients_dispatch_sends_nothing_to_an_endpoint_that_is_down() -> None:
    scene = build_scene(5, left=7200)
    scene.add("elsewhere", endpoint=OTHER)
    scene.open(ENDPOINT_KEY)
    assert scene.dispatch(CLIENT_KEY) == Tick(claimed=1, sent=1, held=5)
    assert scene.take_messages() == {"keap/elsewhere": (None, 0)}


def test_what_a_dispatch_sent_is_not_sent_again_at_once() -> None:
    scene = build_scene(10, left=7200)
    scene.dispatch()
    scene.take_messages()
    assert scene.dispatch() == scene.tick() == Tick(claimed=0, sent=0)


def test_a_dispatch_wakes_those_that_failed_and_are_not_due() -> None:
    """The reason of their failure may be gone. One that is due has its message already."""
    scene = build_scene()
    scene.add("due")
    scene.add("failed", due=-900)
    scene.add("slow", due=-5000)
    failures = {name: Failure(NOW - 99, "unclear") for name in ("keap/due", "keap/failed", "keap/slow", "keap/gone")}
    scene.circuits.items[ENDPOINT_KEY] = Circuit(ENDPOINT_KEY, failures=failures)
    assert scene.dispatch() == Tick(claimed=1, sent=3)
    sent = scene.take_messages()
    assert {name: task for name, (task, _) in sent.items()} == {
        "keap/due": None,
        "keap/failed": "wake",
        "keap/slow": "wake",
    }
    assert sent["keap/failed"][1] < sent["keap/slow"][1]


@pytest.mark.parametrize("failure", [PortUnavailable("made to fail"), RecordBroken("keap/bad")])
def test_a_record_that_cannot_be_read_is_not_woken_and_delays_no_other(failure: Exception) -> None:
    scene = build_scene(1)
    scene.add("bad", due=-900)
    scene.circuits.items[ENDPOINT_KEY] = Circuit(ENDPOINT_KEY, failures={"keap/bad": Failure(NOW, "unclear")})

    def unreadable(connection: str) -> Any:
        raise failure

    scene.records.get = unreadable  # type: ignore[method-assign]
    if isinstance(failure, PortUnavailable):
        with pytest.raises(PortUnavailable):
            scene.dispatch()
    else:
        assert scene.dispatch().sent == 1
    assert scene.take_messages() == {"keap/a0000": (None, 0)}


@pytest.mark.parametrize(("requests", "seconds"), [(5, 1), (1, 1), (60, 60), (5, 60), (1, 12)])
@pytest.mark.parametrize("failed", [0, 40])
def test_a_dispatch_keeps_to_the_declared_rate_together_with_later_ticks(
    requests: int, seconds: int, failed: int
) -> None:
    """Requests of any window are no more than the rate, whether they come of the dispatch, a wake or a tick."""
    profile = with_rate(requests, seconds)
    scene = build_scene(400, profile)
    failures: dict[str, Failure] = {}
    for number in range(failed):
        scene.add(f"failed{number}", due=-7200)
        failures[f"keap/failed{number}"] = Failure(NOW - 60, "unclear")
    scene.circuits.items[ENDPOINT_KEY] = Circuit(ENDPOINT_KEY, failures=failures)
    moments: list[int] = []

    def take() -> None:
        now = int(scene.clock.now())
        for name, (_, delay) in scene.take_messages().items():
            moments.append(now + delay)
            scene.records.items.pop(name)  # refreshed

    scene.clock.time = NOW - 20.0
    scene.dispatch()
    take()
    for minute in range(6):
        scene.clock.time = float(NOW + minute * TICK_SECONDS)
        scene.tick()
        take()
    windows = range(min(moments), max(moments) + 1)
    # A rate is kept to the second: a moment is rounded down to one.
    most = max(sum(start <= at < start + seconds for at in moments) for start in windows)
    assert most <= requests + 1
    assert len(moments) >= min(400, 6 * 60 * requests // seconds - requests), "and no slower than that"


def test_a_dispatch_without_a_rate_leaves_no_trace_in_the_circuit() -> None:
    scene = build_scene(5)
    scene.dispatch()
    assert scene.circuits.items == {}


def test_a_pace_that_cannot_be_written_is_reported() -> None:
    scene = build_scene(1, with_rate(60, 60))

    def fail(*_: Any, **__: Any) -> Any:
        raise PortUnavailable("made to fail")

    scene.circuits.change = fail  # type: ignore[method-assign]
    with pytest.raises(PortUnavailable):
        scene.dispatch()
    assert len(scene.take_messages()) == 1


def test_a_dispatch_message_names_its_circuit() -> None:
    message: Mapping[str, Any] = create_message(ENDPOINT_KEY)
    assert message == {"task": "dispatch", "circuit": f"endpoint#{ENDPOINT}"}
