"""Protects the five systems to be spoken from day one: every request to the byte, every answer as it is read."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from evergrant.errors import InvalidClient
from evergrant.http_messages import HttpRequest
from evergrant.oauth.authorization_request import build_authorization_url
from evergrant.oauth.client import Client
from evergrant.oauth.error_response import Refusal
from evergrant.oauth.token_request import Phase, build_token_request, choose_phase
from evergrant.oauth.token_response import parse_token_response
from evergrant.oauth.token_set import TokenSet
from evergrant.profiles import built_in
from evergrant.profiles.model import HEADLESS_GRANTS
from evergrant.record.token_document import build_consumer_headers
from evergrant.secret import Secret
from tests.unit.samples import KEAP, NOW, WEALTHYHOOD, form_of, respond, tokens

INVESTREADY = built_in.load_built_in()["investready"]
MODELPORTFOLIOS = built_in.load_built_in()["modelportfolios"]
INVESTSUITE = built_in.load_built_in()["investsuite"]
HOST = {"host": "api.example.com"}
CALLBACK = "https://e.example.com/callback"
REGISTERED = Client("acme", "client-1", (Secret("hush"),), ("api.example.com",))
KEYS = {"access_key_id": Secret("AK1"), "secret_access_key": Secret("s/k")}
PERSON = {"username": Secret("ann@example.com"), "password": Secret("p w")}
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


def build_request(name: str, phase: Phase, client: Client = REGISTERED, **values: str | None) -> HttpRequest:
    profile = built_in.load_built_in()[name]
    bound = profile.bind(HOST if "host" in profile.variables else {})
    secret = client.secrets[0] if client.secrets else None
    return build_token_request(profile, phase, bound, client, secret, values, now=NOW)


def login(credentials: dict[str, Secret]) -> HttpRequest:
    return build_request("investsuite", "login", Client("investsuite", None, (), ("api.example.com",), credentials))


def read(name: str, body: dict[str, Any], previous: TokenSet | None = None) -> TokenSet:
    answer = parse_token_response(built_in.load_built_in()[name], respond(200, body), NOW, previous)
    assert isinstance(answer, TokenSet)
    return answer


def jwt(expires_at: int) -> str:
    claims = urlsafe_b64encode(json.dumps({"exp": expires_at}).encode()).decode().rstrip("=")
    return f"e30.{claims}.c2ln"


# InvestReady


def test_a_browser_is_sent_to_investready() -> None:
    values = {"client_id": "client-1", "redirect_uri": CALLBACK, "scope": None, "state": "s", "code_challenge": "ch"}
    url = urlsplit(build_authorization_url(INVESTREADY, INVESTREADY.bind(HOST), values))
    assert f"{url.scheme}://{url.netloc}{url.path}" == "https://api.example.com/oauth/authorize"
    assert dict(parse_qsl(url.query)) == {
        "response_type": "code",
        "client_id": "client-1",
        "redirect_uri": CALLBACK,
        "state": "s",
        "code_challenge": "ch",
        "code_challenge_method": "S256",
    }


def test_investready_is_sent_the_code_in_a_form_with_the_client_in_it() -> None:
    request = build_request("investready", "exchange", code="c0de", redirect_uri=CALLBACK, code_verifier="v" * 43)
    assert (request.method, request.url) == ("POST", "https://api.example.com/oauth/token")
    assert request.headers == {"accept": JSON, "content-type": FORM}
    assert request.body == (
        b"grant_type=authorization_code&code=c0de&redirect_uri=https%3A%2F%2Fe.example.com%2Fcallback"
        b"&code_verifier=" + b"v" * 43 + b"&client_id=client-1&client_secret=hush"
    )


def test_a_refresh_at_investready_carries_the_redirect_uri() -> None:
    request = build_request("investready", "refresh", refresh_token="r/1", redirect_uri=CALLBACK, scope="a")
    assert (request.method, request.url) == ("POST", "https://api.example.com/oauth/token")
    assert request.headers == {"accept": JSON, "content-type": FORM}
    assert request.body == (
        b"grant_type=refresh_token&refresh_token=r%2F1&client_id=client-1&client_secret=hush"
        b"&redirect_uri=https%3A%2F%2Fe.example.com%2Fcallback"
    )


def test_investready_gives_the_application_tokens_of_its_own() -> None:
    assert INVESTREADY.grants == ("authorization_code", "client_credentials")
    request = build_request("investready", "client_credentials", scope=None)
    assert request.url == "https://api.example.com/oauth/token"
    assert request.body == b"grant_type=client_credentials&client_id=client-1&client_secret=hush"
    assert read("investready", {"access_token": "a", "expires_in": 7776000}).refresh_expires_at is None


def test_investreadys_answer_is_read_whole() -> None:
    grant = read("investready", {"access_token": "a", "refresh_token": "r", "expires_in": 7776000})
    assert (grant.access_token, grant.refresh_token) == (Secret("a"), Secret("r"))
    assert (grant.expires_at, grant.expiry_rule) == (NOW + 90 * 86_400, "expires_in:seconds")
    assert grant.refresh_expires_at == NOW + 2 * 365 * 86_400
    assert read("investready", {"access_token": "a"}).expires_at == NOW + 90 * 86_400


def test_investreadys_two_years_count_from_the_authorization() -> None:
    previous = tokens(refresh_expires_at=NOW + 86_400)
    body = {"access_token": "a", "refresh_token": "r2", "expires_in": 7776000}
    assert read("investready", body, previous).refresh_expires_at == NOW + 86_400


def test_investready_refuses_a_grant_by_the_standard() -> None:
    answer = parse_token_response(INVESTREADY, respond(400, {"error": "invalid_grant"}), NOW)
    assert answer == Refusal("grant_rejected", 400, "invalid_grant")
    assert build_consumer_headers(INVESTREADY, HOST, tokens()) == {"Authorization": "Bearer access-1"}
    assert INVESTREADY.consumer.reject_statuses == (401,)


# ModelPortfolios


def test_modelportfolios_is_asked_in_json_with_its_version() -> None:
    request = build_request("modelportfolios", "client_credentials", scope=None)
    assert (request.method, request.url) == ("POST", "https://api.example.com/oauth/token")
    assert request.headers == {"accept": "application/json; version=1.0.0", "content-type": JSON}
    assert json.loads(request.body) == {
        "grant_type": "client_credentials",
        "client_id": "client-1",
        "client_secret": "hush",
    }


@pytest.mark.parametrize("spelling", ["accessTtoken", "accessToken", "access_token"])
def test_modelportfolios_token_is_found_in_each_spelling(spelling: str) -> None:
    grant = read("modelportfolios", {spelling: "a", "expiresIn": 86400, "tokenType": "bearer"})
    assert (grant.access_token, grant.token_type, grant.expires_at) == (Secret("a"), "bearer", NOW + 86_400)
    assert (grant.refresh_token, grant.refresh_expires_at) == (None, None)


def test_a_call_to_modelportfolios_carries_its_version_too() -> None:
    assert build_consumer_headers(MODELPORTFOLIOS, HOST, tokens()) == {
        "Authorization": "Bearer access-1",
        "Accept": "application/json; version=1.0.0",
    }
    assert MODELPORTFOLIOS.consumer.reject_statuses == (401,)


def test_modelportfolios_refuses_a_client_not_a_grant() -> None:
    answer = parse_token_response(MODELPORTFOLIOS, respond(401, {"error": "invalid_client"}), NOW)
    assert answer == Refusal("client_rejected", 401, "invalid_client")
    assert MODELPORTFOLIOS.grants == ("client_credentials",)


# InvestSuite


def test_investsuite_takes_an_access_key() -> None:
    request = login(KEYS)
    assert (request.method, request.url) == ("POST", "https://api.example.com/auth/login/")
    assert request.headers == {"accept": JSON, "content-type": JSON}
    assert request.body == b'{"access_key_id": "AK1", "secret_access_key": "s/k"}'


def test_investsuite_takes_a_person() -> None:
    assert login(PERSON).body == b'{"username": "ann@example.com", "password": "p w"}'


def test_investsuite_is_sent_one_way_of_logging_in_where_there_are_two() -> None:
    assert json.loads(login({**PERSON, **KEYS}).body).keys() == KEYS.keys()
    assert json.loads(login({**PERSON, "access_key_id": Secret("AK1")}).body).keys() == PERSON.keys()


@pytest.mark.parametrize("credentials", [{}, {"username": Secret("ann")}, {"password": Secret("canary")}])
def test_half_a_log_in_is_reported_before_anything_is_sent(credentials: dict[str, Secret]) -> None:
    with pytest.raises(InvalidClient) as refused:
        login(credentials)
    assert "username and password" in refused.value.hint
    assert "canary" not in str(refused.value.as_dict())


def test_investsuite_is_refreshed_with_the_refresh_token_alone() -> None:
    for client in (Client("i", None, (), ("api.example.com",), KEYS), REGISTERED):
        request = build_request("investsuite", "refresh", client, refresh_token="r/1", redirect_uri=None, scope=None)
        assert (request.method, request.url) == ("POST", "https://api.example.com/auth/refresh-token/")
        assert request.headers == {"accept": JSON, "content-type": JSON}
        assert request.body == b'{"refresh_token": "r/1"}'


def test_investsuites_expires_at_is_a_duration() -> None:
    grant = read("investsuite", {"access_token": jwt(NOW + 900), "refresh_token": "r", "expires_at": 300})
    assert (grant.expires_at, grant.lifetime, grant.expiry_rule) == (NOW + 300, 300, "expires_at:seconds")
    assert grant.refresh_token == Secret("r")


def test_investsuites_token_states_its_expiry_if_the_response_does_not() -> None:
    """InvestSuite's token says itself when it expires, if the response does not."""
    assert read("investsuite", {"access_token": jwt(NOW + 900)}).expires_at == NOW + 900
    assert read("investsuite", {"access_token": "no-jwt"}).expires_at == NOW + 300


