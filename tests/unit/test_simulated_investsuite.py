"""Protects the simulated InvestSuite: a login of its own in place of OAuth, a duration that is called `expires_at`,
refusals that have a status and no code, and an API that answers a dead token with 403.
"""

import base64
import json
from collections.abc import Iterator

import httpx
import pytest

from local.providers import INVESTSUITE, Client, Provider, ProviderServer, fingerprint
from local.providers.messages import TokenRequest
from tests.unit.simulated import Clock, Simulated, Tokens, tokens_of

_KEY = {"access_key_id": "key-1", "secret_access_key": "s3cret"}
_PERSON = {"username": "ada@example.com", "password": "pa55word"}
_CLIENT = Client("key-1", "s3cret", username="ada@example.com", password="pa55word")
_OTHER = Client("key-2", "s3cret-2")


@pytest.fixture(scope="module")
def running() -> Iterator[Simulated]:
    clock = Clock()
    provider = Provider(INVESTSUITE, clients=(_OTHER, _CLIENT), clock=clock)
    with ProviderServer(provider) as server, httpx.Client(base_url=server.url) as http:
        yield Simulated(provider, server, clock, http)


@pytest.fixture
def suite(running: Simulated) -> Simulated:
    running.provider.reset()
    return running


def _login(simulated: Simulated, fields: object = _KEY) -> httpx.Response:
    return simulated.http.post("/auth/login/", json=fields)


def _refresh(simulated: Simulated, refresh_token: str, **fields: str) -> httpx.Response:
    return simulated.http.post("/auth/refresh-token/", json={"refresh_token": refresh_token, **fields})


def _connect(simulated: Simulated) -> Tokens:
    return tokens_of(_login(simulated))


def _portfolios(simulated: Simulated, token: str) -> httpx.Response:
    return simulated.http.get("/portfolios/", headers={"authorization": f"Bearer {token}"})


def _read_refusal(answer: httpx.Response) -> int:
    """Return the status of a refusal, which says why and carries neither an OAuth error nor tokens."""
    assert answer.json().keys() == {"message"}
    return answer.status_code


# --- the login ---


@pytest.mark.parametrize("fields", [_KEY, _PERSON])
def test_login_answers_both_tokens_and_a_duration_called_expires_at(suite: Simulated, fields: dict[str, str]) -> None:
    """A log-in answers both tokens, and a duration that is called expires_at."""
    answer = _login(suite, fields)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json().keys() == {"access_token", "refresh_token", "expires_at"}
    assert answer.json()["expires_at"] == 300
    assert _portfolios(suite, answer.json()["access_token"]).status_code == 200


def test_the_access_token_is_a_jwt_that_expires_when_the_answer_says(suite: Simulated) -> None:
    token = _connect(suite).access_token
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    assert (header["alg"], header["typ"], header["kid"]) == ("HS256", "JWT", "investsuite_access")
    assert claims["exp"] == suite.clock.now + 300
    assert token.count(".") == 2
    assert token != _connect(suite).access_token


@pytest.mark.parametrize("changed", [*_KEY, *_PERSON])
def test_wrong_credentials_are_401(suite: Simulated, changed: str) -> None:
    fields = _KEY if changed in _KEY else _PERSON
    assert _read_refusal(_login(suite, {**fields, changed: "wrong"})) == 401


@pytest.mark.parametrize(
    "fields",
    [
        {"access_key_id": "ada@example.com", "secret_access_key": "pa55word"},
        {"username": "key-1", "password": "s3cret"},
        {"access_key_id": "key-1", "secret_access_key": "s3cret-2"},
    ],
)
def test_credentials_of_one_kind_or_client_are_not_another_ones(suite: Simulated, fields: dict[str, str]) -> None:
    assert _read_refusal(_login(suite, fields)) == 401


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"access_key_id": "key-1"},
        {"secret_access_key": "s3cret"},
        {"username": "ada@example.com"},
        {"access_key_id": "key-1", "secret_access_key": ""},
        {"access_key_id": "key-1", "password": "pa55word"},
        {**_KEY, **_PERSON},
        {**_KEY, "grant_type": "client_credentials"},
        {"client_id": "key-1", "client_secret": "s3cret"},
        {"access_key_id": "key-1", "secret_access_key": 1},
        [],
        "text",
    ],
)
def test_a_login_with_fields_missing_mixed_or_unknown_is_400(suite: Simulated, fields: object) -> None:
    assert _read_refusal(_login(suite, fields)) == 400


