"""Protects getter's two ways in: what may be asked, and how every outcome looks to a caller in any language."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant import errors
from evergrant.getter.handler import handle_event
from evergrant.getter.token_reader import TokenReader
from tests.unit.samples import NOW

DOCUMENT = {"connection": "keap/main", "access_token": "a", "expires_at": "2026-11-22T11:00:00Z"}
NO_SECONDS: list[Any] = [-1, "60", 1.5, True, None, [], float("nan"), 10**9]
NO_FINGERPRINTS: list[Any] = [7, True, [], {}, "", "0" * 15, "0" * 17, "A" * 16, "canary-a-token-itself"]


class Rotator:
    """Answers everything with one document, and remembers the requests."""

    def __init__(self, document: Mapping[str, Any] = DOCUMENT) -> None:
        self.document = dict(document)
        self.caller_waits: list[Mapping[str, Any]] = []
        self.reader = TokenReader(lambda _: None, self._ask, lambda: NOW)

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.caller_waits.append(request)
        return dict(self.document)


def http(provider: str | None = "keap", account: str | None = "main", **query: str) -> dict[str, Any]:
    path = {name: value for name, value in (("provider", provider), ("account", account)) if value is not None}
    event: dict[str, Any] = {"requestContext": {"http": {"method": "GET"}}, "pathParameters": path}
    return {**event, "queryStringParameters": query} if query else event


def test_a_direct_request_is_answered_with_the_document_itself() -> None:
    rotator = Rotator()
    request = {"connection": "keap/main", "min_ttl": 60, "rejected": "0123456789abcdef"}
    assert handle_event(rotator.reader, request) == {**DOCUMENT, "expires_in": 3600}
    assert rotator.caller_waits == [request]


def test_an_http_request_is_answered_with_json_that_no_cache_keeps() -> None:
    rotator = Rotator()
    response = handle_event(rotator.reader, http(min_ttl="60", rejected="0123456789abcdef"))
    assert response["statusCode"] == 200
    assert response["headers"] == {"content-type": "application/json", "cache-control": "no-store"}
    assert json.loads(response["body"]) == {**DOCUMENT, "expires_in": 3600}
    assert rotator.caller_waits == [{"connection": "keap/main", "min_ttl": 60, "rejected": "0123456789abcdef"}]


def test_nothing_but_the_connection_need_be_said() -> None:
    rotator = Rotator()
    handle_event(rotator.reader, {"connection": "keap/main"})
    handle_event(rotator.reader, {**http(account="other"), "queryStringParameters": None})
    assert rotator.caller_waits == [
        {"connection": "keap/main", "min_ttl": 0},
        {"connection": "keap/other", "min_ttl": 0},
    ]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({}, "invalid_name"),
        ({"connection": None}, "invalid_name"),
        ({"connection": "keap"}, "invalid_name"),
        ({"connection": "keap/main*"}, "invalid_name"),
        ({"connection": ["keap/main"]}, "invalid_name"),
        *(({"connection": "keap/main", "min_ttl": bad}, "invalid_request") for bad in NO_SECONDS),
        *(({"connection": "keap/main", "rejected": bad}, "invalid_request") for bad in NO_FINGERPRINTS),
    ],
)
def test_a_request_that_cannot_be_read_is_refused_before_anything_is_asked(request_: Any, code: str) -> None:
    rotator = Rotator()
    assert handle_event(rotator.reader, request_)["error"]["code"] == code
    assert rotator.caller_waits == []


@pytest.mark.parametrize(
    "event",
    [
        http(provider=None),
        http(account=None),
        http(provider="Keap"),
        http(account="a/b"),
        http(account="main-abcdef"),
        {"requestContext": {}},
        {"requestContext": {}, "pathParameters": None},
        *(http(min_ttl=bad) for bad in ("", "-1", "1.5", "x", "60,60", " 60", "٣", "²", "9" * 10)),
        *(http(rejected=bad) for bad in ("", "x", "0" * 16 + "," + "0" * 16)),
    ],
)
def test_an_http_request_that_cannot_be_read_is_a_400(event: dict[str, Any]) -> None:
    rotator = Rotator()
    response = handle_event(rotator.reader, event)
    assert response["statusCode"] == 400
    assert json.loads(response["body"])["status"] == 400
    assert rotator.caller_waits == []


@pytest.mark.parametrize("name", ["minttl", "min_ttl ", "force", "wait", "x"])
def test_what_getter_does_not_know_is_refused_and_not_passed_over(name: str) -> None:
    """A misspelt min_ttl would be answered with a token that expires too soon."""
    rotator = Rotator()
    direct = handle_event(rotator.reader, {"connection": "keap/main", name: 60})["error"]
    by_http = json.loads(handle_event(rotator.reader, http(**{name: "60"}))["body"])
    assert direct["code"] == by_http["code"] == "invalid_request"
    assert "min_ttl" in direct["hint"]
    assert "min_ttl" in by_http["hint"]
    assert rotator.caller_waits == []


def test_a_token_given_for_its_fingerprint_is_repeated_nowhere() -> None:
    request = {"connection": "keap/main", "rejected": "canary-token"}
    assert "canary" not in json.dumps(handle_event(Rotator().reader, request))
    assert "canary" not in json.dumps(handle_event(Rotator().reader, http(rejected="canary-token")))


EVERY_ERROR: list[tuple[errors.EvergrantError, int]] = [
    (errors.UnknownConnection("keap/main"), 404),
    (errors.AuthorizationRequired("keap/main"), 409),
    (errors.ClientRefused("keap/main", "keap"), 409),
    (errors.Paused("keap/main"), 409),
    (errors.Disconnected("keap/main"), 410),
    (errors.TemporarilyUnavailable("Not now.", 7), 503),
    (errors.InvalidRequest("What?"), 400),
    (errors.InvalidName("What?"), 400),
    (errors.UnknownProfile("Gone."), 500),
    (errors.SealBroken("Broken."), 500),
]


@pytest.mark.parametrize(("error", "status"), EVERY_ERROR, ids=[error.code for error, _ in EVERY_ERROR])
def test_an_error_over_http_is_a_problem_that_says_what_to_do(error: errors.EvergrantError, status: int) -> None:
    """RFC 9457: type, title, status and detail, and our own code and hint."""
    described = error.as_dict()
    response = handle_event(Rotator({"error": described}).reader, http())
    assert response["statusCode"] == status
    assert response["headers"]["content-type"] == "application/problem+json"
    assert response["headers"]["cache-control"] == "no-store"
    problem = json.loads(response["body"])
    assert problem.pop("retry_after", None) == described.get("retry_after")
    assert problem.pop("hint", "") == error.hint
    assert problem.pop("title") not in ("", error.message), "the same for every occurrence"
    assert problem == {
        "type": f"urn:evergrant:error:{error.code}",
        "status": status,
        "detail": error.message,
        "code": error.code,
    }


def test_only_what_passes_says_when_to_try_again() -> None:
    passing = handle_event(Rotator({"error": errors.TemporarilyUnavailable("Not now.", 7).as_dict()}).reader, http())
    assert passing["headers"]["retry-after"] == "7"
    lasting = handle_event(Rotator({"error": errors.Paused("keap/main").as_dict()}).reader, http())
    assert "retry-after" not in lasting["headers"]


def test_a_direct_caller_gets_the_error_as_it_is() -> None:
    described = errors.AuthorizationRequired("keap/main").as_dict()
    assert handle_event(Rotator({"error": described}).reader, {"connection": "keap/main"}) == {"error": described}


json_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("connection", "min_ttl", "rejected", "x"), json_values)))
def test_no_direct_request_raises(request_: dict[str, Any]) -> None:
    assert handle_event(Rotator().reader, request_).keys() & {"error", "access_token"}


@given(
    st.dictionaries(st.sampled_from(["provider", "account"]), st.text()),
    st.dictionaries(st.sampled_from(["min_ttl", "rejected", "x"]), st.text()),
)
def test_no_http_request_raises(path: dict[str, str], query: dict[str, str]) -> None:
    event = {"requestContext": {}, "pathParameters": path, "queryStringParameters": query}
    assert handle_event(Rotator().reader, event)["statusCode"] in (200, 400)
