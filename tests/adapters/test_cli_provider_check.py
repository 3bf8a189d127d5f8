"""Protects the look at a profile before it is used: exact requests, real ones too, and nothing secret on the screen."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from evergrant.adapters.aws.records import DynamoRecords
from evergrant.profiles import built_in
from evergrant_cli import trial_request
from evergrant_cli.main import app
from local.providers import INVESTSUITE, KEAP, MODELPORTFOLIOS, WEALTHYHOOD, Client, Provider, ProviderServer
from local.providers.dialect import Dialect
from tests.adapters.cli_desk import CLIENT_SECRET, Desk, store_client
from tests.adapters.leaks import find_secrets
from tests.adapters.loopback import Server, answers, serving

ACME = """
name = "acme"
title = "Acme"

[variables.region]
pattern = "eu|us"

[authorize]
url = "https://{region}.acme.example/authorize"
scopes = ["full", "offline"]

[exchange]
url = "https://{region}.acme.example/token"
client_auth = "private_key_jwt"

[refresh]
url = "https://{region}.acme.example/{region}/token"
client_auth = "basic"

[jwt_bearer]
url = "https://{region}.acme.example/assert"
claims = { iss = "{client_id}", aud = "{url}" }

[client_credentials]
url = "https://api.acme.example/token"

[response]
capture = { site = "site" }

[consumer]
headers = { Authorization = "{token_type} {access_token}" }

[[errors]]
status = 409
as = "transient"

