"""Protects the simulated InvestReady: the client in the body of every token request, a refresh that must repeat the
redirect URI of its authorization, users who revoke, and tokens of the application itself.
"""

from collections.abc import Iterator
from urllib.parse import urlencode

import httpx
import pytest

from local.providers import INVESTREADY, Client, Provider, ProviderServer
from tests.unit.simulated import APPLICATION, REDIRECT_URI, Clock, Simulated, Tokens, query_of, refusal, tokens_of

_OTHER_URI = "http://localhost:4566/other"
_CLIENT = Client("app-1", "s3cret:with/colon", redirect_uris=(REDIRECT_URI, _OTHER_URI), name="Acme Reports")
_STRANGER = Client("app-2", "other-secret", redirect_uris=(REDIRECT_URI,))
_CREDENTIALS = {"client_id": _CLIENT.client_id, "client_secret": _CLIENT.client_secret}
_DAY = 86400
_TWO_YEARS = 730 * _DAY


@pytest.fixture(scope="module")
def running() -> Iterator[Simulated]:
    clock = Clock()
    provider = Provider(INVESTREADY, clients=(_CLIENT, _STRANGER), clock=clock)
    with ProviderServer(provider) as server, httpx.Client(base_url=server.url) as http:
        yield Simulated(provider, server, clock, http)


@pytest.fixture
def ready(running: Simulated) -> Simulated:
    running.provider.reset()
    return running


def _authorize_url(redirect_uri: str = REDIRECT_URI, **changes: str) -> str:
    query = {"response_type": "code", "client_id": "app-1", "redirect_uri": redirect_uri, "state": "s", **changes}
    return f"/oauth/authorize?{urlencode(query)}"


def _ask(simulated: Simulated, *, without: str | None = None, **fields: str) -> httpx.Response:
    body = {**_CREDENTIALS, **fields}
    return simulated.http.post("/oauth/token", data={name: body[name] for name in body if name != without})


def _allow(simulated: Simulated, redirect_uri: str = REDIRECT_URI) -> str:
    answer = simulated.http.post(_authorize_url(redirect_uri), data={"decision": "allow"})
    assert answer.status_code == 303, answer.text
    return query_of(answer)["code"]


def _connect(simulated: Simulated, redirect_uri: str = REDIRECT_URI) -> Tokens:
    code = _allow(simulated, redirect_uri)
    return tokens_of(_ask(simulated, grant_type="authorization_code", code=code, redirect_uri=redirect_uri))


def _refresh(simulated: Simulated, refresh_token: str, *, without: str | None = None, **changes: str) -> httpx.Response:
    fields = {"grant_type": "refresh_token", "refresh_token": refresh_token, "redirect_uri": REDIRECT_URI, **changes}
    return _ask(simulated, without=without, **fields)


def _application_token(simulated: Simulated, **changes: str) -> httpx.Response:
    return _ask(simulated, grant_type="client_credentials", **changes)


def _verifications(simulated: Simulated, token: str) -> httpx.Response:
    return simulated.http.get("/api/verifications", headers={"authorization": f"Bearer {token}"})


# --- the authorization ---


def test_consent_page_names_the_application_and_both_answers_lead_back(ready: Simulated) -> None:
    page = ready.http.get(_authorize_url())
    assert page.status_code == 200
    assert "Acme Reports" in page.text
    assert "InvestReady" in page.text
    denied = query_of(ready.http.post(_authorize_url(), data={"decision": "deny"}))
    assert (denied["error"], denied["state"]) == ("access_denied", "s")
    assert "code" in query_of(ready.http.post(_authorize_url(), data={"decision": "allow"}))


def test_a_redirect_uri_that_is_not_registered_gets_no_redirect(ready: Simulated) -> None:
    assert ready.http.get(_authorize_url(f"{REDIRECT_URI}/")).status_code == 400


