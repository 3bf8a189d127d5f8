"""Protects what is sent to providers, to the byte: Keap's and Wealthyhood's dialects, and what profiles can say."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.errors import InvalidVariable
from evergrant.http_messages import HttpRequest
from evergrant.oauth.authorization_request import build_authorization_url
from evergrant.oauth.client import Client
from evergrant.oauth.token_request import build_token_request
from evergrant.profiles.loader import load_profile
from evergrant.profiles.model import Profile
from evergrant.record.token_document import build_consumer_headers
from evergrant.secret import Secret
from tests.unit.samples import KEAP, NOW, WEALTHYHOOD, acme, form_of, tokens

# Reserved characters, a space, a plus, a percent, a tilde, one outside ASCII: each is a way to spell it wrongly.
CLIENT_ID, CLIENT_SECRET = "cli:ent id", "s+c%r/t~é="
KEAP_HOSTS = KEAP.bind({})
WEALTHYHOOD_HOSTS = WEALTHYHOOD.bind({"host": "auth.example.com", "audience": "https://api.example.com"})
EXCHANGE = {"code": "c0de", "redirect_uri": "https://e.example.com/callback", "code_verifier": "v" * 43}


def client(client_id: str) -> Client:
    return Client("acme", client_id, (Secret("unused"),), ("api.example.com",))


def exchange(profile: Profile, variables: dict[str, str] | None = None, **values: str | None) -> HttpRequest:
    known = {**EXCHANGE, **values}
    return build_token_request(
        profile, "exchange", variables or {}, client(CLIENT_ID), Secret(CLIENT_SECRET), known, now=NOW
    )


def refresh(profile: Profile, variables: dict[str, str] | None = None, **values: str | None) -> HttpRequest:
    known = {"refresh_token": "r/1+", "redirect_uri": "https://e.example.com/callback", "scope": "full", **values}
    return build_token_request(
        profile, "refresh", variables or {}, client(CLIENT_ID), Secret(CLIENT_SECRET), known, now=NOW
    )


# Keap


def test_keap_is_sent_the_code_with_the_client_in_the_body() -> None:
    request = build_token_request(KEAP, "exchange", KEAP_HOSTS, client("client-1"), Secret("hush"), EXCHANGE, now=NOW)
    assert (request.method, request.url) == ("POST", "https://api.infusionsoft.com/token")
    assert request.headers == {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
    assert form_of(request) == {
        "grant_type": "authorization_code",
        "code": "c0de",
        "redirect_uri": "https://e.example.com/callback",
        "code_verifier": "v" * 43,
        "client_id": "client-1",
        "client_secret": "hush",
    }


def test_keap_is_sent_a_refresh_with_the_client_in_basic_and_nowhere_else() -> None:
    request = build_token_request(
        KEAP,
        "refresh",
        KEAP_HOSTS,
        client("client-1"),
        Secret("hush"),
        {"refresh_token": "r/1+", "scope": "full"},
        now=NOW,
    )
    assert (request.method, request.url) == ("POST", "https://api.infusionsoft.com/token")
    assert request.body == b"grant_type=refresh_token&refresh_token=r%2F1%2B"
    assert request.headers == {
        "accept": "application/json",
        "authorization": "Basic " + b64encode(b"client-1:hush").decode(),
        "content-type": "application/x-www-form-urlencoded",
    }


def test_a_browser_is_sent_to_keap_with_state_and_challenge() -> None:
    url = build_authorization_url(
        KEAP,
        KEAP_HOSTS,
        {
            "client_id": "client-1",
            "redirect_uri": "https://e.example.com/callback",
            "scope": "full",
            "state": "s/1",
            "code_challenge": "ch",
        },
    )
    assert url == (
        "https://accounts.infusionsoft.com/app/oauth/authorize?response_type=code&client_id=client-1"
        "&redirect_uri=https%3A%2F%2Fe.example.com%2Fcallback&scope=full&state=s%2F1"
        "&code_challenge=ch&code_challenge_method=S256"
    )


def test_a_call_to_keap_carries_the_token_as_bearer() -> None:
    # The provider may write token_type in small letters ("bearer"): the scheme is what its API documents.
    assert build_consumer_headers(KEAP, KEAP_HOSTS, tokens(token_type="bearer")) == {"Authorization": "Bearer access-1"}


# Wealthyhood


def test_wealthyhood_is_asked_in_json_with_the_audience() -> None:
    request = build_token_request(
        WEALTHYHOOD,
        "client_credentials",
        WEALTHYHOOD_HOSTS,
        client("client-1"),
        Secret("hush"),
        {"scope": None},
        now=NOW,
    )
    assert (request.method, request.url) == ("POST", "https://auth.example.com/oauth/token")
    assert request.headers == {"accept": "application/json", "content-type": "application/json"}
    assert json.loads(request.body) == {
        "grant_type": "client_credentials",
        "client_id": "client-1",
        "client_secret": "hush",
        "audience": "https://api.example.com",
    }


def test_a_wealthyhood_call_carries_the_token_and_no_user() -> None:
    """A call to Wealthyhood carries the token, and leaves the user to the caller."""
    assert build_consumer_headers(WEALTHYHOOD, WEALTHYHOOD_HOSTS, tokens()) == {"Authorization": "Bearer access-1"}


# Client authentication


def test_basic_is_form_encoded_first_as_the_standard_says() -> None:
    request = refresh(with_auth("basic"))
    sent = b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
    assert sent == "cli%3Aent+id:s%2Bc%25r%2Ft~%C3%A9%3D"
    assert form_of(request).keys() == {"grant_type", "refresh_token"}


def test_raw_basic_sends_id_and_secret_as_they_are() -> None:
    sent = b64decode(refresh(with_auth("basic_raw")).headers["authorization"].removeprefix("Basic ")).decode()
    assert sent == f"{CLIENT_ID}:{CLIENT_SECRET}"


def test_a_client_in_the_body_survives_every_reserved_character() -> None:
    form = form_of(refresh(with_auth("post")))
    assert (form["client_id"], form["client_secret"]) == (CLIENT_ID, CLIENT_SECRET)


def test_a_public_client_sends_its_id_and_no_secret() -> None:
    request = refresh(with_auth("none"))
    assert form_of(request) == {"grant_type": "refresh_token", "refresh_token": "r/1+", "client_id": CLIENT_ID}
    assert "authorization" not in request.headers


@given(client_id=st.text(min_size=1), secret=st.text(min_size=1), raw=st.booleans())
def test_only_who_decodes_basic_as_it_was_spelled_gets_id_and_secret_back(
    client_id: str, secret: str, raw: bool
) -> None:
    profile = with_auth("basic_raw" if raw else "basic")
    request = build_token_request(
        profile, "refresh", {}, client(client_id), Secret(secret), {"refresh_token": "r"}, now=NOW
    )
    sent = b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
    if raw:
        assert sent == f"{client_id}:{secret}"
    else:
        assert sent.count(":") == 1
        assert [value for _, value in parse_qsl("a={}&b={}".format(*sent.split(":")))] == [client_id, secret]


def with_auth(method: str) -> Profile:
    return acme(f'client_auth = "{method}"')


# What a profile bends


def test_a_profile_adds_renames_and_deletes_parameters() -> None:
    profile = acme('[refresh.params]\nrefresh_token = ""\nrt = "{refresh_token}"\nredirect_uri = "{redirect_uri}"')
    assert form_of(refresh(profile)) == {
        "grant_type": "refresh_token",
        "rt": "r/1+",
        "redirect_uri": "https://e.example.com/callback",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }


def test_a_parameter_without_a_value_is_left_out() -> None:
    assert "code_verifier" not in form_of(exchange(acme(), code_verifier=None))
    profile = acme('[refresh.params]\nscope = "{scope}"')
    assert form_of(refresh(profile))["scope"] == "full"
    assert "scope" not in form_of(refresh(profile, scope=None))


def test_headers_of_a_profile_stand_over_ours() -> None:
    profile = acme('[refresh.headers]\nAccept = "application/json; version=1.0.0"\n"X-Client" = "{client_id}"')
    headers = refresh(profile).headers
    assert headers["accept"] == "application/json; version=1.0.0"
    assert headers["x-client"] == CLIENT_ID
    assert not [name for name in headers if name != name.lower()]


@pytest.mark.parametrize("how", ['format = "query"', 'method = "GET"', 'method = "GET"\nformat = "json"'])
def test_a_request_by_query_has_everything_in_its_url_and_no_body(how: str) -> None:
    request = refresh(acme(how))
    assert request.body == b""
    assert "content-type" not in request.headers
    assert dict(parse_qsl(urlsplit(request.url).query))["refresh_token"] == "r/1+"


def test_json_is_sent_as_json() -> None:
    request = refresh(acme('format = "json"'))
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body)["client_secret"] == CLIENT_SECRET


def test_extra_parameters_are_sent_and_pkce_can_be_switched_off() -> None:
    """Extra authorization parameters are sent, and PKCE can be switched off."""
    profile = acme()
    bent = load_authorize('pkce = false\nparams = { access_type = "offline", scope = "" }')
    values = {"client_id": "c", "redirect_uri": "https://e/", "scope": "a b", "state": "s", "code_challenge": "ch"}
    assert query(build_authorization_url(profile, {}, values)).keys() > {
        "code_challenge",
        "code_challenge_method",
        "scope",
    }
    assert query(build_authorization_url(bent, {}, values)) == {
        "response_type": "code",
        "client_id": "c",
        "redirect_uri": "https://e/",
        "state": "s",
        "access_type": "offline",
    }


def test_a_space_between_scopes_is_percent_encoded() -> None:
    assert "scope=a%20b" in build_authorization_url(acme(), {}, {"scope": "a b"})


def load_authorize(more: str) -> Profile:
    url = "https://login.example.com/authorize"
    request = 'url = "https://api.example.com/token"'
    return load_profile(
        f'name="acme"\ntitle="A"\n[authorize]\nurl="{url}"\n{more}\n[exchange]\n{request}\n[refresh]\n{request}'
    )


def query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def test_the_token_goes_into_the_header_that_the_profile_names() -> None:
    profile = acme('[consumer.headers]\n"X-Api-Token" = "{access_token}"\nX-Type = "{token_type}"')
    assert build_consumer_headers(profile, {}, tokens()) == {"X-Api-Token": "access-1", "X-Type": "Bearer"}


def test_no_header_is_made_of_a_value_with_a_line_break() -> None:
    with pytest.raises(InvalidVariable) as refused:
        build_consumer_headers(acme(), {}, tokens(access_token=Secret("canary\r\nx-evil: 1")))
    assert "canary" not in str(refused.value)


# URLs

TENANT = """
[client_credentials]
url = "https://{host}/{tenant}/token"
[variables]
host = { pattern = '.*' }
tenant = { pattern = '.*' }
"""


def tenant_url(loopback: bool = False, **variables: str) -> str:
    profile = acme(TENANT)
    bound: dict[str, Any] = {"host": "api.example.com", "tenant": "main", **variables}
    return build_token_request(
        profile, "client_credentials", bound, client("c"), Secret("s"), {}, now=NOW, loopback=loopback
    ).url


def test_a_variable_in_a_path_is_percent_encoded() -> None:
    assert tenant_url(tenant="a/../b?c#d e%é") == "https://api.example.com/a%2F..%2Fb%3Fc%23d%20e%25%C3%A9/token"


@pytest.mark.parametrize(
    "host", ["", "evil.com/", "evil.com?", "evil.com#", "a@evil.com", "a:b@evil.com", "a b", "[::1]"]
)
def test_a_variable_cannot_turn_a_host_into_anything_else(host: str) -> None:
    with pytest.raises(InvalidVariable):
        tenant_url(host=host)


@given(host=st.text(max_size=20), tenant=st.text(max_size=20))
def test_no_variable_leads_to_another_host_or_path(host: str, tenant: str) -> None:
    try:
        url = urlsplit(tenant_url(host=host, tenant=tenant))
    except InvalidVariable:
        return
    assert (url.scheme, url.netloc, url.query, url.fragment) == ("https", host, "", "")
    assert url.username is None
    assert url.path.count("/") == 2


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "localhost", "127.0.0.1"])
def test_only_the_local_run_speaks_plain_http_and_only_to_loopback(host: str) -> None:
    assert tenant_url(host=host).startswith("https://")
    assert tenant_url(loopback=True, host=host) == f"http://{host}/main/token"


@pytest.mark.parametrize(
    "host", ["127.0.0.1.evil.com", "localhost.evil.com", "10.0.0.1", "169.254.169.254", "127.0.0.2"]
)
def test_the_local_run_speaks_https_to_all_others(host: str) -> None:
    assert tenant_url(loopback=True, host=host).startswith("https://")
