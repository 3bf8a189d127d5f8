"""Protects a whole refresh: no refresh token is lost that could be kept, none is sent twice, and no state lies."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest

from evergrant.errors import LostResponse, TemporarilyUnavailable
from evergrant.oauth.client import Client
from evergrant.ports import PortUnavailable
from evergrant.profiles import built_in
from evergrant.record.status import Status
from evergrant.secret import Secret
from tests.unit.memory import Crash, answer
from tests.unit.rotation_world import CALLS, LIFETIME, NAME, REQUEST_CALL, World, world


def test_a_due_connection_is_refreshed_saved_published_and_scheduled_again() -> None:
    w = world()
    assert w.run().outcome == "rotated"
    assert w.stored.refresh_token == Secret("refresh-1")
    assert w.record().generation == w.record().published_generation == 2
    assert w.vault.published[NAME]["access_token"] == "access-1"
    assert "refresh" not in json.dumps(w.vault.published[NAME])
    assert w.bus.types == ["Token Rotated"]
    assert (w.record().lease_owner, w.record().attempt_id, w.record().outbox) == (None, None, {})
    # About 21 hours ahead, 24 less the lead of 3, less the jitter.
    assert w.record().due_at == w.record().refresh_at
    assert 18 * 3600 < (w.record().refresh_at or 0) - w.clock.now() <= 21 * 3600


def test_one_refresh_takes_at_most_three_writes_to_the_table() -> None:
    w = world()
    w.run()
    assert w.faults.calls.count("records.change") == 3
    assert w.faults.calls.count("seal.prepare") + w.faults.calls.count("seal.unseal") == 2
    assert w.faults.calls.count("vault.publish") == 1


def test_the_number_of_calls_that_the_faults_below_cover_is_all_of_them() -> None:
    w = world()
    w.run()
    assert len(w.faults.calls) == CALLS
    assert w.faults.calls[REQUEST_CALL - 1] == "provider.send"


@pytest.mark.parametrize("kind", ["crash-before", "crash-after", "before", "after"])
@pytest.mark.parametrize("at", range(1, CALLS + 1))
def test_the_grant_survives_any_failing_call_if_its_response_arrived(at: int, kind: str) -> None:
    """At any failing call, the grant survives wherever its response reached the worker."""
    w = world()
    w.faults.at, w.faults.kind = at, kind
    with suppress(Crash, PortUnavailable):
        w.run()
    broken = w.faults.calls[at - 1]
    lost = broken == "provider.send" and kind in ("crash-after", "after")
    never_saved = w.record().generation == 1 and w.provider.number == 1 and not w.queue.messages
    w.faults.at = None

    for _ in range(12):
        w.receive()
        w.clock.advance(120)
        w.run()

    assert not w.provider.revoked, "a used refresh token was sent again"
    generations = [item.generation for item in w.records.history]
    assert generations == sorted(generations)
    if lost or never_saved:
        # Only an answer that never came back, or a worker killed with it in hand, is missing; and the record says so.
        assert w.record().attempt_id is not None
        assert (w.record().generation, w.record().status) == (1, Status.DEGRADED)
        return
    if w.record().attempt_id is not None:
        # Killed after the marker and before the request: no worker can know, so it is tried once, late, and works.
        assert w.provider.number == 0
        w.clock.time = w.record().refresh_at or 0
        w.run()
    assert w.stored.refresh_token == Secret(w.provider.live or "")
    assert w.record().status is Status.ACTIVE
    assert w.vault.published[NAME]["access_token"] == w.stored.access_token.reveal()
    assert w.record().outbox == {}
    for event_type in ("Connection Degraded", "Authorization Required", "Token Rotated"):
        assert w.bus.types.count(event_type) <= 1


def headless(**fields: Any) -> World:
    profile = built_in.load_built_in()["wealthyhood"]
    return world(profile, grant="client_credentials", client="wealthyhood", **fields)


TOKEN = answer(200, {"access_token": "access-1", "token_type": "Bearer", "expires_in": 3600})


def test_a_client_gets_its_first_token_as_soon_as_it_is_connected() -> None:
    w = headless(status=Status.AWAITING_AUTHORIZATION, generation=0, published_generation=0, sealed=None)
    w.provider.script = [TOKEN]
    tokens = w.run(caller_waits=True, force=True).tokens
    assert tokens is not None
    assert json.loads(w.provider.requests[0].body) == {
        "grant_type": "client_credentials",
        "client_id": "client-1",
        "client_secret": "canary-client-secret",
        "audience": "https://api.example.com",
    }
    assert w.bus.types == ["Connection Authorized"]
    assert w.vault.published[NAME]["required_headers"] == ["x-user-id"]


def test_a_lost_response_of_a_client_grant_is_no_doubt_at_all() -> None:
    w = headless()
    w.provider.script = [LostResponse("gone"), TOKEN]
    assert w.run().outcome == "rotated"


def test_a_refused_client_grant_blames_the_client_not_the_grant() -> None:
    """A refusal of a client grant blames the client, and no one need authorize."""
    w = headless()
    w.provider.script = [answer(403, {"error": "access_denied"})]
    w.run()
    assert w.record().status is Status.CLIENT_REFUSED


def test_clients_without_a_secret_are_spoken_for_too() -> None:
    w = world()
    w.vault.clients["keap"] = Client("keap", "client-1", (), ("api.example.com",))
    assert w.run().outcome == "rotated"


EXPIRED_ON_ARRIVAL = answer(200, {"access_token": "access-1", "refresh_token": "refresh-1", "expires_in": 0})


def test_a_token_that_has_expired_on_arrival_is_replaced_without_a_tick() -> None:
    w = world()
    w.provider.script = [EXPIRED_ON_ARRIVAL]
    w.run()
    assert w.stored.refresh_token == Secret("refresh-1")
    assert w.queue.messages == [({"connection": NAME}, 0)]


def test_no_caller_gets_a_token_that_has_expired_on_arrival() -> None:
    w = world()
    w.clock.advance(LIFETIME)
    w.provider.script = [EXPIRED_ON_ARRIVAL]
    with pytest.raises(TemporarilyUnavailable):
        w.run(caller_waits=True)
    assert w.stored.refresh_token == Secret("refresh-1")