@pytest.mark.parametrize("status", [401, 403])
def test_investsuite_refuses_a_refresh_by_status_alone(status: int) -> None:
    for body in (b"", b"<html>", {"detail": "canary"}):
        assert parse_token_response(INVESTSUITE, respond(status, body), NOW) == Refusal("grant_rejected", status)


def test_investsuite_refreshes_with_a_refresh_token_or_else_logs_in() -> None:
    """InvestSuite is refreshed while there is a refresh token, and logged in to otherwise."""
    assert INVESTSUITE.grants == ("login",)
    assert INVESTSUITE.rotation.fall_back_to_login
    assert choose_phase(INVESTSUITE, "login", tokens()) == "refresh"
    assert choose_phase(INVESTSUITE, "login", tokens(refresh_token=None)) == "login"
    assert choose_phase(INVESTSUITE, "login", None) == "login"


def test_a_dead_token_shows_as_403_at_investsuite() -> None:
    assert INVESTSUITE.consumer.reject_statuses == (403,)
    assert build_consumer_headers(INVESTSUITE, HOST, tokens()) == {"Authorization": "Bearer access-1"}


# Wealthyhood


def test_wealthyhood_is_asked_for_its_audience_in_json() -> None:
    bound = WEALTHYHOOD.bind({"audience": "https://api.wealthyhood.com", "host": "api.example.com"})
    request = build_token_request(
        WEALTHYHOOD, "client_credentials", bound, REGISTERED, Secret("hush"), {"scope": None}, now=NOW
    )
    assert (request.method, request.url) == ("POST", "https://api.example.com/oauth/token")
    assert request.headers == {"accept": JSON, "content-type": JSON}
    assert request.body == (
        b'{"grant_type": "client_credentials", "client_id": "client-1", "client_secret": "hush", '
        b'"audience": "https://api.wealthyhood.com"}'
    )
    assert WEALTHYHOOD.consumer.required_headers == ("x-user-id",)