[[errors]]
code = "invalid_request"
description = "Dead."
as = "grant_rejected"
"""


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


EC_KEY = pem(ec.generate_private_key(ec.SECP256R1()))
RSA_KEY = pem(rsa.generate_private_key(65537, 2048))
ENTRY = {"client_id": "app-1", "client_secrets": ["canary-client-secret"]}
CANARIES = {
    "secret": "canary-client-secret",
    "older secret": "canary-older-secret",
    "password": "canary-password",
    "refresh token": "canary-refresh-token",
    "code": "canary-code-of-one-use",
    "verifier": "canary-code-verifier",
    "access token": "canary-access-token",
    "new refresh token": "canary-renewed-token",
    "captured": "canary-captured-value",
    "text": "canary-of-the-provider",
    "ec key": "".join(EC_KEY.splitlines()[1:-1])[40:80],
    "rsa key": "".join(RSA_KEY.splitlines()[1:-1])[200:240],
}
GRANTED = {
    "access_token": "canary-access-token",
    "refresh_token": "canary-renewed-token",
    "expires_in": 3600,
    "scope": "full canary-of-the-provider",
    "site": "canary-captured-value",
    "token_type": "canary-of-the-provider",
}


def run_text(*arguments: str, given: Any = None, status: int = 0) -> str:
    """What the command says, in all. There is no stack, and no Region in which there could be one."""
    text = given if isinstance(given, str) else json.dumps(given) if given is not None else None
    result = CliRunner().invoke(app, ["provider", "check", *arguments], input=text, env={"AWS_REGION": None})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    assert find_secrets(result.output, CANARIES) == set()
    return result.output


def run_check(*arguments: str, given: Any = None, status: int = 0) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run_text(*arguments, "--json", given=given, status=status))
    return document


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "acme.toml"
    path.write_text(ACME, "utf-8")
    return str(path)


# What it would send


def test_each_phase_shows_its_request_with_placeholders_for_secrets(file: str) -> None:
    """Each phase shows the exact request, with placeholders for everything that is secret."""
    found = run_check(file, "--var", "region=eu")
    phases = {request["phase"]: request for request in found["phases"]}
    assert list(phases) == ["authorize", "exchange", "client_credentials", "jwt_bearer", "refresh"]
    assert phases["refresh"] == {
        "phase": "refresh",
        "method": "POST",
        "url": "https://eu.acme.example/eu/token",
        "headers": {
            "accept": "application/json",
            "authorization": "Basic base64(CLIENT_ID:CLIENT_SECRET)",
            "content-type": "application/x-www-form-urlencoded",
        },
        "body": "grant_type=refresh_token&refresh_token=REFRESH_TOKEN",
    }
    assert phases["authorize"]["url"].startswith(
        "https://eu.acme.example/authorize?response_type=code&client_id=CLIENT"
    )
    assert "scope=full%20offline" in phases["authorize"]["url"]
    assert phases["exchange"]["body"].endswith("&client_assertion=SIGNED_ASSERTION")
    assert phases["exchange"]["assertion"] == {
        "iss": "CLIENT_ID",
        "sub": "CLIENT_ID",
        "aud": "https://eu.acme.example/token",
        "iat": "NOW",
        "exp": "NOW + 300 s",
        "jti": "RANDOM",
    }
    assert "assertion=SIGNED_ASSERTION" in phases["jwt_bearer"]["body"]
    assert "client_secret=CLIENT_SECRET" in phases["client_credentials"]["body"]
    assert found["consumer"]["headers"] == {"Authorization": "TOKEN_TYPE ACCESS_TOKEN"}


def test_a_variable_without_a_value_stands_there_by_its_name(file: str) -> None:
    text = run_text(file)
    assert "https://REGION.acme.example/REGION/token" in text
    assert "Give --var" in text


def test_a_log_in_is_shown_with_each_set_of_credentials() -> None:
    found = run_check("investsuite", "--var", "host=api.acme.example")
    assert [request.get("credentials") for request in found["phases"]] == [
        ["access_key_id", "secret_access_key"],
        ["username", "password"],
        None,
    ]
    assert found["phases"][1]["body"] == '{"username": "USERNAME", "password": "PASSWORD"}'


def test_the_refresh_time_is_shown_for_the_documented_lifetime() -> None:
    times = run_check("keap")["refreshing"]
    assert times["lifetime"] == 86_400
    assert 10_800 <= times["before_expiry"] <= 1.5 * 10_800
    assert "would be replaced after" in run_text("keap")


@pytest.mark.parametrize("name", sorted(built_in.load_built_in()))
def test_every_shipped_provider_can_be_looked_at(name: str) -> None:
    assert run_check(name)["provider"] == name


def test_a_valid_profile_lists_what_it_could_improve(file: str) -> None:
    advice = " ".join(run_check(file)["advice"])
    for key in ("documentation", "response.expires", "response.refresh_expires", "variables.region.describe"):
        assert key in advice
    assert run_check("keap")["advice"] == []


@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        ((), ACME.replace("[refresh]", "[refersh]"), "invalid_profile"),
        (("--var", "region=mars"), ACME, "invalid_variable"),
        (("--var", "planet=mars"), ACME, "invalid_variable"),
        (("--against", "http://127.0.0.1:9", "--phase", "jwt_bearer"), ACME, "invalid_client_entry"),
        (("--against", "http://127.0.0.1:9", "--phase", "refresh"), ACME, "invalid_variable"),
    ],
)
def test_what_does_not_hold_is_refused_by_its_code(file: str, arguments: tuple[str, ...], text: str, code: str) -> None:
    Path(file).write_text(text, "utf-8")
    given = {**ENTRY, "refresh_token": "canary-refresh-token"} if "refresh" in arguments else ENTRY
    if "jwt_bearer" in arguments:
        arguments = (*arguments, "--var", "region=eu")
    assert run_check(file, *arguments, given=given, status=1)["error"]["code"] == code


@pytest.mark.parametrize(
    "arguments",
    [
        ["--phase", "refresh"],
        ["--client", "acme"],
        ["--against", "http://acme.example"],
        ["--against", "https://acme.example/token"],
        ["--against", "https://ann@acme.example"],
        ["--against", "https://acme.example?x=1"],
        ["--against", "https://[x"],
        ["--against", "acme.example"],
        ["--against", "https://acme.example", "--phase", "login"],
        ["--against", "https://acme.example", "--phase", "revoke"],
    ],
)
def test_wrong_usage_is_status_2_and_sends_nothing(file: str, arguments: list[str]) -> None:
    assert run_check(file, *arguments, given=ENTRY, status=2)["error"]["code"] == "wrong_usage"


def test_neither_a_file_nor_a_provider_is_wrong_usage() -> None:
    run_text("nosuch.toml", status=2)
    run_text("keap", "--against", "https://acme.example", status=2)


# One real request, to the simulated providers

KNOWN = Client("app-1", "canary-client-secret", redirect_uris=("http://localhost:4566/callback",), name="Acme Reports")


@pytest.fixture
def simulated(request: pytest.FixtureRequest) -> Iterator[ProviderServer]:
    dialect: Dialect = request.param
    with ProviderServer(Provider(dialect, clients=(KNOWN,))) as server:
        yield server


@pytest.mark.parametrize("simulated", [WEALTHYHOOD], indirect=True)
def test_wealthyhood_grants_and_its_answer_is_read(simulated: ProviderServer) -> None:
    arguments = ("wealthyhood", "--against", simulated.url, "--var", "audience=https://api.wealthyhood.example")
    found = run_check(*arguments, given=ENTRY)
    assert found["phase"] == "client_credentials"
    assert found["request"]["url"] == f"{simulated.url}/oauth/token"
    answer = found["response"]
    assert (answer["lifetime"], answer["expiry_rule"], answer["refresh_token"]) == (3600, "expires_in:seconds", None)
    assert answer["access_token"].endswith("…")
    assert "by the rule expires_in:seconds" in run_text(*arguments, given=ENTRY)


@pytest.mark.parametrize("simulated", [WEALTHYHOOD], indirect=True)
def test_a_wrong_secret_is_distinguished_from_a_wrong_request(simulated: ProviderServer) -> None:
    arguments = ("wealthyhood", "--against", simulated.url)
    wrong = run_check(
        *arguments,
        *("--var", "audience=https://api.wealthyhood.example"),
        given={**ENTRY, "client_secrets": ["canary-older-secret"]},
        status=1,
    )
    assert wrong["error"]["code"] == wrong["response"]["kind"] == "client_rejected"
    assert (wrong["response"]["code"], wrong["response"]["rule"]) == ("invalid_client", "standard")
    assert run_check(*arguments, given=ENTRY, status=1)["error"]["code"] == "invalid_variable"


@pytest.mark.parametrize("simulated", [MODELPORTFOLIOS], indirect=True)
def test_modelportfolios_spelling_is_read(simulated: ProviderServer) -> None:
    answer = run_check("modelportfolios", "--against", simulated.url, given=ENTRY)["response"]
    assert (answer["lifetime"], answer["expiry_rule"]) == (86_400, "expiresIn:seconds")


@pytest.mark.parametrize("simulated", [INVESTSUITE], indirect=True)
def test_investsuite_logs_in_with_a_duration_called_expires_at(simulated: ProviderServer) -> None:
    keys = {"access_key_id": "app-1", "secret_access_key": "canary-client-secret"}
    found = run_check("investsuite", "--against", simulated.url, given={"credentials": keys})
    assert found["request"]["url"] == f"{simulated.url}/auth/login/"
    assert found["request"]["body"] == '{"access_key_id": "ACCESS_KEY_ID", "secret_access_key": "SECRET_ACCESS_KEY"}'
    assert (found["response"]["lifetime"], found["response"]["expiry_rule"]) == (300, "expires_at:seconds")
    assert found["response"]["refresh_token_is_new"] is True
    refused = run_check(
        *("investsuite", "--against", simulated.url, "--phase", "refresh"),
        given={"refresh_token": "canary-refresh-token"},
        status=1,
    )
    assert (refused["response"]["kind"], refused["response"]["rule"]) == ("grant_rejected", "errors[0]")


@pytest.mark.parametrize("simulated", [KEAP], indirect=True)
@pytest.mark.parametrize(
    ("way", "code", "rule"),
    [("invalid_grant", "invalid_grant", "standard"), ("invalid_request", "invalid_request", "errors[0]")],
)
def test_keaps_refused_refresh_names_the_rule_that_matched(
    simulated: ProviderServer, way: str, code: str, rule: str
) -> None:
    simulated.provider.change_settings({"dead_refresh_token": way})
    arguments = ("keap", "--against", simulated.url, "--phase", "refresh")
    given = {**ENTRY, "refresh_token": "canary-refresh-token"}
    found = run_check(*arguments, given=given, status=1)
    assert found["error"]["code"] == "grant_rejected"
    assert (found["response"]["status"], found["response"]["code"], found["response"]["rule"]) == (400, code, rule)
    text = run_text(*arguments, given=given, status=1)
    assert "grant_rejected" in text
    assert rule in text


# One real request, to a server that says what the test wants


def given_for(phase: str) -> dict[str, Any]:
    """Build a client entry and what the phase sends, all of it canaries."""
    entry: dict[str, Any] = {"client_id": "app-1", "client_secrets": ["canary-client-secret", "canary-older-secret"]}
    entry["private_key"] = RSA_KEY if phase == "jwt_bearer" else EC_KEY
    if phase == "refresh":
        entry["refresh_token"] = "canary-refresh-token"
    if phase == "exchange":
        entry |= {
            "code": "canary-code-of-one-use",
            "code_verifier": "canary-code-verifier",
            "redirect_uri": "https://x",
        }
    return entry


@pytest.mark.parametrize("phase", ["client_credentials", "jwt_bearer", "exchange", "refresh"])
@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (answers(json.dumps(GRANTED).encode()), 0),
        (answers(json.dumps({"error": "canary-of-the-provider"}).encode(), "400 Bad Request"), 1),
        (answers(b'{"error": "x", "error_description": "canary-of-the-provider"}', "canary-of-the-provider"), 1),
        (answers(b'{"canary-access-token": "canary-of-the-provider", "acessToken": "canary-access-token"}'), 1),
        (answers(b"canary-access-token", "200 canary-of-the-provider"), 1),
        (answers(b"", "500 Oh", "canary-of-the-provider: canary-of-the-provider\r\n"), 1),
        (lambda _, connection: connection.close(), 1),
    ],
)
def test_nothing_secret_and_no_text_of_the_provider_is_shown(file: str, phase: str, answer: Any, status: int) -> None:
    with serving(answer) as server:
        arguments = (file, "--against", f"http://{server.host}", "--phase", phase, "--var", "region=eu")
        run_text(*arguments, given=given_for(phase), status=status)
        run_check(*arguments, given=given_for(phase), status=status)
        assert len(server.requests) == 2, "what is to be masked was sent"
    assert any(find_secrets(request, CANARIES) or b"eyJ" in request for request in server.requests)


def test_credentials_are_not_shown_though_the_provider_send_them_back() -> None:
    def echoes(server: Server, connection: socket.socket) -> None:
        body = server.requests[-1].partition(b"\r\n\r\n")[2]
        answers(body.replace(b"username", b"error"), "401 Unauthorized")(server, connection)

    given = {"credentials": {"username": "canary-of-the-provider", "password": "canary-password"}}
    with serving(echoes) as server:
        arguments = ("investsuite", "--against", f"http://{server.host}")
        assert run_check(*arguments, given=given, status=1)["response"]["code"] is None
        run_text(*arguments, given=given, status=1)
        assert b"canary-password" in server.requests[-1]


def granting(file: str, phase: str, body: dict[str, Any], status: int = 0) -> tuple[dict[str, Any], Server]:
    with serving(answers(json.dumps(body).encode())) as server:
        arguments = (file, "--against", f"http://{server.host}", "--phase", phase, "--var", "region=eu")
        return run_check(*arguments, given=given_for(phase), status=status), server


def test_one_request_is_sent_to_the_named_origin_and_the_profiles_path(file: str) -> None:
    found, server = granting(file, "refresh", GRANTED)
    [request] = server.requests
    assert request.startswith(b"POST /eu/token HTTP/1.1\r\n")
    assert request.endswith(b"grant_type=refresh_token&refresh_token=canary-refresh-token")
    assert found["request"]["url"] == f"http://{server.host}/eu/token"


def test_a_granted_answer_is_shown_as_it_is_read(file: str) -> None:
    answer = granting(file, "refresh", GRANTED)[0]["response"]
    assert (answer["scopes"], answer["other_scopes"], answer["token_type"]) == (["full"], 1, "another")
    assert answer["captured"] == {"site": "21 characters"}
    assert answer["refresh_token_is_new"] is True
    kept = granting(file, "refresh", {"access_token": "canary-access-token", "expires_in": 60})[0]["response"]
    assert kept["refresh_token_is_new"] is False


def test_an_answer_that_cannot_be_read_names_the_fields_that_look_like_it(file: str) -> None:
    body = {"accessTtoken": "canary-access-token", "expiresIn": 60, "canary-of-the-provider": 1}
    found = granting(file, "client_credentials", body, status=1)[0]
    assert found["error"]["code"] == "unreadable_response"
    assert (found["response"]["fields"], found["response"]["other_fields"]) == (["accessTtoken", "expiresIn"], 1)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "no JSON canary-client-secret",
        "[]",
        '{"client_id": 7}',
        '{"client_secrets": "canary-client-secret"}',
        "[" * 9999,
    ],
)
def test_what_is_no_entry_is_refused_before_anything_is_sent(file: str, given: str) -> None:
    with serving(answers()) as server:
        found = run_check(file, "--against", f"http://{server.host}", given=given, status=1)
        assert found["error"]["code"] == "invalid_client_entry"
        assert server.connections == 0


@pytest.mark.parametrize(
    ("phase", "typed", "sent"),
    [
        ("client_credentials", "app-1\ncanary-client-secret\n", b"client_secret=canary-client-secret"),
        ("refresh", "app-1\ncanary-client-secret\ncanary-refresh-token\n", b"refresh_token=canary-refresh-token"),
    ],
)
def test_at_a_terminal_it_asks_for_what_is_needed_and_shows_none_of_it(
    monkeypatch: pytest.MonkeyPatch, file: str, phase: str, typed: str, sent: bytes
) -> None:
    monkeypatch.setattr(trial_request, "is_interactive", lambda: True)
    with serving(answers(json.dumps(GRANTED).encode())) as server:
        arguments = (file, "--against", f"http://{server.host}", "--phase", phase, "--var", "region=eu")
        assert "Client secret (not shown)" in run_text(*arguments, given=typed)
        assert sent in server.requests[0]


def test_a_private_key_is_not_typed(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    monkeypatch.setattr(trial_request, "is_interactive", lambda: True)
    found = run_check(file, "--against", "https://acme.example", "--phase", "exchange", "--var", "region=eu", status=2)
    assert "--client" in found["error"]["message"]


def test_a_documented_lifetime_may_be_a_variable(file: str) -> None:
    path = Path(file)
    more = '[variables.days]\npattern = "[0-9]+"\ndefault = "60"\n[response]\nexpires = [{ default = "{days}" }]\n'
    path.write_text(ACME.replace("[response]\n", more), "utf-8")
    arguments = ("--var", "days=86400", "--var", "region=eu")
    assert run_check(file, *arguments)["refreshing"]["lifetime"] == 86_400
    with serving(answers(b'{"access_token": "canary-access-token"}')) as server:
        answer = run_check(file, *arguments, "--against", f"http://{server.host}", given=ENTRY)["response"]
    assert (answer["lifetime"], answer["expiry_rule"]) == (86_400, "default")


def test_a_pasted_key_sends_nothing_that_could_be_tried(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text('name = "keys"\ntitle = "Keys"\n[static]\ndescribe = "Settings."\n', "utf-8")
    assert run_check(str(path))["refreshing"] is None
    run_text(str(path), "--against", "https://acme.example", status=2)


@pytest.mark.parametrize("phase", ["refresh", "exchange"])
def test_a_phase_without_a_code_or_token_is_not_sent(file: str, phase: str) -> None:
    with serving(answers()) as server:
        arguments = (file, "--against", f"http://{server.host}", "--phase", phase, "--var", "region=eu")
        assert run_check(*arguments, given=ENTRY, status=1)["error"]["code"] == "invalid_request"
        assert server.connections == 0


def test_a_stored_client_is_sent_only_where_its_entry_allows(
    monkeypatch: pytest.MonkeyPatch, records: DynamoRecords, queue_url: str, file: str
) -> None:
    desk = Desk(monkeypatch, records, queue_url)
    with serving(answers(json.dumps(GRANTED).encode())) as server:
        store_client("acme", "api.acme.example")
        arguments = ("provider", "check", file, "--against", f"http://{server.host}", "--client")
        assert desk.error(*arguments, "acme")["code"] == "not_sent"
        assert server.connections == 0
        store_client("sandbox", server.host)
        assert desk.json(*arguments, "sandbox")["response"]["lifetime"] == 3600
        assert CLIENT_SECRET.encode() in server.requests[0]
        assert desk.error(*arguments, "nosuch")["code"] == "unknown_client"
