"""Protects `connect`: what is stored and when, what the operator reads, and that waiting ends as it should."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from rich.console import Console

from evergrant.adapters.aws.authorizations import StoredAuthorizations
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.sdk import client
from evergrant.profiles import built_in
from evergrant.profiles.model import content_hash
from evergrant.record.status import Status
from tests.adapters.cli_desk import ACCESS_TOKEN, API, Desk, store_client
from tests.adapters.hooks import failing
from tests.adapters.overwriting import overwrite
from tests.adapters.samples import NOW, connection

AUDIENCE = ("--var", "audience=https://api.example")
VARIABLES = ("--var", "host=auth.example", *AUDIENCE)


@pytest.fixture
def desk(
    monkeypatch: pytest.MonkeyPatch, records: DynamoRecords, authorizations: StoredAuthorizations, queue_url: str
) -> Desk:
    desk = Desk(monkeypatch, records, queue_url)
    store_client("keap", "api.infusionsoft.com", "127.0.0.1:8080")
    store_client("wealthyhood", "auth.example")
    return desk


def key_of(link: str) -> str:
    return "ticket#" + sha256(link.rpartition("/")[2].encode()).hexdigest()


def link_in(text: str) -> str:
    return next(line.strip() for line in text.splitlines() if "/connect/" in line)


def test_a_link_is_printed_as_one_document_for_scripts(desk: Desk, authorizations: StoredAuthorizations) -> None:
    answer = desk.json("connect", "keap/main", "--var", "host=127.0.0.1:8080", "--no-wait")
    assert answer["connection"] == "keap/main"
    assert answer["expires_at"] == "2027-01-15T08:15:00Z"
    assert answer["redirect_uri"] == f"{API}/callback"
    assert answer["link"].startswith(f"{API}/connect/")
    ticket = authorizations.get(key_of(answer["link"]))
    assert ticket is not None
    assert ticket["variables"] == {
        "host": "127.0.0.1:8080",
        "login_host": "accounts.infusionsoft.com",
        "refresh_token_days": "45",
    }
    assert ticket["redirect_uri"] == f"{API}/callback"


def test_a_new_client_is_connected_by_its_providers_redirect_uri(
    desk: Desk, authorizations: StoredAuthorizations
) -> None:
    store_client("own", "api.infusionsoft.com", redirect_path="/callback/{provider}")
    answer = desk.json("connect", "keap/main", "--client", "own", "--no-wait")
    assert answer["redirect_uri"] == f"{API}/callback/keap"
    ticket = authorizations.get(key_of(answer["link"]))
    assert ticket is not None
    assert ticket["redirect_uri"] == f"{API}/callback/keap"


def test_a_public_client_that_shares_its_redirect_uri_is_refused(desk: Desk) -> None:
    """Its code and verifier would be all that another provider needs (RFC 9700 section 4.4)."""
    store_client("public", "api.infusionsoft.com", client_secrets=[])
    error = desk.error("connect", "keap/main", "--client", "public", "--no-wait")
    assert error["code"] == "invalid_client_entry"
    assert "has no secret at keap" in error["message"]
    for wanted in (f"Register {API}/callback/keap there", "evergrant client set NAME", "--client NAME"):
        assert wanted in error["hint"]
    assert list(desk.records.all()) == []
    store_client("own", "api.infusionsoft.com", client_secrets=[], redirect_path="/callback/{provider}")
    assert desk.json("connect", "keap/main", "--client", "own", "--no-wait")["redirect_uri"] == f"{API}/callback/keap"


@pytest.mark.parametrize("before", [None, f"{API}/callback", f"{API}/callback/keap"])
def test_who_may_not_read_clients_goes_by_the_connections_redirect_uri(desk: Desk, before: str | None) -> None:
    if before:
        desk.records.create(connection("keap/main", redirect_uri=before))
    with failing("secretsmanager", "GetSecretValue", code="AccessDeniedException"):
        answer = desk.json("connect", "keap/main", "--no-wait")
    assert answer["redirect_uri"] == (before or f"{API}/callback/keap")


def test_the_record_exists_and_pins_its_profile_before_consent(desk: Desk) -> None:
    """The record exists and pins its profile before the link is opened."""
    desk("connect", "keap/main", "--no-wait")
    record = desk.record()
    assert (record.status, record.client) == (Status.AWAITING_AUTHORIZATION, "keap")
    assert record.profile_hash == content_hash(built_in.load_built_in()["keap"])
    key = {"pk": {"S": f"profile#{record.profile_hash}"}}
    assert "Item" in client("dynamodb").get_item(TableName=desk.records.table, Key=key)


def test_people_get_the_link_whole_and_on_a_line_of_its_own(desk: Desk) -> None:
    said, aside = desk.both("connect", "keap/main", "--no-wait")
    assert len(link_in(said)) == len(f"{API}/connect/") + 43
    assert "Keap (Infusionsoft)" in said
    assert "2027-01-15 08:15 (UTC)" in said
    assert "Send this" in aside, "what is to be sent stands alone on standard output"
    assert "evergrant" not in said.replace(API, "")


def test_a_link_that_is_mailed_may_be_good_for_a_week(desk: Desk, authorizations: StoredAuthorizations) -> None:
    answer = desk.json("connect", "keap/main", "--no-wait", "--link-valid", "7d")
    ticket = authorizations.get(key_of(answer["link"]))
    assert ticket
    assert ticket["expires_at"] == NOW + 7 * 86_400
    assert "2027-01-22 08:00" in desk("connect", "keap/main", "--no-wait", "--link-valid", "7d")


def test_only_a_link_that_allows_another_account_accepts_one(desk: Desk, authorizations: StoredAuthorizations) -> None:
    """Another account is allowed by the link that says so, and by no other link."""
    for given, allowed in (((), False), (("--another-account",), True)):
        answer = desk.json("connect", "keap/main", "--no-wait", *given)
        ticket = authorizations.get(key_of(answer["link"]))
        assert ticket
        assert ticket["another_account"] is allowed


@pytest.mark.parametrize("time", ["8d", "0m", "1", "d", "-1h", "1.5h", "15 m", "999999999d", "1w"])
def test_a_link_is_not_good_for_ever_or_for_no_time(desk: Desk, time: str) -> None:
    assert "--link-valid" in desk.both("connect", "keap/main", "--link-valid", time, status=2)[1]
    assert list(desk.records.all()) == []


def test_the_address_of_the_environment_outranks_the_stacks(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGRANT_API_URL", "http://localhost:4566/_aws/execute-api/x/")
    answer = desk.json("connect", "keap/main", "--no-wait")
    assert answer["link"].startswith("http://localhost:4566/_aws/execute-api/x/connect/")
    assert answer["redirect_uri"] == "http://localhost:4566/_aws/execute-api/x/callback"


def test_a_grant_without_a_person_is_tried_at_once(desk: Desk) -> None:
    answer = desk.json("connect", "wealthyhood/main", *VARIABLES)
    assert desk.asked == [{"connection": "wealthyhood/main", "force": True}]
    assert (answer["status"], answer["generation"], answer["expires_in"]) == ("active", 1, 3600)
    assert ACCESS_TOKEN not in json.dumps(answer)


def test_people_hear_that_the_credentials_work(desk: Desk) -> None:
    assert "The credentials work." in desk("connect", "wealthyhood/main", *VARIABLES)


def test_credentials_that_do_not_work_are_said_within_the_same_command(desk: Desk) -> None:
    desk.rotator = desk.refuses(status=Status.CLIENT_REFUSED)
    error = desk.error("connect", "wealthyhood/main", *VARIABLES)
    assert error["code"] == "client_refused"
    assert "invalid_client" in error["message"]
    assert "evergrant client set wealthyhood" in error["hint"]


def test_serving_the_old_token_does_not_hide_failing_credentials(desk: Desk) -> None:
    """The old token is still served, and yet the command reports that the new credentials fail."""
    desk("connect", "wealthyhood/main", *VARIABLES)
    desk.rotator = desk.refuses("unauthorized_client", status=Status.DEGRADED)
    error = desk.error("connect", "wealthyhood/main")
    assert error["code"] == "not_refreshed"
    assert "unauthorized_client" in error["message"]


def test_an_unreachable_host_is_reported_with_what_to_check(desk: Desk) -> None:
    desk.rotator = desk.refuses("not_sent")
    error = desk.error("connect", "wealthyhood/main", *VARIABLES)
    assert "hosts of client wealthyhood" in error["hint"]
    assert error["retry_after"] == 7


def test_connecting_again_keeps_what_is_not_given_anew(desk: Desk) -> None:
    store_client("other", "a.example", "b.example")
    desk("connect", "wealthyhood/main", "--client", "other", "--no-direct-read", "--var", "host=a.example", *AUDIENCE)
    desk("connect", "wealthyhood/main", "--var", "host=b.example")
    record = desk.record("wealthyhood/main")
    assert record.variables == {"host": "b.example", "audience": "https://api.example"}
    assert (record.client, record.direct_read) == ("other", False)


def test_nothing_is_stored_when_there_is_no_such_client(desk: Desk) -> None:
    assert desk.error("connect", "keap/main", "--client", "absent")["code"] == "unknown_client"
    assert desk.records.get("keap/main") is None


def test_a_client_that_is_marked_for_deletion_is_no_client(desk: Desk) -> None:
    client("secretsmanager").delete_secret(SecretId="evergrant/clients/keap")
    assert desk.error("connect", "keap/main")["code"] == "unknown_client"


@pytest.mark.parametrize("name", ["keap/main", "wealthyhood/main"])
def test_a_client_not_allowed_at_that_host_gets_no_link(desk: Desk, name: str) -> None:
    """A client whose entry does not allow the host is refused before a link is made."""
    given = AUDIENCE if name.startswith("wealthyhood") else ()
    error = desk.error("connect", name, "--var", "host=elsewhere.example", *given)
    assert error["code"] == "invalid_client_entry"
    assert "elsewhere.example" in error["message"]
    assert "--host elsewhere.example" in error["hint"]
    assert list(desk.records.all()) == []
    assert desk.asked == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["keap"], "invalid_name"),
        (["nosuch/main"], "unknown_profile"),
        (["wealthyhood/main"], "invalid_variable"),
        (["keap/main", "--var", "host=a/b"], "invalid_variable"),
        (["keap/main", "--var", "colour=red"], "invalid_variable"),
        (["keap/main", "--grant", "client_credentials"], "invalid_request"),
    ],
)
def test_what_cannot_be_connected_is_refused_before_anything_is_stored(
    desk: Desk, arguments: list[str], code: str
) -> None:
    assert desk.error("connect", *arguments)["code"] == code
    assert list(desk.records.all()) == []


def test_a_variable_without_a_value_is_wrong_usage(desk: Desk) -> None:
    assert "name=value" in desk.both("connect", "keap/main", "--var", "host", status=2)[1]


class Browser:
    """Plays the account's owner, who opens the link: one step at each poll."""

    def __init__(self, desk: Desk, authorizations: StoredAuthorizations, steps: str) -> None:
        self.desk, self.authorizations, self.steps = desk, authorizations, list(steps.split())
        desk.meanwhile = self.step

    def step(self) -> None:
        if self.steps:
            getattr(self, self.steps.pop(0))()

    def nothing(self) -> None:
        pass

    def opens(self) -> None:
        (item,) = client("dynamodb").scan(TableName=self.authorizations.table)["Items"]
        self.authorizations.change(item["pk"]["S"], {"cookie_hash": "c"}, only_if={})

    def denies(self) -> None:
        self.fails("access_denied")

    def tries_again(self) -> None:
        self.fails("")

    def meets_a_wrong_client(self) -> None:
        self.fails("invalid_client_entry")

    def interrupts(self) -> None:
        raise KeyboardInterrupt

    def fails(self, code: str, **failure: Any) -> None:
        (item,) = client("dynamodb").scan(TableName=self.authorizations.table)["Items"]
        self.authorizations.change(item["pk"]["S"], {"problem": code, "failure": failure}, only_if={})

    def is_refused(self) -> None:
        self.fails("provider_refused", step="exchange", status=401, error="invalid_client")

    def consents(self) -> None:
        self.change(authorization_id="a-1", generation=1, status=Status.ACTIVE, expires_at=NOW + 86_400)

    def is_published(self) -> None:
        self.change(published_generation=1)

    def change(self, **changes: Any) -> None:
        overwrite(self.desk.records, "keap/main", **changes)


