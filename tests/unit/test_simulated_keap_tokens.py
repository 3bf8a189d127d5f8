"""Protects the simulated Keap's refresh and API: refresh tokens work once, a reuse costs the whole grant, and a
dead token is refused in Keap's own words. A rotation that passes here has not been flattered by a lenient server.
"""

import json
from collections.abc import Iterator

import httpx
import pytest

from local.providers import KEAP, Provider, ProviderServer
from tests.unit.simulated import APPLICATION, STRANGER, Clock, Simulated, refusal, tokens_of


@pytest.fixture(scope="module")
def running() -> Iterator[Simulated]:
    clock = Clock()
    provider = Provider(KEAP, clients=(APPLICATION, STRANGER), clock=clock)
    with ProviderServer(provider) as server, httpx.Client(base_url=server.url) as http:
        yield Simulated(provider, server, clock, http)


@pytest.fixture
def keap(running: Simulated) -> Simulated:
    running.provider.reset()
    return running


# --- the refresh ---


def test_refresh_answers_a_new_pair_of_tokens(keap: Simulated) -> None:
    first = keap.connect()
    answer = keap.refresh(first.refresh_token)
    second = tokens_of(answer)
    assert answer.headers["cache-control"] == "no-store"
    assert (answer.json()["expires_in"], answer.json()["scope"]) == (86400, "full")
    assert second.refresh_token != first.refresh_token
    assert second.access_token != first.access_token
    tokens_of(keap.refresh(second.refresh_token))
    assert keap.ask("stats")["rotations"] == 2


def test_a_reused_refresh_token_ends_the_whole_grant(keap: Simulated) -> None:
    first = keap.connect()
    second = tokens_of(keap.refresh(first.refresh_token))

    assert refusal(keap.refresh(first.refresh_token)) == (400, "invalid_grant")

    assert refusal(keap.refresh(second.refresh_token)) == (400, "invalid_grant")
    assert keap.contacts(first.access_token).status_code == 401
    assert keap.contacts(second.access_token).status_code == 401
    stats = keap.ask("stats")
    assert stats["grants"] == {"total": 1, "live": 0, "revoked": 1}
    assert stats["refresh_reuse"] == 1


def test_a_reuse_leaves_other_grants_alone(keap: Simulated) -> None:
    first, other = keap.connect(), keap.connect()
    keap.refresh(first.refresh_token)
    keap.refresh(first.refresh_token)
    tokens_of(keap.refresh(other.refresh_token))


def test_another_client_can_neither_use_nor_burn_a_refresh_token(keap: Simulated) -> None:
    first = keap.connect()
    assert refusal(keap.refresh(first.refresh_token, STRANGER)) == (400, "invalid_grant")
    second = tokens_of(keap.refresh(first.refresh_token))
    assert refusal(keap.refresh(first.refresh_token, STRANGER)) == (400, "invalid_grant")
    tokens_of(keap.refresh(second.refresh_token))


def test_a_refresh_token_lives_180_days_and_every_refresh_renews_it(keap: Simulated) -> None:
    tokens = keap.connect()
    for _ in range(3):
        keap.clock.advance(180 * 86400 - 1)
        tokens = tokens_of(keap.refresh(tokens.refresh_token))
    keap.clock.advance(180 * 86400)
    assert refusal(keap.refresh(tokens.refresh_token)) == (400, "invalid_grant")


def test_an_expired_refresh_token_is_no_reuse(keap: Simulated) -> None:
    tokens = keap.connect()
    keap.clock.advance(180 * 86400)
    keap.refresh(tokens.refresh_token)
    assert keap.ask("stats")["refresh_reuse"] == 0


@pytest.mark.parametrize("why", ["unknown", "used", "expired", "revoked"])
def test_a_dead_refresh_token_can_be_refused_in_keaps_other_words(keap: Simulated, why: str) -> None:
    keap.tell("settings", {"dead_refresh_token": "invalid_request"})
    token = keap.connect().refresh_token
    match why:
        case "unknown":
            token = "unknown"
        case "used":
            tokens_of(keap.refresh(token))
        case "expired":
            keap.clock.advance(180 * 86400)
        case "revoked":
            keap.provider.revoke()
    answer = keap.refresh(token)
    assert answer.status_code == 400
    assert answer.json() == {"error": "invalid_request", "error_description": "Invalid Refresh Token"}


@pytest.mark.parametrize("fields", [{"client_id": APPLICATION.client_id}, {"client_secret": APPLICATION.client_secret}])
def test_refresh_refuses_the_client_in_the_body_beside_basic(keap: Simulated, fields: dict[str, str]) -> None:
    tokens = keap.connect()
    assert refusal(keap.refresh(tokens.refresh_token, fields=fields)) == (400, "invalid_request")
    tokens_of(keap.refresh(tokens.refresh_token))


def test_refresh_with_the_client_only_in_the_body_is_invalid_client(keap: Simulated) -> None:
    tokens = keap.connect()
    fields = {"client_id": APPLICATION.client_id, "client_secret": APPLICATION.client_secret}
    answer = keap.refresh(tokens.refresh_token, client=None, fields=fields)
    assert refusal(answer) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")
    tokens_of(keap.refresh(tokens.refresh_token))