@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b'{"username": "a", "username": "a", "password": "b"}'])
def test_a_body_that_is_no_json_object_is_400(suite: Simulated, body: bytes) -> None:
    answer = suite.http.post("/auth/login/", content=body, headers={"content-type": "application/json"})
    assert _read_refusal(answer) == 400


@pytest.mark.parametrize("path", ["/auth/login/", "/auth/refresh-token/"])
def test_a_form_is_refused(suite: Simulated, path: str) -> None:
    fields = _KEY if path == "/auth/login/" else {"refresh_token": _connect(suite).refresh_token}
    assert _read_refusal(suite.http.post(path, data=fields)) == 415


@pytest.mark.parametrize("path", ["/auth/login/", "/auth/refresh-token/"])
def test_credentials_belong_neither_in_a_header_nor_in_the_address(suite: Simulated, path: str) -> None:
    fields = _KEY if path == "/auth/login/" else {"refresh_token": _connect(suite).refresh_token}
    assert _read_refusal(suite.http.post(path, json=fields, auth=("key-1", "s3cret"))) == 400
    assert _read_refusal(suite.http.post(f"{path}?access_key_id=key-1", json=fields)) == 400
    assert suite.http.post(path, json=fields).status_code == 200


@pytest.mark.parametrize("path", ["/auth/login", "/auth/refresh-token", "/oauth/token", "/portfolios"])
def test_an_address_without_its_slash_is_another_address(suite: Simulated, path: str) -> None:
    assert suite.http.post(path, json=_KEY).status_code == 404


def test_a_request_to_an_unknown_address_is_answered_as_not_found(suite: Simulated) -> None:
    headers = {"content-type": "application/json"}
    assert suite.provider.token(TokenRequest(headers, json.dumps(_KEY).encode())).status == 404


# --- the refresh ---


def test_refresh_answers_as_login_does_with_a_new_pair(suite: Simulated) -> None:
    first = _connect(suite)
    answer = _refresh(suite, first.refresh_token)
    assert answer.json().keys() == {"access_token", "refresh_token", "expires_at"}
    second = tokens_of(answer)
    assert second.refresh_token != first.refresh_token
    assert second.access_token != first.access_token
    assert _portfolios(suite, first.access_token).status_code == 200


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("why", ["unknown", "used", "expired", "revoked"])
def test_a_dead_refresh_token_is_refused_with_the_status_that_is_set(suite: Simulated, status: int, why: str) -> None:
    suite.tell("settings", {"dead_refresh_token": status, "refresh_token_lifetime": 1000})
    token = _connect(suite).refresh_token
    match why:
        case "unknown":
            token = "unknown"
        case "used":
            tokens_of(_refresh(suite, token))
        case "expired":
            suite.clock.advance(1000)
        case "revoked":
            suite.tell("revoke", {"grant": "grant-1"})
    assert _read_refusal(_refresh(suite, token)) == status


def test_a_login_helps_after_a_refused_refresh(suite: Simulated) -> None:
    tokens = _connect(suite)
    suite.tell("revoke", {"all": True})
    assert _read_refusal(_refresh(suite, tokens.refresh_token)) == 401
    assert _portfolios(suite, _connect(suite).access_token).status_code == 200


def test_a_reused_refresh_token_ends_its_login_and_no_other(suite: Simulated) -> None:
    first, other = _connect(suite), _connect(suite)
    second = tokens_of(_refresh(suite, first.refresh_token))
    assert _read_refusal(_refresh(suite, first.refresh_token)) == 401
    assert _read_refusal(_refresh(suite, second.refresh_token)) == 401
    assert _portfolios(suite, second.access_token).status_code == 403
    tokens_of(_refresh(suite, other.refresh_token))
    assert suite.ask("stats")["refresh_reuse"] == 1


def test_refresh_tokens_can_be_made_reusable(suite: Simulated) -> None:
    suite.tell("settings", {"single_use_refresh_tokens": False, "refresh_token_lifetime": 100})
    first = _connect(suite)
    for _ in range(2):
        suite.clock.advance(40)
        assert tokens_of(_refresh(suite, first.refresh_token)).refresh_token == first.refresh_token
    suite.clock.advance(20)
    assert _read_refusal(_refresh(suite, first.refresh_token)) == 401