def test_waiting_shows_each_step_and_ends_when_the_token_can_be_read(
    desk: Desk, authorizations: StoredAuthorizations
) -> None:
    Browser(desk, authorizations, "nothing opens nothing consents is_published")
    said, aside = desk.both("connect", "keap/main")
    assert "keap/main is connected; its token lives for 23 h 59 min" in said
    assert aside.splitlines() == [
        "waiting for the link to be opened …",
        "✓ opened",
        "waiting for consent at the provider …",
        "✓ consented, and the grant is saved",
        "publishing the token …",
    ]


def test_each_refusal_is_said_at_once_and_waiting_goes_on(desk: Desk, authorizations: StoredAuthorizations) -> None:
    Browser(desk, authorizations, "opens denies nothing tries_again denies consents is_published")
    said, aside = desk.both("connect", "keap/main")
    assert "keap/main is connected" in said
    denied = "✗ the link was opened, and access was denied at the provider; it can be tried again until "
    assert aside.count(f"{denied}2027-01-15T08:15:00Z.") == 2


REFUSED = "the link was opened, but the provider refused the code's exchange (HTTP 401, invalid_client)"


def test_the_last_line_says_what_the_provider_answered(desk: Desk, authorizations: StoredAuthorizations) -> None:
    Browser(desk, authorizations, "opens is_refused")
    desk.hurry = 300
    aside = desk.both("connect", "keap/main", status=1)[1]
    assert f"✗ {REFUSED}; it can be tried again until " in aside
    assert f"keap/main was not connected. The last attempt: {REFUSED}." in " ".join(aside.split())


