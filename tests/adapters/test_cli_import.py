"""Protects taking a token set over from another system: sealed as it came, repeated nowhere, proven if asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evergrant.adapters.aws.authorizations import StoredAuthorizations
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.seal import KmsSeal
from evergrant.oauth.token_set import TokenSet
from evergrant.record.status import Status
from evergrant.secret import Secret
from tests.adapters.cli_desk import Desk, store_client
from tests.adapters.overwriting import overwrite
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
    desk.meanwhile = lambda: overwrite(
        desk.records, "keap/main", published_generation=desk.record().generation, outbox={}
    )
    return desk


def build_input(**fields: Any) -> str:
    return json.dumps({name: value for name, value in {**SET, **fields}.items() if value is not None})


def read_token_set(desk: Desk) -> TokenSet:
    record = desk.record()
    assert record.sealed
    return TokenSet.decode(KmsSeal(desk.outputs["SealKeyArn"]).unseal(record.sealed, record.name, record.generation))


def test_a_token_set_is_taken_over_and_scheduled_like_any_other(desk: Desk) -> None:
    said, aside = desk.both("import", "keap/main", given=build_input(scope="full"))
    record, tokens = desk.record(), read_token_set(desk)
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


def test_a_set_proven_by_a_refresh_need_not_state_its_expiry(desk: Desk) -> None:
    """A token set can be proven by one refresh, and then need not state its expiry."""
    answer = desk.json("import", "keap/main", "--prove", given=build_input(expires_in=None))
    assert desk.asked == [{"connection": "keap/main", "force": True}]
    assert (answer["status"], answer["generation"]) == ("active", 2)


def test_a_set_that_does_not_work_is_reported_at_once(desk: Desk) -> None:
    desk.rotator = desk.refuses("invalid_grant")
    assert desk.error("import", "keap/main", "--prove", given=build_input())["code"] == "not_refreshed"


def test_an_expired_access_token_is_refreshed_at_once(desk: Desk) -> None:
    desk("import", "keap/main", given=build_input(expires_in=None, expires_at="2020-01-01T00:00:00Z"))
    refresh_at = desk.record().refresh_at
    assert refresh_at is not None
    assert refresh_at <= NOW + 1


def test_what_is_known_of_the_refresh_tokens_end_is_kept(desk: Desk) -> None:
    answer = desk.json("import", "keap/main", given=build_input(refresh_expires_at="2027-06-30T00:00:00Z"))
    assert answer["refresh_token_expires_at"] == "2027-06-30T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON object"),
        (f'["{CANARY}"]', "access_token is missing"),
        (f'{{\n  "access_token": "{CANARY}",\n  oops }}', "no JSON at line 3, column 3"),
        (f'{{"access_token": "{CANARY}', "no JSON at line 1, column 18"),
        (build_input(access_token=None, refresh_token=None), "access_token is missing"),
        (build_input(refresh_token=f"{CANARY} {CANARY}"), "refresh_token is none"),
        (build_input(refresh_token=[CANARY]), "refresh_token is no text"),
        (build_input(expires_in=None, refresh_token=None), "does not say when"),
        (build_input(expires_in=0, refresh_token=None), "has expired"),
        (build_input(expires_in="soon"), "expires_in is no lifetime that can be read"),
        (build_input(expires_at=CANARY), "expires_at is no time that can be read"),
        (build_input(expires_at=True), "expires_at is no time"),
        (build_input(expires_at=3600), "expires_at is no time"),
        (build_input(expires_at=[CANARY]), "expires_at is no time"),
        (build_input(expiry=CANARY), "expiry is no time"),
        (build_input(refresh_expires_at=CANARY), "refresh_expires_at is no time"),
        (build_input(refresh_expires_at="2020-01-01"), "refresh_expires_at is not ahead"),
        (build_input(refresh_token_expires_in=CANARY), "refresh_token_expires_in is no lifetime"),
        (build_input(scope=f"{CANARY}\x00"), "scope is no text"),
    ],
)
def test_an_invalid_import_is_refused_and_neither_echoed_nor_stored(desk: Desk, text: str, said: str) -> None:
    """What cannot be imported is refused; the message does not repeat it, and nothing is stored."""
    error = desk.error("import", "keap/main", given=text)
    assert error["code"] == "invalid_request"
    assert said in error["message"]
    assert CANARY not in json.dumps(error)
    assert list(desk.records.all()) == []


def test_what_needs_no_import_is_refused(desk: Desk) -> None:
    error = desk.error(
        "import", "wealthyhood/main", "--var", "audience=x", "--var", "host=a.example", given=build_input()
    )
    assert error["code"] == "invalid_request"
    assert list(desk.records.all()) == []


def test_the_client_that_refreshes_it_must_be_stored(desk: Desk) -> None:
    assert desk.error("import", "keap/main", "--client", "absent", given=build_input())["code"] == "unknown_client"


def test_a_refresh_token_alone_is_enough_and_its_first_refresh_is_due_now(desk: Desk) -> None:
    said = desk("import", "keap/main", given=json.dumps({"refresh_token": f"{CANARY}-refresh"}))
    record = desk.record()
    assert "its first refresh is due now" in " ".join(said.split())
    assert record.refresh_at is not None
    assert record.expires_at is not None
    assert max(record.refresh_at, record.expires_at) <= NOW, "the missing access token is served at no moment"
    assert record.published_generation == record.generation, "there is nothing to publish"
    assert read_token_set(desk).refresh_token is not None


def test_a_refresh_token_alone_is_proven_at_once(desk: Desk) -> None:
    answer = desk.json("import", "keap/main", "--prove", given=json.dumps({"refresh_token": "r-1"}))
    assert desk.asked == [{"connection": "keap/main", "force": True}]
    assert answer["status"] == "active"


def test_fields_that_are_not_used_are_listed_and_never_their_values(desk: Desk) -> None:
    extra = {"id_token": CANARY, "ext_expires_in": 3600, f"{CANARY}\n": "x"}
    said, aside = desk.both("import", "keap/main", given=build_input(**extra))
    assert "Read as a token response." in aside
    assert "Ignored: id_token, ext_expires_in." in aside
    assert CANARY not in said + aside


def test_a_set_of_several_is_chosen_by_its_name_or_its_number(desk: Desk) -> None:
    remotes = "".join(
        f'[{name}]\ntype = drive\ntoken = {{"access_token":"a-{name}","refresh_token":"r-{name}",'
        '"expiry":"2027-01-15T09:00:00.955387075+00:00"}\n\n'
        for name in ("work", "home")
    )
    error = desk.error("import", "keap/main", given=remotes)
    assert "2 token sets" in error["message"]
    assert error["hint"] == "They are 1: work; 2: home."
    answer = desk.json("import", "keap/main", "--entry", "home", given=remotes)
    assert answer["read_as"] == "a token of rclone or of Go's oauth2"
    assert read_token_set(desk).access_token == Secret("a-home")
    desk("import", "keap/second", "--entry", "1", given=remotes)
    assert desk.record("keap/second").expires_at == NOW + 3600


def test_a_value_that_only_the_callback_brings_is_demanded_and_kept(desk: Desk) -> None:
    store_client("quickbooks", "oauth.platform.intuit.com", "quickbooks.api.intuit.com")
    desk.meanwhile = lambda: overwrite(desk.records, "quickbooks/main", published_generation=1, outbox={})
    error = desk.error("import", "quickbooks/main", given=build_input())
    assert "--capture realm_id=…" in error["hint"]
    assert list(desk.records.all()) == []
    desk("import", "quickbooks/main", "--capture", "realm_id=9130", given=build_input())
    record = desk.record("quickbooks/main")
    assert record.sealed
    plain = KmsSeal(desk.outputs["SealKeyArn"]).unseal(record.sealed, record.name, record.generation)
    assert TokenSet.decode(plain).captured == {"realm_id": "9130"}
    assert record.subject, "another company cannot replace this one unnoticed"
    assert (
        "captures no other"
        in desk.error("import", "quickbooks/b", "--capture", "other=1", given=build_input())["message"]
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_as_windows_writes_it_is_read(desk: Desk, encoding: str) -> None:
    desk("import", "keap/main", given=build_input().encode(encoding))  # type: ignore[arg-type]  # bytes, as of a file
    assert desk.record().expires_at == NOW + 3600


def test_what_stands_around_a_token_is_removed_with_a_word(desk: Desk) -> None:
    aside = desk.both("import", "keap/main", given=build_input(access_token="Bearer a-1\n", refresh_token='"r-1"'))[1]
    assert "access_token had a line break and the word Bearer around it, which was removed." in aside
    assert "refresh_token had quotes around it, which was removed." in aside
    assert read_token_set(desk).refresh_token == Secret("r-1")


def test_epoch_seconds_as_libraries_store_them_are_times_too(desk: Desk) -> None:
    desk("import", "keap/main", given=build_input(expires_in=None, expires_at=NOW + 1800.5))
    assert desk.record().expires_at == NOW + 1800


def test_without_a_refresh_token_it_is_served_to_its_end_and_that_is_said(desk: Desk) -> None:
    said = desk("import", "keap/main", given=build_input(refresh_token=None))
    assert "nothing renews it" in said
    assert "evergrant connect keap/main" in said
    assert read_token_set(desk).refresh_token is None
    assert desk.record().refresh_expires_at is None
    error = desk.error("import", "keap/other", "--prove", given=build_input(refresh_token=None))
    assert "refresh_token is missing" in error["message"]


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.DEGRADED, Status.PAUSED, Status.CLIENT_REFUSED])
def test_a_grant_that_is_alive_is_not_overwritten_by_a_slip(desk: Desk, status: Status) -> None:
    desk("import", "keap/main", given=build_input())
    overwrite(desk.records, "keap/main", status=status)
    error = desk.error("import", "keap/main", given=build_input(refresh_token="another"))
    assert error["code"] == "already_connected"
    assert "--replace" in error["hint"]
    assert desk.record().generation == 1
    desk("import", "keap/main", "--replace", given=build_input(refresh_token="another"))
    assert desk.record().generation == 2


@pytest.mark.parametrize("status", [Status.AUTHORIZATION_REQUIRED, Status.DISCONNECTED])
def test_a_grant_that_is_over_is_replaced_without_asking(desk: Desk, status: Status) -> None:
    desk("import", "keap/main", given=build_input())
    overwrite(desk.records, "keap/main", status=status)
    assert desk.json("import", "keap/main", given=build_input())["status"] == "active"


def test_import_does_not_revoke_the_replaced_grant(desk: Desk) -> None:
    """The grant that an import replaces is not revoked, since it may be the same grant."""
    desk("import", "keap/main", given=build_input())
    desk.queued()
    desk("import", "keap/main", "--replace", given=build_input(refresh_token="rotated-since"))
    assert [message.get("task") for message in desk.queued()] == [None]


@pytest.mark.parametrize(("answer", "generation"), [("y\n", 2), ("n\n", 1)])
def test_at_a_terminal_it_asks_first_and_says_how_to_paste(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: str, generation: int
) -> None:
    desk("import", "keap/main", given=build_input())
    monkeypatch.setattr("evergrant_cli.token_import.is_interactive", lambda: True)
    status = 0 if generation == 2 else 1
    aside = desk.both("import", "keap/main", given=answer + build_input(), status=status)[1]
    assert ("Ctrl-D" in aside) is (generation == 2)
    assert desk.record().generation == generation


def test_a_set_that_another_system_has_used_up_says_what_to_look_for(desk: Desk) -> None:
    desk.rotator = desk.refuses("invalid_grant")
    assert (
        "the last set that it stored" in desk.both("import", "keap/main", "--prove", given=build_input(), status=1)[1]
    )
