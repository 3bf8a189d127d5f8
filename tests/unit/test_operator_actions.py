"""Protects what an operator does to connections: each change waits for the lease, and none loses a generation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evergrant.connect import operator_actions
from evergrant.errors import InvalidName, InvalidRequest, InvalidVariable, TemporarilyUnavailable, UnknownConnection
from evergrant.profiles import built_in
from evergrant.record.connection import Connection
from evergrant.record.refresh_schedule import SHARD_COUNT
from evergrant.record.status import Status
from evergrant.times import TICK_SECONDS
from tests.unit.memory import FakeClock, Faults, MemoryKey, MemoryRecords

KEAP, WEALTHYHOOD = built_in.load_built_in()["keap"], built_in.load_built_in()["wealthyhood"]
VARIABLES = {"host": "auth.example.com", "audience": "https://api"}
NAME = "keap/main"


def world(**fields: Any) -> tuple[MemoryRecords, FakeClock]:
    records, clock = MemoryRecords(Faults()), FakeClock()
    wanted, grant = operator_actions.plan(KEAP, NAME)
    operator_actions.begin(records, wanted, grant, clock)
    records.items[NAME] = replace(records.items[NAME], **fields)
    return records, clock


def active(**fields: Any) -> tuple[MemoryRecords, FakeClock]:
    due = {"refresh_at": 1_800_010_000, "due_at": 1_800_010_000, "due_shard": "1"}
    saved = {"generation": 3, "published_generation": 3, "sealed": MemoryKey(NAME, 3).seal(b"{}")}
    return world(**{"status": Status.ACTIVE, **saved, **due, **fields})


def test_a_plan_uses_the_profiles_defaults() -> None:
    wanted, grant = operator_actions.plan(KEAP, NAME)
    assert grant == "authorization_code"
    assert (wanted.client, wanted.scope) == ("keap", "full")
    assert wanted.variables == KEAP.defaults


@pytest.mark.parametrize("provider", ["auth0", "keycloak", "microsoft", "okta"])
def test_a_clients_own_grant_does_not_ask_for_what_a_person_is_asked_for(provider: str) -> None:
    profile = built_in.load_built_in()[provider]
    variables = {"domain": "d.example", "host": "h.example", "realm": "r", "tenant": "common"}
    needed = {name: value for name, value in variables.items() if name in profile.variables}
    person, _ = operator_actions.plan(profile, f"{provider}/main", variables=needed)
    own, _ = operator_actions.plan(profile, f"{provider}/own", grant="client_credentials", variables=needed)
    assert "offline_access" in (person.scope or "")
    assert own.scope is None
    asked, _ = operator_actions.plan(
        profile, f"{provider}/own", grant="client_credentials", variables=needed, scopes=["a", "b"]
    )
    assert asked.scope == "a b"


def test_given_scopes_replace_the_profiles_and_use_its_separator() -> None:
    """Scopes that are given stand for the profile's own, joined by the separator that the provider wants."""
    zoho = built_in.load_built_in()["zoho"]
    wanted, _ = operator_actions.plan(zoho, "zoho/main", scopes=["ZohoCRM.modules.ALL", "ZohoCRM.users.READ"])
    assert wanted.scope == "ZohoCRM.modules.ALL,ZohoCRM.users.READ"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"connection": "keap"}, InvalidName),
        ({"connection": "keap/main-abc123"}, InvalidName),
        ({"connection": NAME, "client": "No Client"}, InvalidName),
        ({"connection": NAME, "grant": "client_credentials"}, InvalidRequest),
        ({"connection": NAME, "variables": {"hots": "x"}}, InvalidVariable),
        ({"connection": NAME, "variables": {"host": "x y"}}, InvalidVariable),
    ],
)
def test_a_plan_that_cannot_work_is_refused_before_anything_is_written(
    arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        operator_actions.plan(KEAP, **arguments)


def test_a_new_connection_awaits_its_authorization_and_is_not_due() -> None:
    records, _ = world()
    record = records.items[NAME]
    assert record.status == Status.AWAITING_AUTHORIZATION
    assert (record.due_at, record.refresh_at) == (None, None)


def test_a_clients_own_grant_is_due_at_once() -> None:
    records, clock = MemoryRecords(Faults()), FakeClock()
    wanted, grant = operator_actions.plan(WEALTHYHOOD, "wealthyhood/main", variables=VARIABLES)
    record = operator_actions.begin(records, wanted, grant, clock)
    assert record.refresh_at == record.due_at == clock.now()
    assert int(record.due_shard or "") < SHARD_COUNT


def test_beginning_again_leaves_a_living_connection_as_it_is() -> None:
    records, clock = active()
    before = records.items[NAME]
    wanted, grant = operator_actions.plan(KEAP, NAME, client="another")
    assert operator_actions.begin(records, wanted, grant, clock) == before
    assert records.items[NAME] == before


def test_a_connection_that_is_begun_again_is_fenced_off_from_what_it_was() -> None:
    records, clock = active()
    operator_actions.disconnect(records, NAME, clock)
    wanted, grant = operator_actions.plan(KEAP, NAME)
    record = operator_actions.begin(records, wanted, grant, clock)
    assert (record.status, record.generation) == (Status.AWAITING_AUTHORIZATION, 4)
    assert not record.is_unpublished or record.outbox, "there is no token set to publish"


def test_a_paused_connection_is_not_due_and_resumes_where_it_was() -> None:
    records, clock = active()
    paused = operator_actions.pause(records, NAME, clock)
    assert (paused.status, paused.due_at, paused.due_shard) == (Status.PAUSED, None, None)
    resumed = operator_actions.resume(records, NAME, clock)
    assert (resumed.status, resumed.due_at) == (Status.ACTIVE, 1_800_010_000)


def test_what_a_pause_left_unpublished_is_published_on_resume() -> None:
    """What was not published before a pause is published when the connection resumes."""
    records, clock = active(published_generation=2)
    operator_actions.pause(records, NAME, clock)
    resumed = operator_actions.resume(records, NAME, clock)
    assert (resumed.due_at, resumed.refresh_at) == (clock.now(), 1_800_010_000)


def test_a_refresh_missed_while_paused_is_due_on_resume() -> None:
    """A connection whose refresh was missed while it was paused is due when it resumes."""
    records, clock = active()
    operator_actions.pause(records, NAME, clock)
    clock.advance(50_000)
    assert operator_actions.resume(records, NAME, clock).due_at == clock.now()


def test_a_failing_connection_is_tried_on_resume_and_not_called_active() -> None:
    """A connection that was failing is tried at once when it resumes, and is not called active."""
    records, clock = active(failures=4, refresh_at=1_800_099_999)
    operator_actions.pause(records, NAME, clock)
    resumed = operator_actions.resume(records, NAME, clock)
    assert (resumed.status, resumed.refresh_at) == (Status.DEGRADED, clock.now())


def test_what_nothing_can_refresh_is_not_refreshed_for_having_been_paused() -> None:
    unread = MemoryKey(NAME, 4).seal(b"<html>")
    for answer, status in ((None, Status.AUTHORIZATION_REQUIRED), (unread, Status.DEGRADED)):
        records, clock = active(refresh_at=None, unreadable_response=answer)
        operator_actions.pause(records, NAME, clock)
        resumed = operator_actions.resume(records, NAME, clock)
        assert (resumed.status, resumed.refresh_at) == (status, None)


def test_an_old_unreadable_response_does_not_delay_a_headless_grant() -> None:
    """An unreadable response of an earlier grant does not hold up a client's own grant."""
    records, clock = MemoryRecords(Faults()), FakeClock()
    name = "wealthyhood/main"
    wanted, grant = operator_actions.plan(WEALTHYHOOD, name, variables=VARIABLES)
    operator_actions.begin(records, wanted, grant, clock)
    unread = MemoryKey(name, 1).seal(b"<html>")
    records.items[name] = replace(records.items[name], grant="authorization_code", unreadable_response=unread)
    assert operator_actions.begin(records, wanted, grant, clock).unreadable_response is None


def test_connecting_a_paused_client_grant_again_ends_the_pause() -> None:
    """A paused client grant that is connected again is no longer paused."""
    records, clock = MemoryRecords(Faults()), FakeClock()
    wanted, grant = operator_actions.plan(WEALTHYHOOD, "wealthyhood/main", variables=VARIABLES)
    operator_actions.begin(records, wanted, grant, clock)
    operator_actions.pause(records, "wealthyhood/main", clock)
    assert operator_actions.begin(records, wanted, grant, clock).status == Status.AWAITING_AUTHORIZATION


def test_only_what_is_paused_resumes_and_nothing_disconnected_pauses() -> None:
    records, clock = active()
    with pytest.raises(InvalidRequest, match="active"):
        operator_actions.resume(records, NAME, clock)
    operator_actions.disconnect(records, NAME, clock)
    with pytest.raises(InvalidRequest, match="disconnected"):
        operator_actions.pause(records, NAME, clock)


def test_a_pause_leaves_nothing_untold() -> None:
    records, clock = active(outbox={"e": {"type": "Token Rotated"}})
    assert operator_actions.pause(records, NAME, clock).due_at == clock.now() + TICK_SECONDS


def test_disconnecting_forgets_the_tokens_keeps_the_tombstone_and_tells() -> None:
    records, clock = active(attempt_id="x")
    record = operator_actions.disconnect(records, NAME, clock)
    assert (record.status, record.sealed, record.attempt_id) == (Status.DISCONNECTED, None, None)
    assert record.refresh_at is None
    assert record.due_at == clock.now() + TICK_SECONDS, "until its event is delivered, and no longer"
    assert (record.generation, record.published_generation) == (4, 4)
    assert [event["type"] for event in record.outbox.values()] == ["Connection Disconnected"]
    assert operator_actions.disconnect(records, NAME, clock) == record, "twice is once"


def test_an_operator_waits_for_the_worker_that_has_the_lease() -> None:
    records, clock = active(lease_owner="worker", lease_until=1_800_000_020)
    record = operator_actions.pause(records, NAME, clock)
    assert record.status == Status.PAUSED
    assert clock.now() >= 1_800_000_020


def test_an_operator_does_not_wait_for_ever() -> None:
    records, clock = active(lease_owner="worker", lease_until=1_800_009_999)
    with pytest.raises(TemporarilyUnavailable):
        operator_actions.pause(records, NAME, clock)


def test_nothing_is_done_to_a_connection_that_is_not_there() -> None:
    with pytest.raises(UnknownConnection):
        operator_actions.pause(MemoryRecords(Faults()), "keap/absent", FakeClock())


def test_every_field_of_a_record_has_a_default_except_what_names_it() -> None:
    record = Connection(name=NAME, status=Status.ACTIVE, grant="g", client="c", profile_hash="h")
    assert not record.is_unpublished
    assert not record.is_leased(0)
    assert record.token_lifetime is None
