"""Protects pause and resume: what changes in the record, and what is due."""

from __future__ import annotations

from typing import Any

import pytest

from evergrant.adapters.aws.records import DynamoRecords
from evergrant.record.status import Status
from tests.adapters.cli_desk import Desk
from tests.adapters.samples import NOW, SEALED, connection


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, records: DynamoRecords, queue_url: str) -> Desk:
    desk = Desk(monkeypatch, records, queue_url)
    due: dict[str, Any] = {"refresh_at": NOW + 60, "due_at": NOW + 60, "due_shard": "1"}
    records.create(connection(sealed=SEALED, published_generation=7, expires_at=NOW + 600, **due))
    return desk


def test_a_paused_connection_is_not_due_and_goes_on_where_it_was(desk: Desk) -> None:
    assert desk.json("pause", "keap/main")["status"] == "paused"
    assert desk.record().due_at is None
    assert "is resumed" in desk("resume", "keap/main")
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


@pytest.mark.parametrize("verb", ["pause", "resume", "disconnect"])
def test_what_does_not_exist_is_not_changed(desk: Desk, verb: str) -> None:
    yes = ["--yes"] if verb == "disconnect" else []
    assert desk.error(verb, "keap/none", *yes)["code"] == "unknown_connection"


def test_a_connection_that_is_being_refreshed_is_waited_for(desk: Desk) -> None:
    desk.records.change("keap/main", {"lease_owner": "w", "lease_until": NOW + 3})
    desk("pause", "keap/main")
    assert desk.now >= NOW + 3
    assert desk.record().status is Status.PAUSED
