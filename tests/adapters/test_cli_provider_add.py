"""Protects a provider added by its issuer alone: what is asked, what is shown and stored, and what it ends in else."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from evergrant.adapters.aws.profiles import StoredProfiles
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.profiles.loader import load_profile
from tests.adapters.cli_desk import API, Desk
from tests.adapters.loopback import Behaviour, answers, closes, floods, sends, serving

OAUTH, OPENID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, records: DynamoRecords, queue_url: str) -> Desk:
    return Desk(monkeypatch, records, queue_url)


class Publishing:
    """An authorization server's well-known documents, by path: a dict, or a whole behaviour. Else 404."""

    def __init__(self) -> None:
        self.url = ""
        self.documents: dict[str, dict[str, Any] | Behaviour] = {}
        self.asked: list[str] = []

    def sound(self, path: str = "", **changes: Any) -> dict[str, Any]:
        """Metadata of the issuer with this path."""
        return {
            "issuer": self.url + path,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            **changes,
        }


@contextmanager
def publishing() -> Iterator[Publishing]:
    server = Publishing()

    def behave(loopback: Any, connection: Any) -> None:
        path = loopback.requests[-1].split()[1].decode()
        server.asked.append(path)
        found = server.documents.get(path, answers(b"<p>none</p>", "404 Not Found"))
        (found if callable(found) else answers(json.dumps(found).encode()))(loopback, connection)

    with serving(behave) as loopback:
        server.url = f"http://{loopback.host}"
        yield server


@pytest.fixture
def server() -> Iterator[Publishing]:
    with publishing() as running:
        yield running


def test_a_provider_is_added_from_its_issuer_alone(desk: Desk, server: Publishing) -> None:
    server.documents = {
        OAUTH: server.sound(code_challenge_methods_supported=["S256"]),
        OPENID: server.sound(scopes_supported=["openid", "offline_access"]),
    }
    said = desk("provider", "add", "--issuer", server.url, "--name", "acme")
    for wanted in (f"{server.url}{OAUTH}", "used", "authorization_code", "S256", "how long a refresh token lives"):
        assert wanted in said
    assert f"{API}/callback/acme" in said
    assert "evergrant connect acme/main" in said
    stored = StoredProfiles(desk.records.table).load_named("acme")
    assert stored.authorize is not None
    assert (stored.authorize.scopes, stored.authorize.pkce) == (("openid", "offline_access"), True)
    assert server.asked == [OAUTH, OPENID]


def test_an_issuer_with_a_path_is_looked_for_at_three_addresses(desk: Desk, server: Publishing) -> None:
    server.documents = {f"/eu{OPENID}": server.sound("/eu")}
    found = desk.json("provider", "add", "--issuer", f"{server.url}/eu", "--name", "acme")["found"]
    assert server.asked == [f"{OAUTH}/eu", f"/eu{OPENID}", f"{OPENID}/eu"]
    assert [source["used"] for source in found["sources"]] == [False, True, False]
    assert load_profile(found["toml"]).name == "acme"


def test_what_the_documents_differ_in_is_shown(desk: Desk, server: Publishing) -> None:
    other = f"{server.url}/other"
    server.documents = {OAUTH: server.sound(), OPENID: server.sound(token_endpoint=other, scopes_supported="openid")}
    said = desk("provider", "add", "--issuer", server.url, "--name", "acme")
    assert f"used         {server.url}/token" in said
    assert f"passed over  {other}" in said
    assert "scopes_supported should be a list" in said


def test_it_is_written_to_be_edited_and_added_as_a_file(desk: Desk, server: Publishing, tmp_path: Path) -> None:
    server.documents = {OAUTH: server.sound()}
    file = tmp_path / "acme.toml"
    arguments = ("provider", "add", "--issuer", server.url, "--name", "acme", "--write", str(file))
    said = desk(*arguments, "--stack", "none")
    assert f"evergrant provider check {file}" in said
    assert tomllib.loads(file.read_text("utf-8"))["name"] == "acme"
    assert desk.error(*arguments)["code"] == "file_exists"
    desk("provider", "check", str(file))
    assert desk.json("provider", "add", str(file))["change"] == "added"
    assert desk.json("provider", "add", "--issuer", server.url, "--name", "acme")["change"] == "unchanged"


