"""Protects the hold: no request with a refresh token leaves while it lasts, and no stale record is ever refreshed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evergrant.connect.operator_actions import is_stale, require_authorization_of_stale
from evergrant.errors import AuthorizationRequired, TemporarilyUnavailable
from evergrant.record.circuit import HOLD_KEY
from evergrant.record.connection import STALE, Connection
from evergrant.record.sealed import Sealed
from evergrant.record.status import Status
from evergrant.rotation.tick import TickPorts, tick
from evergrant.secret import Secret
from tests.unit.memory import MemoryRecords
from tests.unit.rotation_world import LIFETIME, NAME, World, table_down_after_the_answer, world
from tests.unit.samples import NOW, connection


def hold(w: World) -> None:
    w.ports.circuits.change(HOLD_KEY, {"opened_at": int(w.clock.now())}, only_if={})


def test_no_message_and_no_force_sends_a_refresh_while_it_lasts() -> None:
    w = world()
    hold(w)
    assert w.run().outcome == "waiting"
    assert w.run(woken=True).outcome == "waiting"
    assert w.run(caller_waits=True, force=True).outcome == "waiting", "the token is valid, and is served"
    assert w.provider.requests == []
    assert w.record().due_at is not None, "and due it stays"


def test_a_caller_without_a_valid_token_hears_of_the_hold() -> None:
    w = world()
    w.clock.advance(LIFETIME)
    hold(w)
    with pytest.raises(TemporarilyUnavailable, match="an operator holds all refreshes"):
        w.run(caller_waits=True)
    assert w.provider.requests == []


def test_a_tick_sends_no_message_and_claims_no_connection() -> None:
    w = world()
    hold(w)
    assert isinstance(w.ports.records, MemoryRecords)
    ports = TickPorts(w.ports.records, w.ports.circuits, w.ports.profiles, w.ports.queue, w.clock)
    before = w.record().due_at
    done = tick(ports, w.clock.now() + 50)
    assert (done.claimed, done.sent, done.held) == (0, 0, 1)
    assert (w.queue.messages, w.record().due_at) == ([], before)


def test_it_goes_on_where_it_was_when_it_is_released() -> None:
    w = world()
    hold(w)
    w.run()
    w.ports.circuits.change(HOLD_KEY, {"opened_at": None}, only_if={})
    assert w.run().outcome == "rotated"


def test_a_token_set_in_a_message_is_saved_all_the_same() -> None:
    """The hold concerns requests. A message with a token set may be its only copy."""
    w = world()
    table_down_after_the_answer(w, 120)
    w.run()
    assert [message["task"] for message, _ in w.queue.messages] == ["save"]
    hold(w)
    w.clock.advance(120)
    w.receive()
    assert (w.record().generation, w.stored.refresh_token) == (2, Secret("refresh-1"))
    assert len(w.provider.requests) == 1


VERSION = {generation: f"{generation:016x}{'0' * 48}" for generation in (6, 7, 8)}


@pytest.mark.parametrize(
    ("version", "fields", "stale"),
    [
        (VERSION[8], {}, True),
        (VERSION[7], {}, False),
        (VERSION[6], {}, False),  # it was not published yet
        ("a-uuid-of-a-value-stored-by-hand", {"expires_at": NOW + 60}, False),
        (None, {"expires_at": NOW + 60}, False),
        (None, {"expires_at": NOW}, True),  # it lives too short for a secret: it was refreshed since
        (VERSION[8], {"status": Status.DISCONNECTED}, False),
        (VERSION[8], {"sealed": None}, False),
        (VERSION[8], {"grant": "client_credentials"}, False),
    ],
)
def test_a_record_behind_its_published_secret_is_stale(
    version: str | None, fields: dict[str, Any], stale: bool
) -> None:
    record = replace(connection(), **{"generation": 7, "sealed": Sealed(b"k", b"n", b"t"), **fields})
    assert is_stale(record, version, NOW, rotates=True) is stale
    assert not is_stale(record, version, NOW, rotates=False), "its refresh token is good for ever"


def test_a_stale_record_is_never_refreshed_and_calls_for_its_owner() -> None:
    w = world()
    require_authorization_of_stale(w.ports.records, NAME, w.clock)
    record: Connection = w.record()
    assert (record.status, record.last_error, record.refresh_at) == (Status.AUTHORIZATION_REQUIRED, STALE, None)
    assert [event["type"] for event in record.outbox.values()] == ["Authorization Required"]
    w.clock.advance(LIFETIME)
    w.run()
    w.run(woken=True)
    for demand in ({"caller_waits": True}, {"caller_waits": True, "force": True}):
        with pytest.raises(AuthorizationRequired):
            w.run(**demand)
    assert w.provider.requests == []
    assert w.bus.types == ["Authorization Required"]
