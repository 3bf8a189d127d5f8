"""Protects `status`: its first line and exit status show monitoring and people whether a person has to act."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evergrant.adapters.aws.circuits import DynamoCircuits
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.profiles import built_in
from evergrant.profiles.model import content_hash
from evergrant.record.circuit import Failure
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from tests.adapters.cli_desk import Desk
from tests.adapters.hooks import parameters
from tests.adapters.samples import NOW, SEALED, connection

KEAP = content_hash(built_in.load_built_in()["keap"])


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, records: DynamoRecords, queue_url: str) -> Desk:
    return Desk(monkeypatch, records, queue_url)


def healthy(name: str = "keap/main", **fields: Any) -> Connection:
    given = {
        "profile_hash": KEAP,
        "published_generation": 7,
        "sealed": SEALED,
        "variables": {"host": "api.example.com"},
        "created_at": NOW - 90_000,
        "issued_at": NOW - 3600,
        "expires_at": NOW + 82_800,
        "refresh_at": NOW + 72_000,
        "refresh_expires_at": NOW + 3_880_000,
        **fields,
    }
    return connection(name, **given)


def test_the_first_line_says_that_nothing_is_about_to_break(desk: Desk) -> None:
    desk.records.create(healthy())
    desk.records.create(healthy("keap/two"))
    lines = desk("status").splitlines()
    assert lines[0] == "Nothing is about to break: 2 connections kept alive."
    assert lines[2].split("  ")[0] == "connection"
    assert lines[3].split() == ["keap/main", "active", "in", "23", "h", "in", "20", "h", "in", "44", "days"]


def test_the_first_line_names_who_needs_a_person_and_exit_status_is_3(desk: Desk) -> None:
    desk.records.create(healthy())
    desk.records.create(healthy("keap/two", status=Status.AUTHORIZATION_REQUIRED, last_error="invalid_grant"))
    said = desk("status", status=3)
    assert said.splitlines()[0] == "1 of 2 connections needs action: keap/two."
    assert "→ evergrant connect keap/two" in said
    assert "invalid_grant" in said


def test_what_recovers_by_itself_is_shown_and_needs_no_person(desk: Desk) -> None:
    desk.records.create(healthy(status=Status.DEGRADED, failures=3, last_error="lost_response"))
    said = desk("status")
    assert said.splitlines()[0] == "Nothing needs action now. Keep an eye on keap/main."
    assert "retried by itself" in said


def test_an_empty_stack_says_what_to_do_first(desk: Desk) -> None:
    assert "evergrant connect" in desk("status")
    assert desk.json("status")["connections"] == []


def test_disconnected_ones_are_only_counted(desk: Desk) -> None:
    desk.records.create(healthy())
    desk.records.create(healthy("keap/gone", status=Status.DISCONNECTED))
    said = desk("status")
    assert "keap/gone" not in said
    assert "1 disconnected" in said
    assert [item["connection"] for item in desk.json("status")["connections"]] == ["keap/gone", "keap/main"]


def test_the_document_holds_times_as_rfc_3339_and_a_verdict(desk: Desk) -> None:
    desk.records.create(healthy())
    answer = desk.json("status")
    assert (answer["summary"], answer["needs_action"]) == (
        "Nothing is about to break: 1 connection kept alive.",
        False,
    )
    (item,) = answer["connections"]
    assert item["expires_at"] == "2027-01-16T07:00:00Z"
    assert (item["status"], item["expires_in"], item["health"]) == ("active", 82_800, "fine")
    assert item["refresh_token_expires_at"] == "2027-03-01T05:46:40Z"


def test_the_document_holds_nothing_sealed(desk: Desk) -> None:
    desk.records.create(healthy(outbox={"e": {"type": "x", "at": NOW, "detail": {}}}))
    (item,) = desk.json("status")["connections"]
    assert item.keys().isdisjoint({"sealed", "unreadable_response", "outbox", "lease_owner", "attempt_id"})


def test_monitoring_gets_the_same_exit_status_with_json(desk: Desk) -> None:
    desk.records.create(healthy(status=Status.CLIENT_REFUSED, last_error="invalid_client"))
    answer = desk.json("status", status=3)
    assert answer["needs_action"] is True
    assert answer["connections"][0]["advice"].startswith("`evergrant client set keap`. ")
    assert "evergrant connect keap/main --var" in answer["connections"][0]["advice"]


def test_one_connection_is_shown_in_full(desk: Desk) -> None:
    desk.records.create(healthy(last_error="server_error", last_error_at=NOW - 120, failures=1))
    said = desk("status", "keap/main")
    assert "2 min ago: the provider failed (server_error)" in said
    assert "host=api.example.com" in said
    assert "2027-01-16T07:00:00Z, in 23 h" in said


def test_a_connection_that_does_not_exist_is_an_error_not_an_empty_table(desk: Desk) -> None:
    assert desk.error("status", "keap/none")["code"] == "unknown_connection"
    assert "There is no connection keap/none." in desk.both("status", "keap/none", status=1)[1]


def test_a_grant_that_no_refresh_extends_needs_a_person_in_time(desk: Desk) -> None:
    desk.records.create(healthy(profile_hash="0" * 64, refresh_expires_at=NOW + 5 * 86_400))
    assert "its grant ends in 5 days" in desk("status", status=3)
    desk.records.change("keap/main", {"profile_hash": KEAP})
    assert "Nothing is about to break" in desk("status")


def test_json_is_one_document_and_nothing_else(desk: Desk) -> None:
    desk.records.create(healthy())
    said, aside = desk.both("status", "--json")
    assert json.loads(said)
    assert aside == ""


def test_one_connection_in_trouble_begins_with_why_and_what_to_do(desk: Desk) -> None:
    desk.records.create(healthy(status=Status.AUTHORIZATION_REQUIRED, last_error="invalid_grant", direct_read=False))
    said = desk("status", "keap/main", status=3).splitlines()
    assert "be authorized again: the provider no longer accepts the grant (invalid_grant)" in said[0]
    assert said[1] == "  → evergrant connect keap/main"
    assert "through getter only" in " ".join(said)


def test_a_disconnected_connection_shows_no_token_expiry_or_failures(desk: Desk) -> None:
    desk.records.create(healthy(status=Status.DISCONNECTED, failures=2, last_error="lost_response", last_error_at=NOW))
    said = desk("status", "keap/main")
    assert said.splitlines()[0] == "keap/main is disconnected."
    assert not any(word in said for word in ("expires", "dies", "refresh", "failures", "error"))
    answer = desk.json("status", "keap/main")
    assert answer["summary"] == "keap/main is disconnected."
    (item,) = answer["connections"]
    gone = ("expires_at", "expires_in", "next_refresh_at", "refresh_token_expires_at", "failures", "last_error")
    assert {item[name] for name in gone} == {None}


@pytest.mark.parametrize(
    ("fields", "shown"),
    [({"refresh_at": NOW - 5}, "due"), ({"lease_owner": "w", "lease_until": NOW + 30}, "now"), ({}, "in 20 h")],
)
def test_the_next_refresh_is_shown_apart_from_one_due_or_under_way(
    desk: Desk, fields: dict[str, Any], shown: str
) -> None:
    desk.records.create(healthy(**fields))
    assert f"  {shown}  " in desk("status").splitlines()[3]


URL = "https://api.example.com/token"


def open_circuit(desk: Desk, key: str, **fields: Any) -> None:
    opened: dict[str, Any] = {"opened_at": NOW - 3600, "probed_at": NOW - 5, **fields}
    DynamoCircuits(desk.records.table, "authorizations").change(key, opened, only_if={})


def test_a_refused_client_is_said_once_for_all_its_connections_due_or_not(desk: Desk) -> None:
    refused: dict[str, Any] = {"status": Status.CLIENT_REFUSED, "failures": 1, "last_error": "invalid_client"}
    desk.records.create(healthy("keap/refused", **refused, expires_at=NOW + 7200))
    desk.records.create(healthy("keap/held", refresh_at=NOW - 3600))
    desk.records.create(healthy("keap/not-due"))
    desk.records.create(healthy("keap/paused", status=Status.PAUSED))
    desk.records.create(healthy("zoho/other", client="zoho"))
    open_circuit(desk, "client#keap", code="invalid_client", http_status=401, probes=10)
    said = desk("status", status=3)
    assert said.splitlines()[0] == "3 of 5 connections need action: keap/held, keap/not-due, keap/refused."
    assert said.count("keap: its provider has refused it for 1 h") == 1
    assert "1 of 3 connections is held back; the first token expires in 2 h; the next probe is due in 14 min." in said
    assert said.count("evergrant client set keap") == 1
    assert "late" not in said
    answer = desk.json("status", status=3)
    assert answer["open_circuits"] == [
        {
            "kind": "client",
            "name": "keap",
            "open_since": "2027-01-15T07:00:00Z",
            "error": "invalid_client",
            "http_status": 401,
            "detail": None,
            "next_probe_at": "2027-01-15T08:14:55Z",
            "first_expiry_at": "2027-01-15T10:00:00Z",
            "held_back": ["keap/held"],
            "connections": ["keap/refused", "keap/held", "keap/not-due"],
        }
    ]
    assert {item["connection"]: (item["status"], item["held_by"]) for item in answer["connections"]} == {
        "keap/held": ("active", "client#keap"),
        "keap/not-due": ("active", None),
        "keap/paused": ("paused", None),
        "keap/refused": ("client_refused", None),
        "zoho/other": ("active", None),
    }
    assert "its next refresh waits for client keap" in desk("status", "keap/not-due", status=3)


def test_an_endpoint_that_does_not_work_is_said_once_for_all_it_holds_back(desk: Desk) -> None:
    for name in ("keap/one", "keap/two"):
        desk.records.create(healthy(name, endpoint=URL, refresh_at=NOW - 3600))
    desk.records.create(healthy("keap/not-due", endpoint=URL))
    open_circuit(desk, f"endpoint#{URL}", code="not_reached", http_status=403, detail="text/html")
    with parameters("dynamodb", "BatchGetItem") as read:
        said = desk("status")
    assert len(read) == 1
    assert said.splitlines()[0] == "Nothing needs action now. Keep an eye on keap/one, keap/two."
    assert said.count("api.example.com: https://api.example.com/token has failed for 1 h: a page of HTML came") == 1
    assert "(not_reached, HTTP 403, text/html). 2 of 3 connections are held back; the first token expires" in said
    assert "late" not in said
    assert [line.count("held back") for line in said.splitlines()[3:6]] == [0, 1, 1]
    one = desk("status", "keap/one")
    assert one.startswith("keap/one: it waits for the endpoint api.example.com, which does not work; its token is good")
    assert "the next probe is due" in one
    assert desk.json("status", "keap/one")["connections"][0]["held_by"] == f"endpoint#{URL}"


def test_many_refused_grants_are_one_line(desk: Desk) -> None:
    names = [f"keap/{number}" for number in range(6)]
    refused: dict[str, Any] = {
        "status": Status.DEGRADED,
        "failures": 1,
        "last_error": "invalid_grant",
        "rejected_at": NOW - 60,
    }
    for name in names:
        desk.records.create(healthy(name, **refused, rejected_code="invalid_grant"))
    refusals = {f"refusals.{name}": Failure(NOW - 60, "invalid_grant") for name in names}
    DynamoCircuits(desk.records.table, "authorizations").change(
        "client#keap", {"incident_at": NOW - 60, **refusals}, only_if={}
    )
    said = desk("status", status=3)
    assert said.count("invalid_grant") == 1
    assert "keap: its provider has refused the grants of 6 connections at once" in said
    answer = desk.json("status", status=3)
    assert answer["incidents"] == [
        {
            "client": "keap",
            "since": "2027-01-15T07:59:00Z",
            "errors": ["invalid_grant"],
            "owners_asked_at": "2027-01-15T09:59:00Z",
            "connections": names,
        }
    ]
    assert answer["open_circuits"] == []


def test_the_document_holds_what_the_last_response_was(desk: Desk) -> None:
    failed: dict[str, Any] = {
        "failures": 2,
        "failing_since": NOW - 90,
        "last_error": "unclear",
        "last_error_at": NOW - 30,
    }
    desk.records.create(healthy(**failed, last_status=502, last_detail="text/html", unclear_at=NOW - 90))
    (item,) = desk.json("status")["connections"]
    assert (item["last_error"], item["last_status"], item["last_detail"]) == ("unclear", 502, "text/html")
    assert (item["failing_since"], item["unclear_at"]) == ("2027-01-15T07:58:30Z", "2027-01-15T07:58:30Z")
    assert item["rejected_at"] is None
    said = desk("status", "keap/main")
    assert "HTTP 502, text/html" in said
    assert "perhaps used" in said


def test_what_is_to_be_done_about_an_unreadable_response_is_said(desk: Desk) -> None:
    held: dict[str, Any] = {
        "unreadable_response": SEALED,
        "last_error": "unreadable_response",
        "refresh_at": None,
        "failures": 1,
    }
    desk.records.create(healthy(status=Status.DEGRADED, **held))
    said = " ".join(desk("status", status=3).split())
    assert "evergrant reparse keap/main" in said