def test_ctrl_c_repeats_what_the_provider_answered_last(desk: Desk, authorizations: StoredAuthorizations) -> None:
    Browser(desk, authorizations, "opens denies is_refused nothing interrupts")
    assert desk.both("connect", "keap/main", status=130)[1].splitlines()[-1].endswith(f"The last attempt: {REFUSED}.")


def test_status_says_how_the_last_attempt_to_connect_failed(desk: Desk) -> None:
    desk("connect", "keap/main", "--no-wait")
    failure = {"code": "provider_refused", "at": NOW, "step": "exchange", "status": 401, "error": "invalid_client"}
    desk.records.change("keap/main", {"authorization_failure": failure})
    assert REFUSED in " ".join(desk("status", "keap/main").split())
    [connection] = desk.json("status", "keap/main")["connections"]
    shown = connection["authorization_failure"]
    assert (shown["status"], shown["error"], shown["at"]) == (401, "invalid_client", "2027-01-15T08:00:00Z")


def test_what_only_the_operator_can_fix_ends_the_waiting(desk: Desk, authorizations: StoredAuthorizations) -> None:
    Browser(desk, authorizations, "opens meets_a_wrong_client")
    said = desk.both("connect", "keap/main", "--json", status=1)[0]
    error = json.loads(said)["error"]
    assert error["code"] == "invalid_client_entry"
    assert "client keap cannot be used" in error["message"]
    assert "evergrant client set keap" in error["hint"]
    assert "evergrant connect keap/main" in error["hint"]
    assert desk.now < NOW + 10


