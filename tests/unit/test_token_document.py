"""Protects what consumers read: the whole contract of the document, and never a refresh token."""

from __future__ import annotations

import json
from dataclasses import replace

from evergrant.record.status import Status
from evergrant.record.token_document import build_document, build_response, derive_request_token
from evergrant.secret import Secret
from tests.unit.samples import KEAP, NOW, WEALTHYHOOD, connection, tokens


def test_the_document_is_what_consumers_were_promised() -> None:
    held = tokens(refresh_token=Secret("canary-refresh"), scope="full", captured={"realm": "7"})
    assert build_document(connection(), KEAP, held) == {
        "connection": "keap/main",
        "generation": 3,
        "access_token": "access-1",
        "token_type": "Bearer",
        "expires_at": "2026-11-23T10:00:00Z",
        "scope": "full",
        "missing_scope": None,
        "headers": {"Authorization": "Bearer access-1"},
        "required_headers": [],
        "reject_statuses": [401],
        "captured": {"realm": "7"},
    }


def test_the_document_tells_which_headers_only_the_caller_knows() -> None:
    made = build_document(connection(name="wealthyhood/main"), WEALTHYHOOD, tokens(refresh_token=None))
    assert made["required_headers"] == ["x-user-id"]
    assert made["headers"] == {"Authorization": "Bearer access-1"}


def test_no_refresh_token_is_published_and_the_document_is_json() -> None:
    held = tokens(refresh_token=Secret("canary-refresh"), refresh_expires_at=NOW + 1)
    text = json.dumps(build_document(connection(), KEAP, held))
    assert "canary" not in text
    assert "refresh" not in text


def test_an_answer_adds_the_whole_seconds_left_and_never_fewer_than_none() -> None:
    assert build_response({"a": 1}, NOW + 100, NOW + 0.5) == {"a": 1, "expires_in": 99}
    assert build_response({}, NOW + 100, NOW + 100) == {"expires_in": 0}
    assert build_response({}, NOW, NOW + 100) == {"expires_in": 0}


def test_a_repeated_publication_carries_the_same_request_token() -> None:
    first = connection()
    again = replace(first, failures=2, lease_owner="another", status=Status.DEGRADED)
    assert derive_request_token(first, {"a": 1, "b": 2}) == derive_request_token(again, {"b": 2, "a": 1})
    assert len(derive_request_token(first, {})) == 64
    assert set(derive_request_token(first, {})) <= set("0123456789abcdef")


def test_every_other_token_set_is_published_under_another_request_token() -> None:
    first = connection()
    others = [
        replace(first, generation=4),
        replace(first, issued_at=NOW + 1),
        replace(first, authorization_id="another"),
        replace(first, name="keap/other"),
    ]
    assert len({derive_request_token(one, {}) for one in (first, *others)}) == 5


def test_a_release_that_publishes_more_does_so_under_another_request_token() -> None:
    assert derive_request_token(connection(), {"a": 1}) != derive_request_token(connection(), {"a": 1, "new": True})
