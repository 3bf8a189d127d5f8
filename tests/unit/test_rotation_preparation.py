"""Protects the steps before a refresh attempt: look at the record, and prepare all that the save will need."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from evergrant.errors import Disconnected, Paused, UnknownClient, UnknownConnection
from evergrant.oauth.client import Client
from evergrant.record.status import Status
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.refresh_demand import TokenDemand
from tests.unit.memory import CLIENT, seal_again, seal_for
from tests.unit.rotation_world import KEAP, NAME, down, world


def test_a_connection_that_is_not_due_is_left_alone() -> None:
    w = world(due=False)
    assert w.run().outcome == "fresh"
    assert w.provider.requests == []


def test_everything_the_save_needs_is_fetched_before_the_attempt() -> None:
    w = world()
    w.run()
    sent_at = w.faults.calls.index("provider.send")
    assert {"seal.prepare", "vault.client"} <= set(w.faults.calls[:sent_at])
    assert w.faults.calls[sent_at + 1] == "records.change"


def test_too_little_time_left_hands_the_work_back_before_any_attempt() -> None:
    w = world()
    result = Rotation(w.ports, w.settings, w.clock.now() + 5).run(TokenDemand(NAME))
    assert result.outcome == "no_time"
    assert w.provider.requests == []
    assert w.record().attempt_id is None


def test_a_client_secret_no_request_can_carry_stops_before_the_attempt() -> None:
    """A client secret that no request can carry is found out before anything is sent."""
    profile = msgspec.structs.replace(KEAP, refresh=KEAP.exchange)
    w = world(profile)
    entry = w.vault.clients["keap"] = replace(CLIENT, client_id="canary\r\nid")
    w.records.items[NAME] = replace(w.record(), sealed=seal_for(w.record(), profile, w.stored, entry))
    w.run()
    assert (w.record().attempt_id, w.record().last_error) == (None, "invalid_variable")
    assert w.provider.requests == []


def test_a_service_that_fails_for_long_shows_in_the_record() -> None:
    w = world()
    w.ports.seal.prepare = down  # type: ignore[method-assign]
    for _ in range(3):
        assert w.run().outcome == "failed"
        w.clock.time = max(w.clock.time, float(w.record().refresh_at or 0))
    assert (w.record().status, w.record().last_error) == (Status.DEGRADED, "service_unavailable")
    assert w.bus.types == ["Connection Degraded"]
    assert w.run(caller_waits=True, rejected="x").tokens == w.stored, "what is valid is served meanwhile"


@pytest.mark.parametrize("status", [Status.PAUSED, Status.DISCONNECTED])
def test_what_is_missing_on_our_side_does_not_undo_a_pause_or_a_disconnect(status: Status) -> None:
    w = world()

    def meanwhile(name: str) -> Client:
        w.records.items[NAME] = replace(w.record(), status=status, due_at=None)
        raise UnknownClient(name)

    w.vault.client = meanwhile  # type: ignore[method-assign]
    w.run()
    assert (w.record().status, w.record().due_at) == (status, None)


def test_a_missing_client_degrades_and_is_looked_for_again() -> None:
    w = world()
    w.vault.clients.clear()
    assert w.run().outcome == "failed"
    assert (w.record().status, w.record().last_error) == (Status.DEGRADED, "unknown_client")
    assert w.record().attempt_id is None
    assert (w.record().refresh_at or 0) > w.clock.now()


def test_a_grant_without_a_refresh_token_asks_for_a_person_in_time() -> None:
    w = world()
    bare = replace(w.stored, refresh_token=None)
    w.records.items[NAME] = replace(w.record(), sealed=seal_again(NAME, 1, bare))
    w.run()
    assert w.record().status is Status.AUTHORIZATION_REQUIRED
    assert w.bus.types == ["Authorization Required"]
    assert w.run(caller_waits=True).tokens == bare, "its access token is served to the end"


@pytest.mark.parametrize(("status", "error"), [(Status.PAUSED, Paused), (Status.DISCONNECTED, Disconnected)])
def test_an_inactive_connection_is_not_refreshed(status: Status, error: type[Exception]) -> None:
    w = world(status=status)
    assert w.run().outcome == "inactive"
    with pytest.raises(error):
        w.run(caller_waits=True, force=True)
    assert w.provider.requests == []


def test_an_unknown_connection_is_an_error_of_its_own() -> None:
    w = world()
    with pytest.raises(UnknownConnection):
        Rotation(w.ports, w.settings).run(TokenDemand("keap/absent"))
