"""The situations in which a circuit opens, holds connections back, probes, and closes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from evergrant.record.circuit import Circuit, create_client_key
from evergrant.record.status import EventType, Status
from evergrant.secret import Secret
from tests.proof.exploring import Scenario
from tests.proof.provider import Oddity
from tests.proof.simulation import OTHER, Simulation
from tests.proof.troubles import NEVER, refusing
from tests.unit.memory import CLIENT, answer
from tests.unit.rotation_world import KEAP, LIFETIME

THIRD = "keap/third"
ENDPOINT = "https://api.example.com/token"
FAILED: Oddity = ("does not act", answer(500, b""))


def with_a_new_entry(until: float) -> Callable[[], Simulation]:
    """The entry of a client has changed since it was accepted, and is refused: the other connection is held back."""

    def build() -> Simulation:
        world = refusing(until=until, others=[OTHER], endpoint=ENDPOINT)()
        key = create_client_key("keap")
        world.circuits.items[key] = Circuit(key, accepted_version="1")
        world.vault.clients["keap"] = replace(CLIENT, version="2")
        return world

    return build


def corrected_by_its_operator() -> Simulation:
    """The operator hears of the refusal, and stores another secret."""
    world = with_a_new_entry(NEVER)()

    def corrected() -> bool:
        is_alerted = any(body["type"] == EventType.CLIENT_REFUSED for body in world.bus.events.values())
        if not is_alerted or world.vault.clients["keap"].version == "3":
            return False
        world.vault.clients["keap"] = replace(CLIENT, secrets=(Secret("canary-new"),), version="3")
        return True

    world.person = corrected
    return world


def down_for(seconds: int) -> Callable[[], Simulation]:
    """Three tokens have expired, and the endpoint fails: the third connection is held back."""

    def build() -> Simulation:
        world = Simulation(KEAP, others=[OTHER, THIRD], endpoint=ENDPOINT)
        world.clock.advance(LIFETIME)
        world.provider.outage = world.clock.now() + seconds, FAILED
        return world

    return build


def was_spared(world: Simulation) -> None:
    """While the circuit was open, no two requests went out within a probe's interval."""
    probes = world.seen.probes
    assert probes, "nothing was sent through the open circuit"
    assert all(later - earlier >= 15 for earlier, later in pairwise(probes)), f"probes at {probes}"


def renewed_within(seconds: int, after: Callable[[Simulation], float]) -> Callable[[Simulation], None]:
    def check(world: Simulation) -> None:
        was_spared(world)
        late = {name: (record.issued_at or 0) - after(world) for name, record in world.records.items.items()}
        assert max(late.values()) <= seconds, f"renewed so many seconds after the end of the trouble: {late}"
        assert all(record.status is Status.ACTIVE for record in world.records.items.values())

    return check


def outage_end(world: Simulation) -> float:
    assert world.provider.outage
    return world.provider.outage[0]


def refusal_end(world: Simulation) -> float:
    return max(world.provider.refuses.values())


CIRCUITS = [
    Scenario("a client's new entry refused", with_a_new_entry(40), undisturbed=renewed_within(900, refusal_end)),
    Scenario("a client's new entry refused, and corrected", corrected_by_its_operator),
    Scenario("an endpoint that fails", down_for(70), undisturbed=renewed_within(30, outage_end)),
]