# Keap


def test_keap_sends_the_client_in_the_body_then_as_basic() -> None:
    """Keap authenticates the client in the body for the code, and by Basic on the refresh."""
    code = form_of(build_request("keap", "exchange", code="c", redirect_uri=CALLBACK, code_verifier=None))
    assert (code["client_id"], code["client_secret"]) == ("client-1", "hush")
    request = build_request("keap", "refresh", refresh_token="r", redirect_uri=CALLBACK, scope="full")
    assert request.headers["authorization"] == "Basic Y2xpZW50LTE6aHVzaA=="
    assert request.body == b"grant_type=refresh_token&refresh_token=r"


def test_keap_replaces_its_refresh_token_every_time() -> None:
    body = {"access_token": "a", "refresh_token": "r2", "expires_in": 86400, "token_type": "bearer", "scope": "full"}
    grant = read("keap", body, tokens())
    assert grant.refresh_token == Secret("r2")
    assert (grant.expires_at, grant.refresh_expires_at) == (NOW + 86_400, NOW + 45 * 86_400)
    assert KEAP.rotation.rotates


# All


def test_each_grant_leads_to_its_own_phase() -> None:
    assert choose_phase(KEAP, "authorization_code", tokens()) == "refresh"
    assert choose_phase(INVESTREADY, "client_credentials", tokens()) == "client_credentials"
    assert choose_phase(WEALTHYHOOD, "jwt_bearer", tokens()) == "jwt_bearer"
    assert set(HEADLESS_GRANTS) == {"client_credentials", "login", "jwt_bearer"}