def test_no_text_of_the_server_is_shown_but_what_was_checked(desk: Desk, server: Publishing) -> None:
    canary = "canary of the server \x1b[31m"
    server.documents = {
        OAUTH: server.sound(client_secret="canary-secret", scopes_supported=[canary], **{canary: canary}),
        OPENID: answers(b'{"issuer": "canary of another", "token_endpoint": "https://canary.example"}'),
    }
    arguments = ("provider", "add", "--issuer", server.url, "--name", "acme")
    assert "canary" not in "".join([*desk.both(*arguments), *desk.both(*arguments, "--json")])


def test_a_file_that_cannot_be_written_is_said(desk: Desk, server: Publishing, tmp_path: Path) -> None:
    server.documents = {OAUTH: server.sound()}
    nowhere = str(tmp_path / "no" / "acme.toml")
    error = desk.error("provider", "add", "--issuer", server.url, "--name", "acme", "--write", nowhere)
    assert error["code"] == "file_not_written"


def test_metadata_that_were_only_read_on_another_day_change_nothing(desk: Desk, server: Publishing) -> None:
    server.documents = {OAUTH: server.sound()}
    arguments = ("provider", "add", "--issuer", server.url, "--name", "acme")
    first = desk.json(*arguments)
    desk.now += 3 * 86_400
    again = desk.json(*arguments)
    assert (again["change"], again["content_hash"]) == ("unchanged", first["content_hash"])
    server.documents[OAUTH] = server.sound(scopes_supported=["offline_access"])
    assert desk.json(*arguments)["change"] == "replaced"


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (answers(b"", "404 Not Found"), "no_metadata"),
        (answers(b"", "302 Found", "location: https://acme.example/\r\n"), "no_metadata"),
        (answers(b"<html>Welcome</html>"), "invalid_metadata"),
        (answers(b'{"issuer": "https://other.example", "token_endpoint": "https://x"}'), "issuer_mismatch"),
        (closes, "no_metadata"),
        (floods, "no_metadata"),
        (sends(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"), "no_metadata"),
    ],
)
def test_a_server_that_publishes_nothing_usable_ends_in_a_code(
    desk: Desk, server: Publishing, behaviour: Behaviour, code: str
) -> None:
    server.documents = {OAUTH: behaviour, OPENID: behaviour}
    error = desk.error("provider", "add", "--issuer", server.url, "--name", "acme")
    assert error["code"] == code
    assert error["hint"]
    assert [item for item in desk.json("provider", "list")["providers"] if not item["built_in"]] == []


def test_a_server_that_does_not_listen_is_not_reached(desk: Desk) -> None:
    with serving(closes) as gone:
        pass
    error = desk.error("provider", "add", "--issuer", f"http://{gone.host}", "--name", "acme")
    assert error["code"] == "not_sent"
    assert gone.host in error["message"]


def test_a_name_that_leads_inside_is_not_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda host, port, **_: [(2, 1, 6, "", ("10.0.0.7", port))])
    error = desk.error("provider", "add", "--issuer", "https://login.acme.example")
    assert error["code"] == "not_sent"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--issuer", "http://login.acme.example"), "invalid_issuer"),
        (("--issuer", "https://10.0.0.7"), "invalid_issuer"),
        (("--issuer", "https://keap.example"), "invalid_profile"),
        (("--issuer", "https://acme.example", "--name", "Acme Ltd"), "invalid_name"),
    ],
)
def test_what_cannot_be_added_is_refused_before_anything_is_asked(
    desk: Desk, arguments: tuple[str, ...], code: str
) -> None:
    assert desk.error("provider", "add", *arguments)["code"] == code


@pytest.mark.parametrize(
    "arguments",
    [(), ("{file}", "--issuer", "https://acme.example"), ("{file}", "--name", "acme"), ("{file}", "--write", "x.toml")],
)
def test_a_file_or_an_issuer_and_not_both(desk: Desk, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    file = tmp_path / "acme.toml"
    file.write_text("", "utf-8")
    given = [argument.format(file=file) for argument in arguments]
    assert desk.json("provider", "add", *given, status=2)["error"]["code"] == "wrong_usage"