def test_waiting_with_json_says_the_link_aside_and_ends_in_one_document(
    desk: Desk, authorizations: StoredAuthorizations
) -> None:
    Browser(desk, authorizations, "consents is_published")
    said, aside = desk.both("connect", "keap/main", "--json")
    answer = json.loads(said)
    assert (answer["status"], answer["generation"]) == ("active", 1)
    assert link_in(aside) == answer["link"]


def test_waiting_ends_with_the_ticket(desk: Desk) -> None:
    desk.hurry = 300
    error = desk.both("connect", "keap/main", status=1)[1]
    assert "The link has expired, and keap/main was not connected." in error
    assert NOW + 900 <= desk.now < NOW + 1200


def test_a_rotation_of_the_old_grant_is_not_taken_for_the_new_one(
    desk: Desk, authorizations: StoredAuthorizations
) -> None:
    Browser(desk, authorizations, "consents is_published")
    desk("connect", "keap/main")
    desk.now, desk.hurry = NOW, 300
    desk.meanwhile = lambda: desk.rotates({"connection": "keap/main"})
    assert "has expired" in desk.both("connect", "keap/main", status=1)[1]


def test_a_publication_that_does_not_come_is_not_waited_for_for_ever(
    desk: Desk, authorizations: StoredAuthorizations
) -> None:
    Browser(desk, authorizations, "consents")
    assert "is connected" in desk("connect", "keap/main")
    assert desk.now < NOW + 90


