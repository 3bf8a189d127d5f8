"""Protects disconnect: what is forgotten, withdrawn and asked for, and that it says no more than it knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from evergrant.adapters.aws.profiles import StoredProfiles
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.sdk import client
from evergrant.adapters.aws.secrets_manager import SecretsVault
from evergrant.ports import PortUnavailable
from evergrant.profiles import built_in
from evergrant.profiles.model import Profile
from evergrant.profiles.request_specs import Revoke
from evergrant.record.status import Status
from tests.adapters.cli_desk import Desk
from tests.adapters.samples import NOW, SEALED, connection

KEAP = built_in.load_built_in()["keap"]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, records: DynamoRecords, queue_url: str) -> Desk:
    desk = Desk(monkeypatch, records, queue_url)
    desk.rotator = revokes(desk, "asked")
    client("secretsmanager").create_secret(Name="evergrant/tokens/keap/main", SecretString="{}")
    return desk


def revokes(desk: Desk, outcome: str) -> Any:
    def rotator(request: Mapping[str, Any]) -> dict[str, Any]:
        record = desk.record(request["connection"])
        assert record.status is Status.DISCONNECTED, "nothing in use is ever revoked"
        assert record.to_revoke == SEALED
        desk.records.change(record.name, {"to_revoke": None})
        return {"connection": record.name, "revocation": outcome}

    return rotator


def revocable(scope: Any = "token") -> Profile:
    return msgspec.structs.replace(KEAP, revoke=Revoke(url="https://{host}/revoke", scope=scope))


def store(desk: Desk, profile: Profile = KEAP, name: str = "keap/main", **fields: Any) -> None:
    kept = StoredProfiles(desk.records.table).keep(profile)
    given = {"sealed": SEALED, "expires_at": NOW + 600, "refresh_at": NOW + 60, "profile_hash": kept, **fields}
    desk.records.create(connection(name, due_at=NOW + 60, due_shard="1", **given))


def secret_is_withdrawn() -> bool:
    return "DeletedDate" in client("secretsmanager").describe_secret(SecretId="evergrant/tokens/keap/main")


def test_the_provider_is_asked_and_nothing_is_left_but_the_tombstone(desk: Desk) -> None:
    store(desk, revocable())
    said = desk("disconnect", "keap/main", "--yes")
    assert desk.asked == [{"connection": "keap/main", "revoke": True}]
    assert "was asked to revoke the grant" in said
    assert "revoked" not in said
    record = desk.record()
    assert (record.status, record.sealed, record.to_revoke, record.refresh_at) == (
        Status.DISCONNECTED,
        None,
        None,
        None,
    )
    assert [body["type"] for body in record.outbox.values()] == ["Connection Disconnected"]
    assert secret_is_withdrawn()
    assert desk.queued() == [{"connection": "keap/main"}]


@pytest.mark.parametrize(
    ("profile", "fields", "arguments", "revocation"),
    [
        (KEAP, {}, (), "not_offered"),
        (revocable(), {"grant": "static"}, (), "not_offered"),
        (revocable(), {}, ("--no-revoke",), "not_wanted"),
        (revocable(), {"sealed": None}, (), "not_needed"),
    ],
)
def test_without_a_revocation_to_send_the_tokens_are_forgotten_at_once(
    desk: Desk, profile: Profile, fields: dict[str, Any], arguments: tuple[str, ...], revocation: str
) -> None:
    store(desk, profile, **fields)
    answer = desk.json("disconnect", "keap/main", "--yes", *arguments)
    assert (answer["status"], answer["revocation"], answer["secret"]) == ("disconnected", revocation, "deleted")
    assert (desk.record().sealed, desk.record().to_revoke) == (None, None)
    assert desk.asked == []
    assert secret_is_withdrawn()


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("refused", "refused"),
        ("retrying", "asks three times more"),
        ("failed", "cannot be used"),
        ("busy", "Another worker"),
        ("not_needed", "no token set"),
    ],
)
def test_each_way_it_can_go_is_said(desk: Desk, outcome: str, words: str) -> None:
    store(desk, revocable())
    desk.rotator = revokes(desk, outcome)
    said = desk("disconnect", "keap/main", "--yes")
    assert "keap/main is disconnected" in said
    assert words in said
    assert ("The account's owner can end the grant" in said) is (outcome in ("refused", "failed"))


@pytest.mark.parametrize("answer", [{"errorType": "Runtime"}, {"error": {"code": "temporarily_unavailable"}}])
def test_without_rotator_disconnect_succeeds_and_revocation_is_owed(desk: Desk, answer: dict[str, Any]) -> None:
    """Without rotator the connection is disconnected all the same, and the next pass sends the revocation."""
    store(desk, revocable())
    desk.rotator = lambda request: answer
    said = desk.json("disconnect", "keap/main", "--yes")
    assert (said["status"], said["revocation"]) == ("disconnected", "not_asked")
    assert desk.record().to_revoke == SEALED
    assert desk.record().due_at is not None, "the next pass asks"
    desk.rotator = revokes(desk, "asked")
    assert desk.json("disconnect", "keap/main", "--yes")["revocation"] == "asked"


def test_a_secret_that_cannot_be_deleted_is_reported_and_stops_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(vault: SecretsVault, connection: str) -> bool:
        raise PortUnavailable("denied")

    store(desk, revocable())
    monkeypatch.setattr(SecretsVault, "withdraw", denied)
    assert desk.error("disconnect", "keap/main", "--yes")["code"] == "secret_not_deleted"
    assert desk.record().to_revoke is None
    assert "may hold a token that works" in desk.both("disconnect", "keap/main", "--yes", status=1)[1]


def test_a_connection_without_a_secret_is_disconnected_too(desk: Desk) -> None:
    store(desk, name="keap/hidden", direct_read=False)
    assert "no secret of its own" in desk("disconnect", "keap/hidden", "--yes")


def test_disconnecting_twice_is_the_same(desk: Desk) -> None:
    store(desk, revocable())
    desk("disconnect", "keap/main", "--yes")
    again = desk.json("disconnect", "keap/main", "--yes")
    assert (again["status"], again["revocation"]) == ("disconnected", "not_needed")
    assert len(desk.asked) == 1


def test_a_missing_profile_does_not_stop_a_disconnect(desk: Desk) -> None:
    store(desk, profile_hash="0" * 64)
    assert desk.json("disconnect", "keap/main", "--yes")["revocation"] == "failed"
    assert desk.record().status is Status.DISCONNECTED


def test_without_a_terminal_disconnect_needs_the_option_yes(desk: Desk) -> None:
    store(desk)
    assert "--yes" in desk.both("disconnect", "keap/main", status=2)[1]
    assert "--yes" in desk.json("disconnect", "keap/main", status=2)["error"]["message"]
    assert desk.record().status is Status.ACTIVE


@pytest.mark.parametrize(("answer", "status"), [("y\n", Status.DISCONNECTED), ("n\n", Status.ACTIVE)])
def test_at_a_terminal_it_asks(desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: str, status: Status) -> None:
    store(desk, revocable())
    monkeypatch.setattr("evergrant_cli.disconnect.is_interactive", lambda: True)
    desk("disconnect", "keap/main", given=answer, status=0 if answer == "y\n" else 1)
    assert desk.record().status is status
    assert secret_is_withdrawn() is (status is Status.DISCONNECTED)


def test_who_else_may_lose_the_permission_is_named_before_anything_happens(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = revocable("grant")
    store(desk, profile, subject="account-1")
    store(desk, profile, "keap/same", subject="account-1")
    store(desk, profile, "keap/unknown")
    store(desk, profile, "keap/another", subject="account-2")
    store(desk, profile, "keap/other-client", client="other")
    store(desk, profile, "keap/own", grant="client_credentials")
    store(desk, profile, "keap/gone", status=Status.DISCONNECTED)
    refused = desk.both("disconnect", "keap/main", status=2)[1]
    assert "This may end keap/same, keap/unknown too" in refused
    monkeypatch.setattr("evergrant_cli.disconnect.is_interactive", lambda: True)
    assert "keap/same, keap/unknown" in desk.both("disconnect", "keap/main", given="n\n", status=1)[1]
    assert desk.record().status is Status.ACTIVE
    answer = desk.json("disconnect", "keap/main", "--yes")
    assert answer["may_have_ended"] == ["keap/same", "keap/unknown"]


def test_a_revocation_of_the_whole_permission_is_called_so(desk: Desk) -> None:
    store(desk, revocable("grant"))
    assert "ends all that this account ever granted" in desk("disconnect", "keap/main", "--yes")


def test_where_only_a_token_is_revoked_no_other_connection_is_named(desk: Desk) -> None:
    store(desk, revocable())
    store(desk, revocable(), "keap/second")
    assert desk.json("disconnect", "keap/main", "--yes")["may_have_ended"] == []


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_what_is_disconnected_is_neither_paused_nor_resumed(desk: Desk, verb: str) -> None:
    store(desk)
    desk("disconnect", "keap/main", "--yes")
    error = desk.error(verb, "keap/main")
    assert error["code"] == "disconnected"
    assert "evergrant connect keap/main" in error["hint"]


def test_a_revocation_that_is_owed_shows_in_the_status(desk: Desk) -> None:
    store(desk, revocable())
    desk.rotator = lambda request: {"errorType": "Runtime"}
    desk("disconnect", "keap/main", "--yes")
    assert "the provider has not been asked yet" in desk("status", "keap/main")
