"""Protects client credentials: they come by standard input, go nowhere but into Secrets Manager, and never show."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer

from evergrant.adapters.aws.circuits import DynamoCircuits
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.errors import InvalidVariable
from evergrant.profiles import built_in
from evergrant.record.circuit import Circuit, Failure
from evergrant.record.status import Status
from evergrant_cli.clients import list_token_hosts
from tests.adapters.cli_desk import API, CLIENT_SECRET, Desk, store_client, stored_client
from tests.adapters.hooks import parameters
from tests.adapters.samples import NOW, connection

REFUSED: dict[str, Any] = {
    "opened_at": NOW - 7200,
    "code": "invalid_client",
    "http_status": 401,
    "version": "1",
    "probed_at": NOW - 9,
}
ENTRY = json.dumps({"client_id": "id-1", "client_secrets": [CLIENT_SECRET, "older"]})


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, records: DynamoRecords, queue_url: str) -> Desk:
    return Desk(monkeypatch, records, queue_url)


def test_a_client_entry_is_read_as_json_with_its_providers_hosts(desk: Desk) -> None:
    """A client entry is read as JSON, and its hosts come from the provider of that name."""
    answer = desk.json("client", "set", "keap", given=ENTRY)
    assert answer == {
        "client": "keap",
        "client_id": "id-1",
        "client_secrets": 2,
        "hosts": ["api.infusionsoft.com"],
        "redirect_uris": {"keap": f"{API}/callback/keap"},
        "tried": {},
    }
    assert stored_client("keap") == {
        **json.loads(ENTRY),
        "hosts": ["api.infusionsoft.com"],
        "redirect_path": "/callback/{provider}",
    }


def test_a_host_may_follow_a_variable(desk: Desk) -> None:
    desk("client", "set", "mine", "--provider", "keap", "--var", "host=127.0.0.1:8080", given=ENTRY)
    assert stored_client("mine")["hosts"] == ["127.0.0.1:8080"]


def test_hosts_in_the_entry_are_kept(desk: Desk) -> None:
    desk("client", "set", "keap", given=json.dumps({**json.loads(ENTRY), "hosts": ["a.example"]}))
    assert stored_client("keap")["hosts"] == ["a.example"]


def test_with_the_client_id_given_standard_input_is_the_secret_alone(desk: Desk) -> None:
    desk("client", "set", "x", "--client-id", "id-2", "--host", "a.example", "--host", "b.example", given="new\nold\n")
    assert stored_client("x") == {
        "client_id": "id-2",
        "client_secrets": ["new", "old"],
        "hosts": ["a.example", "b.example"],
        "redirect_path": "/callback/{provider}",
    }


def test_at_a_terminal_it_asks_and_does_not_show_the_secret(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evergrant_cli.client_entry.is_interactive", lambda: True)
    desk("client", "set", "keap", given=f"id-1\n{CLIENT_SECRET}\n")
    assert stored_client("keap")["client_secrets"] == [CLIENT_SECRET]


def test_an_entry_is_replaced(desk: Desk) -> None:
    desk("client", "set", "keap", given=ENTRY)
    desk("client", "set", "keap", "--client-id", "id-3", given="newest")
    assert stored_client("keap")["client_secrets"] == ["newest"]


@pytest.mark.parametrize(
    "given", ["", "not json", '"text"', "[]", '{"client_id": ""}', f'{{"secret": "{CLIENT_SECRET}"}}']
)
def test_what_is_no_entry_is_refused_without_repeating_it(desk: Desk, given: str) -> None:
    assert desk.error("client", "set", "keap", given=given)["code"] == "invalid_client_entry"


def test_an_empty_secret_is_no_secret(desk: Desk) -> None:
    assert desk.error("client", "set", "keap", "--client-id", "x", given="\n")["code"] == "invalid_client_entry"


def test_hosts_that_no_profile_names_must_be_given(desk: Desk) -> None:
    error = desk.error("client", "set", "nosuch", given=ENTRY)
    assert "There is no provider nosuch" in error["message"]
    assert "--provider" in error["hint"]


@pytest.mark.parametrize(
    ("secret", "removed"),
    [("s-1\n", "a line break"), (" s-1\t", "white space"), ('"s-1"', "quotes"), ("\ufeffs-1\r\n", "a line break")],
)
def test_what_stands_around_a_secret_is_removed_with_a_word(desk: Desk, secret: str, removed: str) -> None:
    given = json.dumps({"client_id": "id-1 ", "client_secrets": ["s-0", secret]})
    aside = desk.both("client", "set", "keap", given=given)[1]
    assert f"client_secrets[1] had {removed} around it, which was removed." in aside
    assert "client_id had white space around it" in aside
    assert (stored_client("keap")["client_secrets"], stored_client("keap")["client_id"]) == (["s-0", "s-1"], "id-1")


def test_a_password_keeps_its_spaces_and_loses_its_line_break(desk: Desk) -> None:
    given = json.dumps({"credentials": {"username": "ann", "password": " a b \n"}})
    aside = desk.both("client", "set", "x", "--host", "a.example", given=given)[1]
    assert "credentials.password had a line break around it" in aside
    assert stored_client("x")["credentials"]["password"] == " a b "


def test_a_secret_with_a_line_break_inside_is_refused(desk: Desk) -> None:
    error = desk.error("client", "set", "keap", given=json.dumps({"client_id": "a", "client_secrets": ["x\ny"]}))
    assert error["code"] == "invalid_client_entry"
    assert "client_secrets[0] of client keap holds a line break" in error["message"]


def test_an_entry_that_is_no_json_says_where_it_breaks(desk: Desk) -> None:
    error = desk.error("client", "set", "keap", given='{"client_id": "a",\n "client_secrets": [canary]}')
    assert "line 2, column 21" in error["message"]
    assert "canary" not in json.dumps(error)


def test_ctrl_c_at_a_prompt_is_quiet(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def prompt(*_: object, **__: object) -> str:
        aborted = typer.Abort()
        aborted.__context__ = KeyboardInterrupt()
        raise aborted

    monkeypatch.setattr("evergrant_cli.client_entry.is_interactive", lambda: True)
    monkeypatch.setattr(typer, "prompt", prompt)
    assert desk.both("client", "set", "keap", status=130) == ("", "\n")


def test_the_secret_is_no_argument(desk: Desk) -> None:
    said = desk.both("client", "set", "keap", "--client-secret", "x", status=2)[1]
    assert "No such option" in said


def test_waiting_connections_are_tried_one_first_then_the_others(desk: Desk) -> None:
    """After new credentials, the first waiting connection is tried at once, the others one second apart after it."""
    for name in ("keap/a", "keap/b", "keap/c"):
        desk.records.create(connection(name, status=Status.CLIENT_REFUSED, last_error="invalid_client"))
    desk.records.create(connection("keap/well"))
    desk.records.create(connection("keap/other", client="other", status=Status.CLIENT_REFUSED))
    with parameters("sqs", "SendMessageBatch") as sent:
        said = desk("client", "set", "keap", given=ENTRY)
    assert "keap/a was waiting for it, and works again." in said
    assert desk.asked == [{"connection": "keap/a", "force": True}]
    entries = sent[0]["Entries"]
    assert [(json.loads(entry["MessageBody"]), entry["DelaySeconds"]) for entry in entries] == [
        ({"task": "wake", "connection": "keap/b"}, 1),
        ({"task": "wake", "connection": "keap/c"}, 2),
    ]


def test_credentials_refused_twice_are_reported_and_not_tried_again(desk: Desk) -> None:
    """Credentials that two connections are refused with are reported, and the others do not try them."""
    for name in ("keap/a", "keap/b", "keap/c"):
        desk.records.create(connection(name, status=Status.CLIENT_REFUSED, last_error="invalid_client"))
    desk.rotator = desk.refuses(status=Status.CLIENT_REFUSED)
    with parameters("sqs", "SendMessageBatch") as sent:
        tried = desk.json("client", "set", "keap", given=ENTRY)["tried"]
    assert tried.keys() == {"keap/a", "keap/b"}
    assert tried["keap/b"]["code"] == "client_refused"
    assert sent == []
    assert "still fails" in desk("client", "set", "keap", given=ENTRY)


def test_a_connection_refused_by_its_own_fault_does_not_hold_back_others(desk: Desk) -> None:
    """A connection may be refused for a wrong variable of its own: the next one shows that the credentials work."""
    for name in ("keap/a", "keap/b", "keap/c"):
        desk.records.create(connection(name, status=Status.CLIENT_REFUSED, last_error="invalid_client"))
    refuses = desk.refuses(status=Status.CLIENT_REFUSED)
    desk.rotator = lambda request: (refuses if request["connection"] == "keap/a" else desk.rotates)(request)
    tried = desk.json("client", "set", "keap", given=ENTRY)["tried"]
    assert tried["keap/a"]["code"] == "client_refused"
    assert (tried["keap/b"], tried["keap/c"]) == ({}, None)


@pytest.mark.parametrize("fields", [{"attempt_id": "a", "attempt_at": NOW}, {"unclear_at": NOW}])
def test_a_refresh_token_in_doubt_is_not_the_first_to_try_new_credentials(desk: Desk, fields: dict[str, Any]) -> None:
    desk.records.create(connection("keap/a", status=Status.CLIENT_REFUSED, last_error="invalid_client", **fields))
    desk.records.create(connection("keap/b", status=Status.CLIENT_REFUSED, last_error="invalid_client"))
    desk("client", "set", "keap", given=ENTRY)
    assert [request["connection"] for request in desk.asked] == ["keap/b"]


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client", "unknown_client"])
def test_what_failed_by_its_client_is_tried_in_any_status(desk: Desk, error: str) -> None:
    desk.records.create(connection("keap/a", status=Status.DEGRADED, failures=1, last_error=error))
    assert desk.json("client", "set", "keap", given=ENTRY)["tried"] == {"keap/a": {}}


def test_what_the_circuit_counts_as_refused_is_tried(desk: Desk) -> None:
    desk.records.create(connection("keap/a", failures=1, last_error="service_unavailable"))
    failed: dict[str, Any] = {"failures.keap/a": Failure(NOW - 60, "invalid_client")}
    DynamoCircuits(desk.records.table, "authorizations").change("client#keap", failed, only_if={})
    assert desk.json("client", "set", "keap", given=ENTRY)["tried"] == {"keap/a": {}}


def test_new_credentials_close_the_circuit_when_no_connection_waits(desk: Desk) -> None:
    """New credentials start with a closed circuit, even if no connection is there to try them."""
    circuits = DynamoCircuits(desk.records.table, "authorizations")
    failed: dict[str, Any] = {"failures.keap/gone": Failure(NOW, "invalid_client"), "alerted_at": NOW, "probes": 3}
    circuits.change("client#keap", {**REFUSED, **failed, "accepted_version": "0"}, only_if={})
    desk("client", "set", "keap", given=ENTRY)
    assert circuits.get("client#keap") == Circuit("client#keap", accepted_version="0")


def test_a_client_is_shown_with_its_users_and_without_its_secrets(desk: Desk) -> None:
    desk("client", "set", "keap", given=ENTRY)
    desk.records.create(connection("keap/a"))
    desk.records.create(connection("keap/gone", status=Status.DISCONNECTED))
    shown = desk.json("client", "show", "keap")
    assert shown == {
        "client": "keap",
        "client_id": "id-1",
        "client_secrets": 2,
        "credentials": [],
        "hosts": ["api.infusionsoft.com"],
        "redirect_uris": {"keap": f"{API}/callback/keap"},
        "connections": ["keap/a"],
        "refused": None,
        "incident": None,
    }
    said = desk("client", "show", "keap")
    assert "keap/a" in said
    assert "refused" not in said


# --- redirect URIs ----------------------------------------------------------------------------------------------------


def test_a_client_set_again_keeps_the_redirect_uri_that_it_was_made_with(desk: Desk) -> None:
    """An entry of an earlier release has no path of its own: what is registered at the provider stays right."""
    store_client("keap", "api.infusionsoft.com")
    answer = desk.json("client", "set", "keap", given=ENTRY)
    assert answer["redirect_uris"] == {"keap": f"{API}/callback"}
    assert "redirect_path" not in stored_client("keap")
    desk("client", "set", "other", "--host", "a.example", given=ENTRY)
    desk("client", "set", "other", "--host", "b.example", given=ENTRY)
    assert stored_client("other")["redirect_path"] == "/callback/{provider}"


def test_what_to_register_is_said_once_for_each_provider(desk: Desk) -> None:
    desk.records.create(connection("xero/a"))
    desk.records.create(connection("xero/b"))
    desk.records.create(connection("wealthyhood/a", grant="client_credentials"))
    desk.records.create(connection("box/gone", status=Status.DISCONNECTED))
    desk.records.create(connection("dropbox/a", client="other"))
    for said in (desk("client", "set", "keap", given=ENTRY), desk("client", "show", "keap")):
        assert [
            line.split("  ")[-1].split(" (")[0].strip() for line in said.splitlines() if "register exactly this" in line
        ] == [
            f"{API}/callback/keap",
            f"{API}/callback/xero",
        ]


def test_another_redirect_path_than_the_stored_one_is_refused(desk: Desk) -> None:
    desk("client", "set", "keap", given=json.dumps({**json.loads(ENTRY), "redirect_path": "/callback"}))
    assert desk.json("client", "show", "keap")["redirect_uris"] == {"keap": f"{API}/callback"}
    error = desk.error(
        "client", "set", "keap", given=json.dumps({**json.loads(ENTRY), "redirect_path": "/callback/{provider}"})
    )
    assert (error["code"], "does not change" in error["message"]) == ("invalid_client_entry", True)
    for path in ("/elsewhere", "https://evil.example/callback", ""):
        error = desk.error(
            "client", "set", "new", "--host", "h", given=json.dumps({**json.loads(ENTRY), "redirect_path": path})
        )
        assert "redirect_path" in error["message"]


def test_a_stack_of_an_earlier_release_gets_no_path_that_it_does_not_serve(desk: Desk) -> None:
    del desk.outputs["RedirectUri"]
    assert desk.json("client", "set", "keap", given=ENTRY)["redirect_uris"] == {"keap": f"{API}/callback"}
    assert "redirect_path" not in stored_client("keap")


def test_a_refused_client_is_shown_as_one(desk: Desk) -> None:
    desk("client", "set", "keap", given=ENTRY)
    failed: dict[str, Any] = {"failures.keap/a": Failure(NOW, "invalid_client")}
    DynamoCircuits(desk.records.table, "authorizations").change("client#keap", {**REFUSED, **failed}, only_if={})
    assert desk.json("client", "show", "keap")["refused"]["error"] == "invalid_client"
    said = desk("client", "show", "keap")
    assert "the provider does not accept the client's credentials (invalid_client, HTTP 401)" in said
    assert "keap/a" in said
    assert "→ evergrant client set keap" in said


def test_an_incident_of_a_client_lists_the_refused_grants(desk: Desk) -> None:
    desk("client", "set", "keap", given=ENTRY)
    refused: dict[str, Any] = {"incident_at": NOW - 60, "refusals.keap/a": Failure(NOW - 60, "invalid_grant")}
    DynamoCircuits(desk.records.table, "authorizations").change("client#keap", refused, only_if={})
    said = desk("client", "show", "keap")
    assert "refused the grants of 1 connections at once" in said
    assert "keap/a" in said
    assert desk.json("client", "show", "keap")["incident"]["connections"] == ["keap/a"]


def test_an_unknown_client_is_reported(desk: Desk) -> None:
    assert desk.error("client", "show", "nosuch")["code"] == "unknown_client"


def test_only_variables_that_stand_in_a_host_need_a_value() -> None:
    profile = built_in.load_built_in()["wealthyhood"]
    assert list_token_hosts(profile, {"host": "h.example"}) == ["h.example"]
    with pytest.raises(InvalidVariable):
        list_token_hosts(profile, {"host": "h.example/path"})
    with pytest.raises(InvalidVariable):
        list_token_hosts(profile, {"colour": "red"})