def test_ctrl_c_while_waiting_leaves_the_link_good_and_says_so(desk: Desk) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    desk.meanwhile = interrupt
    aside = desk.both("connect", "keap/main", status=130)[1]
    assert aside.splitlines() == [
        "waiting for the link to be opened …",
        "No longer waiting. The link works until 2027-01-15T08:15:00Z; "
        "`evergrant status keap/main` shows when it is done.",
    ]


def test_at_a_terminal_the_line_shows_elapsed_time_and_link_validity(
    desk: Desk, authorizations: StoredAuthorizations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a terminal the status line shows how long the command has waited and how long the link stays valid."""
    shown: list[str] = []

    class Status:
        def update(self, text: str) -> None:
            shown.append(text)

        def start(self) -> None: ...
        def stop(self) -> None: ...

    monkeypatch.setattr(Console, "is_terminal", property(lambda console: True))
    monkeypatch.setattr(Console, "status", lambda console, text: Status())
    Browser(desk, authorizations, "nothing opens consents is_published")
    desk("connect", "keap/main")
    assert shown == [
        "waiting for the link to be opened … 0 s; the link expires in 15 min",
        "waiting for the link to be opened … 1 s; the link expires in 14 min",
        "waiting for consent at the provider … 2 s; the link expires in 14 min",
        "publishing the token … 3 s",
    ]


def test_it_ends_with_the_first_status(desk: Desk, authorizations: StoredAuthorizations) -> None:
    Browser(desk, authorizations, "consents is_published")
    desk.meanwhile = lambda: overwrite(
        desk.records,
        "keap/main",
        authorization_id="a-1",
        generation=1,
        published_generation=1,
        status=Status.ACTIVE,
        expires_at=NOW + 86_400,
        refresh_at=NOW + 70_000,
    )
    assert "It is active, and refreshed next in 19 h 26 min." in desk("connect", "keap/main")
    desk.now = NOW
    desk.meanwhile = lambda: desk.records.change("keap/main", {"authorization_id": "a-2", "missing_scope": "write"})
    assert "Note: not everything that was asked for was granted; missing: write." in desk("connect", "keap/main")


def test_scopes_that_are_given_are_asked_for_and_kept(desk: Desk, authorizations: StoredAuthorizations) -> None:
    def asked(*arguments: str) -> Any:
        link = desk.json("connect", "keap/main", "--no-wait", *arguments)["link"]
        ticket = authorizations.get(key_of(link))
        assert ticket is not None
        return ticket["scope"]

    assert asked() == "full"
    assert asked("--scope", "read", "--scope", "write") == "read write"
    desk.records.change("keap/main", {"scope": "read write"})
    assert asked() == "read write", "as a grant would have left it"
    assert asked("--scope", "full") == "full"