@pytest.mark.parametrize("fields", [{}, {"refresh_token": ""}, {"refresh_token": None}, {"token": "a"}])
def test_a_refresh_without_its_token_is_400(suite: Simulated, fields: dict[str, object]) -> None:
    assert _read_refusal(suite.http.post("/auth/refresh-token/", json=fields)) == 400


@pytest.mark.parametrize("fields", [{"grant_type": "refresh_token"}, _KEY, _PERSON])
def test_a_refresh_with_more_than_its_token_is_400_and_uses_nothing(suite: Simulated, fields: dict[str, str]) -> None:
    tokens = _connect(suite)
    assert _read_refusal(_refresh(suite, tokens.refresh_token, **fields)) == 400
    tokens_of(_refresh(suite, tokens.refresh_token))


# --- the API and the control interface ---


def test_a_dead_token_is_403_and_no_token_is_401(suite: Simulated) -> None:
    tokens = _connect(suite)
    suite.clock.advance(299)
    assert _portfolios(suite, tokens.access_token).status_code == 200
    suite.clock.advance(1)
    assert _read_refusal(_portfolios(suite, tokens.access_token)) == 403
    assert _read_refusal(_portfolios(suite, "unknown")) == 403
    assert _read_refusal(_portfolios(suite, tokens.refresh_token)) == 403
    assert _read_refusal(suite.http.get("/portfolios/")) == 401


def test_a_jwt_that_was_tampered_with_is_403(suite: Simulated) -> None:
    header, claims, _ = _connect(suite).access_token.split(".")
    assert _read_refusal(_portfolios(suite, f"{header}.{claims}.")) == 403


def test_lifetimes_and_credentials_can_be_changed_while_it_runs(suite: Simulated) -> None:
    suite.tell("settings", {"access_token_lifetime": 5})
    suite.tell("clients", {"client_id": "key-1", "client_secret": "renewed", "username": "ada", "password": "new"})
    assert _read_refusal(_login(suite)) == 401
    answer = _login(suite, {**_KEY, "secret_access_key": "renewed"})
    assert answer.json()["expires_at"] == 5
    assert _login(suite, {"username": "ada", "password": "new"}).status_code == 200
    suite.clock.advance(5)
    assert _read_refusal(_portfolios(suite, answer.json()["access_token"])) == 403


def test_stats_and_requests_tell_refusals_by_their_status(suite: Simulated) -> None:
    first = _connect(suite)
    second = tokens_of(_refresh(suite, first.refresh_token))
    _login(suite, {**_KEY, "secret_access_key": "wrong"})
    assert suite.ask("stats")["token_requests"] == {
        "total": 3,
        "ok": 2,
        "by_outcome": {"login": {"ok": 1, "401": 1}, "refresh_token": {"ok": 1}},
    }
    login, refresh, refused = suite.provider.requests()
    assert login["fields"] == {"access_key_id": "key-1", "secret_access_key": {"fingerprint": fingerprint("s3cret")}}
    issued = {"access_token": second.access_token, "refresh_token": second.refresh_token}
    assert refresh["issued"] == {name: fingerprint(value) for name, value in issued.items()}
    assert (refused["status"], refused["error"]) == (401, "401")


def test_replay_all_refuses_used_tokens_and_leaves_the_login_alive(suite: Simulated) -> None:
    first = _connect(suite)
    tokens = tokens_of(_refresh(suite, first.refresh_token))
    assert suite.tell("replay-all")["results"] == [
        {
            "refresh_token": fingerprint(first.refresh_token),
            "grant": "grant-1",
            "status": 401,
            "error": None,
            "refused": True,
        }
    ]
    tokens_of(_refresh(suite, tokens.refresh_token))


def test_nothing_that_is_shown_holds_a_secret(suite: Simulated) -> None:
    first = _connect(suite)
    _login(suite, _PERSON)
    second = tokens_of(_refresh(suite, first.refresh_token))
    shown = json.dumps([suite.ask(what) for what in ("stats", "grants", "requests", "settings")])
    shown += json.dumps(suite.tell("replay-all")) + repr(suite.provider._state) + repr(_CLIENT)
    for secret in (
        "s3cret",
        "pa55word",
        *(vars(first) | {"a": second.access_token, "r": second.refresh_token}).values(),
    ):
        assert secret not in shown
