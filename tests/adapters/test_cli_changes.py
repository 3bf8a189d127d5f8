"""Protects pause, resume and disconnect: what changes in the record, what is withdrawn, and that nobody slips."""

from __future__ import annotations

import pytest

from evergrant.aws.clients import client
from evergrant.aws.records import DynamoRecords
from evergrant.connection import Status
from tests.adapters.cli_desk import Desk
from tests.adapters.samples import NOW, SEALED, connection


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, records: DynamoRecords, queue_url: str) -> Desk:
    desk = Desk(monkeypatch, records, queue_url)
    records.create(connection(sealed=SEALED, expires_at=NOW + 600, refresh_at=NOW + 60, due_at=NOW + 60, due_shard="1"))
    client("secretsmanager").create_secret(Name="evergrant/tokens/keap/main", SecretString="{}")
    return desk


def secret_is_withdrawn() -> bool:
    return "DeletedDate" in client("secretsmanager").describe_secret(SecretId="evergrant/tokens/keap/main")


def test_a_paused_connection_is_not_due_and_goes_on_where_it_was(desk: Desk) -> None:
    assert desk.json("pause", "keap/main")["status"] == "paused"
    assert desk.record().due_at is None
    assert "goes on" in desk("resume", "keap/main")
    assert (desk.record().status, desk.record().due_at) == (Status.ACTIVE, NOW + 60)
    assert desk.queued() == []


def test_a_refresh_that_was_missed_meanwhile_is_asked_for_at_once(desk: Desk) -> None:
    desk("pause", "keap/main")
    desk.now = NOW + 3600
    desk("resume", "keap/main")
    assert desk.queued() == [{"connection": "keap/main"}]


def test_pausing_and_resuming_twice_is_the_same(desk: Desk) -> None:
    assert "is active already" in desk("resume", "keap/main")
    assert desk.json("resume", "keap/main")["status"] == "active"
    desk("pause", "keap/main")
    assert "is paused already" in desk("pause", "keap/main")
    assert desk.record().status is Status.PAUSED


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_what_is_disconnected_is_neither_paused_nor_resumed(desk: Desk, verb: str) -> None:
    desk("disconnect", "keap/main", "--yes")
    error = desk.error(verb, "keap/main")
    assert error["code"] == "disconnected"
    assert "evergrant connect keap/main" in error["hint"]


def test_disconnecting_forgets_the_tokens_withdraws_the_secret_and_has_the_event_delivered(desk: Desk) -> None:
    assert "is disconnected" in desk("disconnect", "keap/main", "--yes")
    record = desk.record()
    assert (record.status, record.sealed, record.refresh_at) == (Status.DISCONNECTED, None, None)
    assert [body["type"] for body in record.outbox.values()] == ["Connection Disconnected"]
    assert secret_is_withdrawn()
    assert desk.queued() == [{"connection": "keap/main"}]


def test_disconnecting_twice_is_the_same(desk: Desk) -> None:
    desk("disconnect", "keap/main", "--yes")
    assert desk.json("disconnect", "keap/main", "--yes")["status"] == "disconnected"


def test_where_nobody_can_be_asked_disconnecting_needs_a_yes(desk: Desk) -> None:
    assert "--yes" in desk.both("disconnect", "keap/main", status=2)[1]
    assert "--yes" in desk.json("disconnect", "keap/main", status=2)["error"]["message"]
    assert desk.record().status is Status.ACTIVE


@pytest.mark.parametrize(("answer", "status"), [("y\n", Status.DISCONNECTED), ("n\n", Status.ACTIVE)])
def test_at_a_terminal_it_asks(desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: str, status: Status) -> None:
    monkeypatch.setattr("evergrant_cli.connections.interactive", lambda: True)
    desk("disconnect", "keap/main", given=answer, status=0 if answer == "y\n" else 1)
    assert desk.record().status is status
    assert secret_is_withdrawn() is (status is Status.DISCONNECTED)


@pytest.mark.parametrize("verb", ["pause", "resume", "disconnect"])
def test_what_does_not_exist_is_not_changed(desk: Desk, verb: str) -> None:
    yes = ["--yes"] if verb == "disconnect" else []
    assert desk.error(verb, "keap/none", *yes)["code"] == "unknown_connection"


def test_a_connection_that_is_being_refreshed_is_waited_for(desk: Desk) -> None:
    desk.records.change("keap/main", {"lease_owner": "w", "lease_until": NOW + 3})
    desk("pause", "keap/main")
    assert desk.now >= NOW + 3
    assert desk.record().status is Status.PAUSED
