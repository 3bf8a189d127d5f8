"""Protects `get` and `rotate`: no token shows unless it was asked for, and an old token never passes for a new one."""

from __future__ import annotations

import pytest

from evergrant.adapters.aws.records import DynamoRecords
from evergrant.errors import ResponsePending
from evergrant.record.status import Status
from evergrant.secret import fingerprint
from tests.adapters.cli_desk import ACCESS_TOKEN, Desk, document
from tests.adapters.samples import NOW, connection


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, records: DynamoRecords, queue_url: str) -> Desk:
    desk = Desk(monkeypatch, records, queue_url)
    records.create(connection(expires_at=NOW + 600, refresh_at=NOW + 60))
    return desk


@pytest.fixture
def serving(desk: Desk) -> Desk:
    desk.rotator = lambda request: document(desk.record(request["connection"]))
    return desk


def test_people_see_a_fingerprint_and_not_the_token(serving: Desk) -> None:
    said = serving("get", "keap/main")
    assert ACCESS_TOKEN not in said
    assert fingerprint(ACCESS_TOKEN) in said
    assert "x-user-id" in said
    assert serving.asked == [{"connection": "keap/main", "min_ttl": 60}]


def test_the_token_alone_is_printed_when_asked_for(serving: Desk) -> None:
    assert serving("get", "keap/main", "--token") == f"{ACCESS_TOKEN}\n"


def test_the_document_is_the_whole_answer(serving: Desk) -> None:
    answer = serving.json("get", "keap/main", "--min-ttl", "300")
    assert answer["headers"] == {"Authorization": f"Bearer {ACCESS_TOKEN}"}
    assert serving.asked[0]["min_ttl"] == 300


def test_an_error_of_rotator_is_passed_on_whole(desk: Desk) -> None:
    given = {"code": "authorization_required", "message": "Gone.", "hint": "Do this.", "retry_after": 9}
    desk.rotator = lambda request: {"error": given}
    assert desk.error("get", "keap/main") == given
    assert desk.both("get", "keap/main", status=1) == ("", "Gone.\nDo this.\n")


def test_a_token_with_less_left_than_asked_is_said_aside(serving: Desk) -> None:
    said, aside = serving.both("get", "keap/main", "--token", "--min-ttl", "3600")
    assert said == f"{ACCESS_TOKEN}\n"
    assert aside == "It expires in 10 min, sooner than the 3600 s of --min-ttl.\n"


def test_a_refused_client_is_reported_with_the_variables_to_check(desk: Desk) -> None:
    desk.rotator = lambda request: {"error": {"code": "client_refused", "message": "No.", "hint": "Fix it."}}
    hint = desk.error("get", "keap/main")["hint"]
    assert hint.startswith("Fix it. ")
    assert "evergrant connect keap/main --var" in hint


def test_token_and_json_exclude_each_other(desk: Desk) -> None:
    error = desk.json("get", "keap/main", "--token", status=2)["error"]
    assert "--token and --json exclude each other" in error["message"]


@pytest.mark.parametrize("arguments", [["--token", "--json"], ["--min-ttl", "-1"], ["--min-ttl", "soon"]])
def test_wrong_usage_is_status_2(desk: Desk, arguments: list[str]) -> None:
    desk("get", "keap/main", *arguments, status=2)


def test_a_name_that_is_none_never_reaches_aws(desk: Desk) -> None:
    assert desk.error("get", "keap")["code"] == "invalid_name"
    assert desk.asked == []


def test_rotate_forces_a_refresh_and_says_its_outcome(desk: Desk) -> None:
    assert "keap/main has a new token (generation 8); it expires in 1 h." in desk("rotate", "keap/main")
    assert desk.asked == [{"connection": "keap/main", "force": True}]
    assert desk.json("rotate", "keap/main")["generation"] == 9


def test_an_old_token_that_is_still_served_is_no_success(desk: Desk) -> None:
    desk.rotator = desk.refuses("temporarily_overloaded")
    error = desk.error("rotate", "keap/main")
    assert error["code"] == "not_refreshed"
    assert "temporarily_overloaded" in error["message"]
    assert "by itself" in error["hint"]


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (Status.AUTHORIZATION_REQUIRED, "authorization_required", "evergrant connect keap/main"),
        (Status.CLIENT_REFUSED, "client_refused", "evergrant client set keap"),
    ],
)
def test_a_refusal_says_who_must_do_what(desk: Desk, status: Status, code: str, hint: str) -> None:
    desk.rotator = desk.refuses(status=status)
    error = desk.error("rotate", "keap/main")
    assert error["code"] == code
    assert hint in error["hint"]


def test_rotating_a_paused_connection_says_that_it_is_paused(desk: Desk) -> None:
    paused = {"code": "paused", "message": "keap/main is paused.", "hint": "Resume it."}
    desk.rotator = lambda request: {"error": paused}
    assert desk.error("rotate", "keap/main") == paused


def test_rotate_while_a_response_is_pending_says_so_and_when_to_retry(desk: Desk) -> None:
    """Rotating while a response may still be saved says so, and says when to retry."""
    awaited = ResponsePending("keap/main", 895).as_dict()
    desk.rotator = lambda request: {"error": awaited}
    assert desk.error("rotate", "keap/main") == awaited
    assert "try again in 15 minutes" in awaited["hint"]
    assert "15 minutes" in desk("rotate", "--help")


def test_rotating_an_unknown_connection_sends_no_request(desk: Desk) -> None:
    assert desk.error("rotate", "keap/none")["code"] == "unknown_connection"
    assert desk.asked == []


def test_a_rotator_that_crashes_is_said_without_its_own_words(desk: Desk) -> None:
    desk.rotator = lambda request: {"errorType": "Sandbox.Timedout", "errorMessage": ACCESS_TOKEN}
    error = desk.error("rotate", "keap/main")
    assert error["code"] == "function_failed"
    assert error["message"] == "evergrant-rotator failed: Sandbox.Timedout."