@pytest.mark.parametrize(
    "header",
    [
        "Basic YXBwLTE6d3Jvbmc=",  # the wrong secret
        "Basic bm9ib2R5OnNlY3JldA==",  # an unknown client
        "Basic YXBwLTE=",  # no colon
        "Basic not base64",
        "Basic",
        "Bearer YXBwLTE6d3Jvbmc=",
    ],
)
def test_refresh_with_a_wrong_authorization_header_is_invalid_client(keap: Simulated, header: str) -> None:
    tokens = keap.connect()
    fields = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token}
    answer = keap.http.post("/token", data=fields, headers={"authorization": header})
    assert refusal(answer) == (401, "invalid_client")
    tokens_of(keap.refresh(tokens.refresh_token))


def test_refresh_without_its_token_is_an_invalid_request(keap: Simulated) -> None:
    assert refusal(keap.refresh("")) == (400, "invalid_request")


def test_refresh_cannot_widen_the_scope(keap: Simulated) -> None:
    tokens = keap.connect()
    assert refusal(keap.refresh(tokens.refresh_token, fields={"scope": "full admin"})) == (400, "invalid_scope")


# --- what any token request must look like ---


@pytest.mark.parametrize("grant_type", ["client_credentials", "password", "no-such-thing"])
def test_an_unknown_grant_type_is_unsupported(keap: Simulated, grant_type: str) -> None:
    answer = keap.exchange("code", grant_type=grant_type)
    assert refusal(answer) == (400, "unsupported_grant_type")


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
def test_another_content_type_than_a_forms_is_refused(keap: Simulated, content_type: str | None) -> None:
    tokens = keap.connect()
    body = json.dumps({"grant_type": "refresh_token", "refresh_token": tokens.refresh_token})
    answer = keap.http.post(
        "/token",
        content=body,
        headers={"content-type": content_type} if content_type else {},
        auth=(APPLICATION.client_id, APPLICATION.client_secret),
    )
    assert refusal(answer) == (415, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        b"grant_type=refresh_token&refresh_token=a&refresh_token=b",
        b"grant_type=refresh_token&refresh_token=%zz",
        b"grant_type=refresh_token&refresh_token=%ff",
        b"grant_type=refresh_token&refresh_token",
        b"\xff\xfe",
        b"",
    ],
)
def test_a_form_that_is_malformed_is_an_invalid_request(keap: Simulated, body: bytes) -> None:
    answer = keap.http.post(
        "/token",
        content=body,
        headers={"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
        auth=(APPLICATION.client_id, APPLICATION.client_secret),
    )
    assert refusal(answer) == (400, "invalid_request")


def test_parameters_do_not_belong_in_the_address(keap: Simulated) -> None:
    fields = {"grant_type": "refresh_token", "refresh_token": keap.connect().refresh_token}
    answer = keap.http.post("/token?scope=full", data=fields, auth=(APPLICATION.client_id, APPLICATION.client_secret))
    assert refusal(answer) == (400, "invalid_request")


def test_the_token_endpoint_takes_nothing_but_post(keap: Simulated) -> None:
    assert keap.http.get("/token").status_code == 405


# --- the API ---


def test_contacts_are_served_to_a_good_token(keap: Simulated) -> None:
    answer = keap.contacts(keap.connect().access_token)
    assert answer.status_code == 200
    assert answer.json()["count"] == 2


def test_an_access_token_dies_to_the_second(keap: Simulated) -> None:
    tokens = keap.connect()
    keap.clock.advance(86399)
    assert keap.contacts(tokens.access_token).status_code == 200
    keap.clock.advance(1)
    answer = keap.contacts(tokens.access_token)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="Keap", error="invalid_token"'


@pytest.mark.parametrize("header", ["Bearer unknown", "Bearer", "Basic YTpi", "Bearer two tokens", ""])
def test_an_unknown_token_is_401_with_a_challenge(keap: Simulated, header: str) -> None:
    answer = keap.http.get("/v1/contacts", headers={"authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_a_call_without_credentials_gets_no_error_code(keap: Simulated) -> None:
    answer = keap.http.get("/v1/contacts")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="Keap"'


def test_a_token_in_the_address_is_no_credential(keap: Simulated) -> None:
    assert keap.http.get(f"/v1/contacts?access_token={keap.connect().access_token}").status_code == 401


def test_a_refresh_token_is_no_access_token(keap: Simulated) -> None:
    assert keap.contacts(keap.connect().refresh_token).status_code == 401


def test_the_old_access_token_outlives_a_refresh(keap: Simulated) -> None:
    first = keap.connect()
    keap.refresh(first.refresh_token)
    assert keap.contacts(first.access_token).status_code == 200
    keap.clock.advance(86400)
    assert keap.contacts(first.access_token).status_code == 401


def test_the_old_access_token_dies_at_once_where_that_is_switched_on(keap: Simulated) -> None:
    keap.tell("settings", {"old_access_token_dies": True})
    first = keap.connect()
    second = tokens_of(keap.refresh(first.refresh_token))
    assert keap.contacts(first.access_token).status_code == 401
    assert keap.contacts(second.access_token).status_code == 200


def test_lifetimes_can_be_changed_to_seconds_while_it_runs(keap: Simulated) -> None:
    day = keap.connect()
    keap.tell("settings", {"access_token_lifetime": 5, "refresh_token_lifetime": 30})
    answer = keap.refresh(day.refresh_token)
    seconds = tokens_of(answer)
    assert answer.json()["expires_in"] == 5
    keap.clock.advance(5)
    assert keap.contacts(seconds.access_token).status_code == 401
    assert keap.contacts(day.access_token).status_code == 200
    keap.clock.advance(25)
    assert refusal(keap.refresh(seconds.refresh_token)) == (400, "invalid_grant")
