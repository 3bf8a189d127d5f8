"""Protects `reparse`: the operator corrects the profile, and rotator reads the kept response with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evergrant.adapters.aws.profiles import StoredProfiles
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.profiles import built_in
from evergrant.profiles.model import content_hash
from evergrant.record.status import Status
from tests.adapters.cli_desk import Desk, document
from tests.adapters.overwriting import overwrite
from tests.adapters.samples import NOW, SEALED, connection
from tests.adapters.test_cli_providers import ACME

KEAP = built_in.load_built_in()["keap"]
UNREAD: dict[str, Any] = {
    "status": Status.DEGRADED,
    "unreadable_response": SEALED,
    "last_error": "unreadable_response",
    "failures": 1,
}


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, records: DynamoRecords, queue_url: str) -> Desk:
    desk = Desk(monkeypatch, records, queue_url)
    desk.records.create(connection(expires_at=NOW + 60, **UNREAD))
    return desk


def reads(desk: Desk, **changes: Any) -> None:
    """Have rotator read it."""

    def rotator(request: Mapping[str, Any]) -> dict[str, Any]:
        reparsed = {"status": Status.ACTIVE, "unreadable_response": None, "generation": 8, "expires_at": NOW + 3600}
        return document(overwrite(desk.records, request["connection"], **{**reparsed, **changes}))

    desk.rotator = rotator


def test_rotator_reparses_with_the_profile_that_is_in_the_table(desk: Desk) -> None:
    """Rotator is asked to reparse the kept response by the current profile, which it finds in the table."""
    reads(desk)
    said = desk("reparse", "keap/main")
    assert desk.asked == [{"connection": "keap/main", "reparse": content_hash(KEAP)}]
    assert StoredProfiles(desk.records.table)._get(f"profile#{content_hash(KEAP)}", "profile") is not None
    assert "keap/main has the token of the response (generation 8); it expires in 1 h." in said


def test_json_is_the_connection_as_it_then_is(desk: Desk) -> None:
    reads(desk)
    assert desk.json("reparse", "keap/main")["generation"] == 8


def test_what_cannot_be_read_now_either_is_said(desk: Desk) -> None:
    desk.rotator = lambda request: {
        "error": {"code": "unreadable_response", "message": "No access token.", "hint": "Fix it."}
    }
    assert desk.error("reparse", "keap/main")["code"] == "unreadable_response"


def test_what_turns_out_to_be_a_refusal_is_said(desk: Desk) -> None:
    reads(desk, status=Status.DEGRADED, generation=7, last_error="invalid_grant")
    assert "the response was a refusal" in desk("reparse", "keap/main")


def test_a_connection_that_holds_none_is_not_said_to_be_read(desk: Desk) -> None:
    desk.records.create(connection("keap/well"))
    desk.rotator = lambda request: {"error": {"code": "invalid_request", "message": "keap/well holds no answer."}}
    assert desk.error("reparse", "keap/well")["code"] == "invalid_request"


def test_a_corrected_profile_names_the_connections_it_might_read(desk: Desk, tmp_path: Path) -> None:
    desk.records.create(connection("acme/two", **UNREAD))
    desk.records.create(connection("acme/well"))
    file = tmp_path / "acme.toml"
    file.write_text(ACME, "utf-8")
    assert "evergrant reparse acme/two" in desk("provider", "add", str(file))
    assert desk.json("provider", "add", str(file))["to_reparse"] == ["acme/two"]