def test_exchange_answers_the_three_documented_fields(ready: Simulated) -> None:
    answer = _ask(ready, grant_type="authorization_code", code=_allow(ready), redirect_uri=REDIRECT_URI)
    assert answer.json().keys() == {"access_token", "refresh_token", "expires_in"}
    assert answer.json()["expires_in"] == 90 * _DAY
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("field", ["code", "redirect_uri", "grant_type"])
def test_an_exchange_without_a_field_is_an_invalid_request(ready: Simulated, field: str) -> None:
    fields = {"grant_type": "authorization_code", "code": _allow(ready), "redirect_uri": REDIRECT_URI}
    assert refusal(_ask(ready, without=field, **fields)) == (400, "invalid_request")


def test_an_exchange_with_another_redirect_uri_is_invalid_grant(ready: Simulated) -> None:
    answer = _ask(ready, grant_type="authorization_code", code=_allow(ready), redirect_uri=_OTHER_URI)
    assert refusal(answer) == (400, "invalid_grant")


# --- the refresh ---


def test_refresh_answers_a_new_pair_and_the_old_refresh_token_is_used(ready: Simulated) -> None:
    first = _connect(ready)
    answer = _refresh(ready, first.refresh_token)
    assert answer.json().keys() == {"access_token", "refresh_token", "expires_in"}
    second = tokens_of(answer)
    assert second.refresh_token != first.refresh_token
    assert _verifications(ready, first.access_token).status_code == 200
    assert refusal(_refresh(ready, first.refresh_token)) == (400, "invalid_grant")
    assert ready.ask("stats")["refresh_reuse"] == 1


def test_refresh_without_the_redirect_uri_is_an_invalid_request(ready: Simulated) -> None:
    tokens = _connect(ready)
    assert refusal(_refresh(ready, tokens.refresh_token, without="redirect_uri")) == (400, "invalid_request")
    assert refusal(_refresh(ready, tokens.refresh_token, redirect_uri="")) == (400, "invalid_request")
    tokens_of(_refresh(ready, tokens.refresh_token))


@pytest.mark.parametrize(
    "redirect_uri",
    [_OTHER_URI, f"{REDIRECT_URI}/", f"{REDIRECT_URI}?a=b", REDIRECT_URI.upper(), REDIRECT_URI.replace(":4566", "")],
)
def test_refresh_with_another_redirect_uri_is_invalid_and_uses_nothing(ready: Simulated, redirect_uri: str) -> None:
    """A refresh with another redirect URI is invalid_grant, and does not use the refresh token."""
    tokens = _connect(ready)
    assert refusal(_refresh(ready, tokens.refresh_token, redirect_uri=redirect_uri)) == (400, "invalid_grant")
    tokens_of(_refresh(ready, tokens.refresh_token))


def test_every_refresh_repeats_the_redirect_uri_of_its_own_authorization(ready: Simulated) -> None:
    tokens = _connect(ready, _OTHER_URI)
    for _ in range(2):
        assert refusal(_refresh(ready, tokens.refresh_token)) == (400, "invalid_grant")
        tokens = tokens_of(_refresh(ready, tokens.refresh_token, redirect_uri=_OTHER_URI))


def test_access_tokens_live_90_days_and_refresh_tokens_two_years(ready: Simulated) -> None:
    tokens, expired = _connect(ready), _connect(ready)
    ready.clock.advance(90 * _DAY - 1)
    assert _verifications(ready, tokens.access_token).status_code == 200
    ready.clock.advance(1)
    assert _verifications(ready, tokens.access_token).status_code == 401
    ready.clock.advance(_TWO_YEARS - 90 * _DAY - 1)
    tokens_of(_refresh(ready, tokens.refresh_token))
    ready.clock.advance(1)
    assert refusal(_refresh(ready, expired.refresh_token)) == (400, "invalid_grant")
    assert ready.ask("stats")["refresh_reuse"] == 0


