"""Protects connecting by a pasted key: it is sealed under the operator's own identity, and never shown again."""

from __future__ import annotations

import json

import pytest

from evergrant.adapters.aws.authorizations import StoredAuthorizations
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.seal import KmsSeal
from evergrant.oauth.token_set import TokenSet
from evergrant.record.status import Status
from tests.adapters.cli_desk import Desk
from tests.adapters.overwriting import overwrite
from tests.adapters.samples import NOW

KEY = "canary-pasted-key-7f1b"
BY_KEY = ("--grant", "static", "--no-wait")
DAY = 86_400


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
    return desk


def read_token_set(desk: Desk) -> TokenSet:
    record = desk.record()
    assert record.sealed
    return TokenSet.decode(KmsSeal(desk.outputs["SealKeyArn"]).unseal(record.sealed, record.name, record.generation))


def test_a_key_on_standard_input_is_stored_and_its_publication_asked(desk: Desk) -> None:
    """A key on standard input becomes the connection's token, and the command asks for its publication."""
    answer = desk.json("connect", "keap/main", *BY_KEY, "--expires-at", "2027-01-31T00:00:00Z", given=f"{KEY}\n")
    record = desk.record()
    assert (record.status, record.grant, record.generation) == (Status.ACTIVE, "static", 1)
    assert (answer["status"], answer["expires_at"], answer["grant"]) == ("active", "2027-01-31T00:00:00Z", "static")
    assert read_token_set(desk).access_token.reveal() == KEY
    assert record.refresh_expires_at == record.expires_at == record.refresh_at
    assert desk.queued() == [{"connection": "keap/main"}]
    assert KEY not in json.dumps(answer)


def test_a_key_may_come_as_json_with_its_expiry(desk: Desk) -> None:
    given = json.dumps({"access_token": KEY, "expires_at": "2027-01-31"})
    assert desk.json("connect", "keap/main", *BY_KEY, given=given)["expires_at"] == "2027-01-31T00:00:00Z"
    assert read_token_set(desk).access_token.reveal() == KEY


def test_at_a_terminal_the_prompt_says_where_to_get_a_key_and_hides_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a terminal the command asks for the key, says where to get one, and does not show it."""
    monkeypatch.setattr("evergrant_cli.pasted_tokens.is_interactive", lambda: True)
    said, aside = desk.both("connect", "keap/main", *BY_KEY, "--expires-at", "2027-01-31", given=f"{KEY}\n")
    assert "The key expires in 15 days" in said
    assert "Keap (Infusionsoft): " in aside
    assert KEY not in said + aside
    assert read_token_set(desk).access_token.reveal() == KEY


def test_a_key_without_a_known_end_has_none_and_is_never_due(desk: Desk) -> None:
    said = desk("connect", "keap/main", *BY_KEY, given=KEY)
    assert "Its expiry is not known" in said
    record = desk.record()
    assert record.refresh_expires_at is None
    assert record.refresh_at is not None
    assert record.refresh_at > NOW + 90 * 365 * DAY
    shown = desk.json("status", "keap/main")["connections"][0]
    assert (shown["expires_at"], shown["next_refresh_at"], shown["health"]) == (None, None, "fine")


def test_no_client_is_needed(desk: Desk) -> None:
    desk("connect", "keap/main", *BY_KEY, given=KEY)
    assert desk.asked == []


def test_a_new_key_is_pasted_by_connecting_again(desk: Desk) -> None:
    desk("connect", "keap/main", *BY_KEY, given=KEY)
    desk("connect", "keap/main", "--no-wait", given=f"{KEY}-2")
    assert desk.record().generation == 2
    assert read_token_set(desk).access_token.reveal() == f"{KEY}-2"


def test_rotating_says_that_nothing_renews_a_key(desk: Desk) -> None:
    desk("connect", "keap/main", *BY_KEY, given=KEY)
    error = desk.error("rotate", "keap/main")
    assert error["code"] == "not_refreshable"
    assert "evergrant connect keap/main" in error["hint"]
    assert desk.asked == []


def test_the_stacks_min_lifetime_decides_whether_a_key_has_a_secret(desk: Desk) -> None:
    """The stack's own minimum lifetime decides whether the key is published as a secret."""
    desk.parameters = {"DirectReadMinLifetime": str(30 * DAY)}
    desk("connect", "keap/main", *BY_KEY, "--expires-at", "2027-01-31", given=KEY)
    assert desk.record().published_generation == 1, "counts as published: it is read through getter only"


@pytest.mark.parametrize(
    ("given", "arguments", "said"),
    [
        ("", (), "is no key"),
        (f"{KEY} {KEY}", (), "is no key"),
        (f"{KEY}\n{KEY}", (), "is no key"),
        (f"{KEY}ü", (), "is no key"),
        ("x" * 20_000, (), "is no key"),
        (f'{{"access_token": "{KEY}", "expires_in": 60}}', (), "Standard input holds no key"),
        (f'{{"access_token": ["{KEY}"]}}', (), "Standard input holds no key"),
        (f'{{"key": "{KEY}"}}', (), "Standard input holds no key"),
        (f'{{"access_token": "{KEY}"', (), "Standard input holds no key"),
        (KEY, ("--expires-at", "2020-01-31"), "The expiry is not ahead"),
        (KEY, ("--expires-at", "2927-01-31"), "The expiry is not ahead"),
        (KEY, ("--expires-at", KEY), "The expiry is no time"),
        (f'{{"access_token": "{KEY}", "expires_at": "{KEY}"}}', (), "The expiry is no time"),
    ],
)
def test_what_cannot_be_a_key_is_refused_without_being_repeated_or_stored(
    desk: Desk, given: str, arguments: tuple[str, ...], said: str
) -> None:
    error = desk.error("connect", "keap/main", *BY_KEY, *arguments, given=given)
    assert error["code"] == "invalid_request"
    assert said in error["message"]
    assert KEY not in json.dumps(error)
    assert list(desk.records.all()) == []


def test_an_expiry_is_for_a_pasted_key_alone(desk: Desk) -> None:
    assert "--grant static" in desk.both("connect", "keap/main", "--expires-at", "2027-01-31", status=2)[1]


def test_waiting_ends_when_the_key_can_be_read(desk: Desk) -> None:
    desk.meanwhile = lambda: overwrite(desk.records, "keap/main", published_generation=1, outbox={})
    desk("connect", "keap/main", "--grant", "static", given=KEY)
    assert desk.now < NOW + 90
