"""Protects taking a token set over from another system: sealed as it came, repeated nowhere, proven if asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evergrant.aws.authorizations import StoredAuthorizations
from evergrant.aws.records import DynamoRecords
from evergrant.aws.seal import KmsSeal
from evergrant.connection import Status
from evergrant.tokens import TokenSet
from tests.adapters.cli_desk import Desk, store_client
from tests.adapters.samples import NOW

CANARY = "canary-7f1b"
SET = {"access_token": f"{CANARY}-access", "refresh_token": f"{CANARY}-refresh", "expires_in": 3600}


@pytest.fixture
def desk(
    monkeypatch: pytest.MonkeyPatch,
    records: DynamoRecords,
    authorizations: StoredAuthorizations,
    queue_url: str,
    key_arn: str,
) -> Desk:
    desk = Desk(monkeypatch, records, queue_url)
    desk.outputs["SealKeyArn"] = key_arn
    store_client("keap", "api.infusionsoft.com")
    desk.meanwhile = lambda: desk.records.change("keap/main", {"published_generation": 1, "outbox": {}})
    return desk


def given(**fields: Any) -> str:
    return json.dumps({name: value for name, value in {**SET, **fields}.items() if value is not None})


def stored(desk: Desk) -> TokenSet:
    record = desk.record()
    assert record.sealed
    return TokenSet.decode(KmsSeal(desk.outputs["SealKeyArn"]).unseal(record.sealed, record.name, record.generation))


def test_a_token_set_is_taken_over_and_scheduled_like_any_other(desk: Desk) -> None:
    said, aside = desk.both("import", "keap/main", given=given(scope="full"))
    record, tokens = desk.record(), stored(desk)
    assert (record.status, record.grant, record.generation) == (Status.ACTIVE, "authorization_code", 1)
    assert (record.expires_at, tokens.scope) == (NOW + 3600, "full")
    assert record.refresh_at is not None
    assert NOW < record.refresh_at < NOW + 3600
    assert record.refresh_expires_at == NOW + 45 * 86_400, "what the profile documents"
    assert tokens.refresh_token is not None
    assert tokens.refresh_token.reveal() == SET["refresh_token"]
    assert "must stop using it now" in said
    assert CANARY not in said + aside
    assert desk.queued() == [{"connection": "keap/main"}]
    assert desk.asked == []


def test_a_set_can_be_proven_by_one_refresh_and_need_not_say_then_when_it_lapses(desk: Desk) -> None:
    answer = desk.json("import", "keap/main", "--prove", given=given(expires_in=None))
    assert desk.asked == [{"connection": "keap/main", "force": True}]
    assert (answer["status"], answer["generation"]) == ("active", 2)


def test_a_set_that_does_not_work_is_told_at_once(desk: Desk) -> None:
    desk.rotator = desk.refuses("invalid_grant")
    assert desk.error("import", "keap/main", "--prove", given=given())["code"] == "not_refreshed"


def test_an_access_token_that_has_lapsed_is_refreshed_at_once(desk: Desk) -> None:
    desk("import", "keap/main", given=given(expires_in=None, expires_at="2020-01-01T00:00:00Z"))
    refresh_at = desk.record().refresh_at
    assert refresh_at is not None
    assert refresh_at <= NOW + 1


def test_what_is_known_of_the_refresh_tokens_end_is_kept(desk: Desk) -> None:
    answer = desk.json("import", "keap/main", given=given(refresh_expires_at="2027-06-30T00:00:00Z"))
    assert answer["refresh_token_expires_at"] == "2027-06-30T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON object"),
        (f'["{CANARY}"]', "no JSON object"),
        (given(access_token=None), "access_token is missing"),
        (given(refresh_token=None), "refresh_token is missing"),
        (given(refresh_token=f"{CANARY} {CANARY}"), "refresh_token is missing, or is none"),
        (given(refresh_token=[CANARY]), "refresh_token is no text"),
        (given(expires_in=None), "does not say when"),
        (given(expires_in="3600"), "does not say when"),
        (given(expires_in=-1), "does not say when"),
        (given(expires_at=CANARY), "no time that can be read"),
        (given(refresh_expires_at="2020-01-01"), "not ahead"),
        (given(**{CANARY: "x"}), "a field that is not known"),
        (given(scope=f"{CANARY}\x00"), "scope is no text"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_without_being_repeated_or_stored(
    desk: Desk, text: str, said: str
) -> None:
    error = desk.error("import", "keap/main", given=text)
    assert error["code"] == "invalid_request"
    assert said in error["message"]
    assert CANARY not in json.dumps(error)
    assert list(desk.records.all()) == []


def test_what_needs_no_import_is_refused(desk: Desk) -> None:
    error = desk.error("import", "wealthyhood/main", "--var", "audience=x", "--var", "host=a.example", given=given())
    assert error["code"] == "invalid_request"
    assert list(desk.records.all()) == []


def test_the_client_that_refreshes_it_must_be_stored(desk: Desk) -> None:
    assert desk.error("import", "keap/main", "--client", "nobody", given=given())["code"] == "unknown_client"
