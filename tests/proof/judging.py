"""What must be true in the end of every history, for all faults in it."""

from __future__ import annotations

from collections.abc import Sequence

from evergrant.record.connection import Connection
from evergrant.record.status import Status
from tests.proof.provider import grant_of
from tests.proof.recovering import Recovery
from tests.proof.simulation import NAME, Simulation


def judge(world: Simulation, ends_as: Sequence[Status]) -> None:
    """Judge every connection of a world that is at peace."""
    assert set(world.seen.mark_event_persisted) <= set(world.bus.events), "an event was never delivered"
    for record in list(world.records.items.values()):
        _judge_one(world, record, ends_as)
    _let_late_circuits_close(world)
    for circuit in world.circuits.items.values():
        fails = any(record.failures for record in world.records.items.values())
        assert fails or not circuit.is_open, "a circuit is open although all is well"


def _let_late_circuits_close(world: Simulation) -> None:
    """A circuit that a late write has opened is closed by the next refresh."""
    records = list(world.records.items.values())
    if any(circuit.is_open for circuit in world.circuits.items.values()) and not any(one.failures for one in records):
        world.clock.time = max(world.clock.time, min(float(one.refresh_at or 0) for one in records))
        Recovery(world).settle()


def _judge_one(world: Simulation, record: Connection, ends_as: Sequence[Status]) -> None:
    assert record.status in ends_as, f"it ended as {record.status}"
    details = [body["detail"] for body in world.bus.events.values() if body["detail"]["connection"] == record.name]
    rotated = [detail["generation"] for detail in details if "generation" in detail]
    assert len(rotated) == len(set(rotated)), "a generation was reported twice"
    stored = world.stored(record)
    if record.status in (Status.DISCONNECTED, Status.AWAITING_AUTHORIZATION):
        assert stored is None, "what was given up came back"
        return
    assert stored
    seen, grants = world.seen, world.grants_of(record.name)
    lost = {window.rpartition(" ")[2] for window in seen.lost}
    reached = {grant_of(token) for token in seen.received - lost} & set(grants)
    newest = world.provider.newest[max(grants)]
    if record.status is Status.AUTHORIZATION_REQUIRED:
        assert not world.alive(record), "a grant that lives is given up"
        assert newest not in seen.received or newest in lost, "its newest answer reached us, and is not stored"
        return
    if stored.refresh_token:
        grant = grant_of(stored.refresh_token.reveal())
        # A connection that logs in where a refresh is refused cannot lose its grant, and need not keep the newest.
        # Paused, so that no person has to be asked, with a grant whose last response never arrived.
        unreached = record.status is Status.PAUSED and newest not in seen.received - lost
        assert world.alive(record) or record.grant == "login" or unreached, (
            "the stored refresh token is not the provider's live one"
        )
        renewed = {grant for grant in reached if grant != grants[0]}  # of two connected at once either may win
        assert grant in (renewed or {grants[0]}) or record.grant == "login", "an older grant outlived a newer one"
        assert record.name != NAME or grant > seen.given_up, "a grant that was given up came back"
    if record.status is Status.ACTIVE and record.direct_read and stored.lifetime >= 1800:
        if record.name == NAME and world.overtaken(NAME):
            # A Put that came in late is noticed by the next reader whose token is refused or stale.
            world.faults.begin({})
            world.ask()
        assert world.vault.published.get(record.name, {}).get("access_token") == stored.access_token.reveal(), (
            "consumers see another token than the stored one"
        )