def test_lifetimes_can_be_changed_while_it_runs(ready: Simulated) -> None:
    ready.tell("settings", {"access_token_lifetime": 5, "refresh_token_lifetime": 30})
    tokens = _connect(ready)
    ready.clock.advance(5)
    assert _verifications(ready, tokens.access_token).status_code == 401
    ready.clock.advance(25)
    assert refusal(_refresh(ready, tokens.refresh_token)) == (400, "invalid_grant")


def test_a_user_who_revokes_ends_that_grant_alone(ready: Simulated) -> None:
    tokens, other = _connect(ready), _connect(ready)
    application = _application_token(ready).json()["access_token"]
    assert ready.tell("revoke", {"grant": "grant-1"}) == {"revoked": ["grant-1"]}
    assert _verifications(ready, tokens.access_token).status_code == 401
    assert refusal(_refresh(ready, tokens.refresh_token)) == (400, "invalid_grant")
    assert _verifications(ready, application).status_code == 200
    tokens_of(_refresh(ready, other.refresh_token))


def test_replay_all_repeats_the_right_redirect_uri(ready: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens_of(_refresh(ready, _connect(ready, _OTHER_URI).refresh_token, redirect_uri=_OTHER_URI))
    assert ready.tell("replay-all")["refused"] == 1
    # Were used tokens taken, nothing else about the replay may have it refused.
    monkeypatch.setattr("local.providers.state.State.is_refresh_token_valid", lambda state, token, now: True)
    assert ready.tell("replay-all")["accepted"] == 1


# --- the client ---


@pytest.mark.parametrize("grant_type", ["authorization_code", "refresh_token", "client_credentials"])
@pytest.mark.parametrize(
    "changes",
    [{"client_secret": "wrong"}, {"client_id": "absent"}, {"without": "client_secret"}, {"without": "client_id"}],
)
def test_a_client_that_does_not_prove_itself_is_invalid_client(
    ready: Simulated, grant_type: str, changes: dict[str, str]
) -> None:
    fields = {"grant_type": grant_type, "code": "c", "refresh_token": "r", "redirect_uri": REDIRECT_URI}
    assert refusal(_ask(ready, **{**fields, **changes})) == (401, "invalid_client")


@pytest.mark.parametrize("fields", [{}, _CREDENTIALS])
def test_basic_is_refused_with_or_without_the_body(ready: Simulated, fields: dict[str, str]) -> None:
    tokens = _connect(ready)
    answer = ready.http.post(
        "/oauth/token",
        data={"grant_type": "refresh_token", "refresh_token": tokens.refresh_token, "redirect_uri": REDIRECT_URI}
        | fields,
        auth=(APPLICATION.client_id, APPLICATION.client_secret),
    )
    assert refusal(answer) == (401, "invalid_client")
    tokens_of(_refresh(ready, tokens.refresh_token))


def test_another_client_can_neither_use_nor_burn_a_refresh_token(ready: Simulated) -> None:
    tokens = _connect(ready)
    stranger = {"client_id": _STRANGER.client_id, "client_secret": _STRANGER.client_secret}
    assert refusal(_refresh(ready, tokens.refresh_token, **stranger)) == (400, "invalid_grant")
    tokens_of(_refresh(ready, tokens.refresh_token))


def test_json_is_refused(ready: Simulated) -> None:
    answer = ready.http.post("/oauth/token", json={"grant_type": "client_credentials", **_CREDENTIALS})
    assert refusal(answer) == (415, "invalid_request")


# --- tokens of the application ---


def test_an_application_token_has_no_refresh_token_and_lives_90_days(ready: Simulated) -> None:
    """An application token comes without a refresh token, and does not outlive 90 days."""
    answer = _application_token(ready)
    assert answer.status_code == 200
    assert answer.json().keys() == {"access_token", "expires_in"}
    assert _verifications(ready, answer.json()["access_token"]).status_code == 200
    ready.clock.advance(90 * _DAY)
    assert _verifications(ready, answer.json()["access_token"]).status_code == 401


def test_a_client_whose_standing_is_revoked_is_invalid_client(ready: Simulated) -> None:
    token = _application_token(ready).json()["access_token"]
    ready.tell("revoke", {"client_id": _CLIENT.client_id})
    assert _verifications(ready, token).status_code == 401
    assert refusal(_application_token(ready)) == (401, "invalid_client")


def test_an_audience_is_required_only_of_clients_registered_with_one(ready: Simulated) -> None:
    """An audience is asked for only where the client is registered with one."""
    ready.tell("clients", {"client_id": "app-3", "client_secret": "s", "audience": "https://api.example"})
    client = {"client_id": "app-3", "client_secret": "s"}
    assert refusal(_application_token(ready, **client)) == (403, "access_denied")
    assert _application_token(ready, **client, audience="https://api.example").status_code == 200


def test_another_grant_type_is_unsupported(ready: Simulated) -> None:
    assert refusal(_ask(ready, grant_type="password")) == (400, "unsupported_grant_type")


def test_stats_count_each_kind_of_request_by_itself(ready: Simulated) -> None:
    tokens = _connect(ready)
    _application_token(ready)
    _refresh(ready, tokens.refresh_token)
    _refresh(ready, "unknown")
    assert ready.ask("stats")["token_requests"] == {
        "total": 4,
        "ok": 3,
        "by_outcome": {
            "authorization_code": {"ok": 1},
            "client_credentials": {"ok": 1},
            "refresh_token": {"ok": 1, "invalid_grant": 1},
        },
    }


# --- revocation ---


def _revoke(simulated: Simulated, *, without: str | None = None, **fields: str) -> httpx.Response:
    body = {**_CREDENTIALS, **fields}
    return simulated.http.post("/oauth/revoke", data={name: body[name] for name in body if name != without})


def _connect_application(simulated: Simulated) -> Tokens:
    code = _allow(simulated)
    return tokens_of(_ask(simulated, grant_type="authorization_code", code=code, redirect_uri=REDIRECT_URI))


def test_revoking_a_token_ends_its_grant_and_shows_no_secrets(ready: Simulated) -> None:
    """A revoked refresh token ends its grant, and what arrived is shown without secrets."""
    tokens = _connect_application(ready)
    answer = _revoke(ready, token=tokens.refresh_token, token_type_hint="refresh_token")
    assert (answer.status_code, answer.content) == (200, b"")
    [seen] = ready.provider.revocations()
    assert seen["status"] == 200
    assert tokens.refresh_token not in str(seen)
    assert "refresh_token" in str(seen)
    assert ready.provider.grants()[0]["revoked_because"] == "revocation"


def test_revoking_an_unknown_or_foreign_token_answers_alike(ready: Simulated) -> None:
    """A token that is unknown or another client's is answered alike, and ends nothing."""
    tokens = _connect_application(ready)
    assert _revoke(ready, token="unknown").status_code == 200
    stranger = {"client_id": _STRANGER.client_id, "client_secret": _STRANGER.client_secret}
    assert _revoke(ready, token=tokens.refresh_token, **stranger).status_code == 200
    assert ready.provider.grants()[0]["revoked_at"] is None


@pytest.mark.parametrize(
    ("without", "fields", "status"),
    [
        ("token", {}, 400),
        ("client_secret", {}, 401),
        (None, {"client_secret": "wrong"}, 401),
        (None, {"token_type_hint": "id_token"}, 400),
    ],
)
def test_a_revocation_that_is_not_as_the_standard_has_it_is_refused(
    ready: Simulated, without: str | None, fields: dict[str, str], status: int
) -> None:
    tokens = _connect_application(ready)
    assert _revoke(ready, without=without, **{"token": tokens.refresh_token, **fields}).status_code == status
    assert ready.provider.grants()[0]["revoked_at"] is None
