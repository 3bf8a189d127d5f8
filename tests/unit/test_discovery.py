"""Protects what a profile made of metadata says: never less than the server may offer, and what it could not know."""

from __future__ import annotations

from typing import Any

import pytest

from evergrant.errors import InvalidMetadata, InvalidName
from evergrant.profiles.discovery import build_profile, suggest_name
from evergrant.profiles.loader import load_profile
from evergrant.profiles.model import Profile
from evergrant.profiles.toml_writer import write_toml
from tests.unit.samples import NOW
from tests.unit.test_metadata import ISSUER, SOUND, merge_documents


def build_acme(without: str | None = None, **changes: Any) -> Profile:
    document = {name: value for name, value in {**SOUND, **changes}.items() if name != without}
    return build_profile(merge_documents(document), "acme", NOW)


def notes(profile: Profile) -> str:
    return " ".join(profile.notes)


def test_a_server_that_says_little_is_taken_to_offer_what_it_may() -> None:
    profile = build_acme()
    assert profile.grants == ("authorization_code", "client_credentials")
    assert profile.authorize is not None
    assert profile.refresh == profile.exchange
    assert (profile.authorize.pkce, profile.authorize.issuer, profile.authorize.scopes) == (True, ISSUER, ())
    assert profile.rotation.rotates
    assert profile.refresh is not None
    assert profile.refresh.client_auth == "basic"  # RFC 8414 section 2
    for unknown in ("HTTP Basic", "code challenge", "how long a refresh token lives", "each refresh brings", "scopes"):
        assert unknown in notes(profile)


def test_what_is_listed_is_what_there_is() -> None:
    assert build_acme(grant_types_supported=["authorization_code", "refresh_token"]).grants == ("authorization_code",)
    headless = build_acme(grant_types_supported=["client_credentials"])
    assert (headless.grants, headless.refresh, headless.response.refresh_expires) == (("client_credentials",), None, ())
    assert "refresh" not in notes(headless)
    assert build_acme(without="authorization_endpoint").grants == ("client_credentials",)


def test_a_refresh_is_tried_though_it_be_not_listed_and_that_is_said() -> None:
    profile = build_acme(grant_types_supported=["authorization_code"])
    assert profile.refresh is not None
    assert "list no refresh_token grant" in notes(profile)


@pytest.mark.parametrize(
    ("methods", "chosen"),
    [
        (["client_secret_basic", "client_secret_post"], "post"),
        (["client_secret_basic", "private_key_jwt"], "basic"),
        (["tls_client_auth", "private_key_jwt", "none"], "private_key_jwt"),
        (["none"], "none"),
    ],
)
def test_the_client_proves_itself_as_the_server_takes_it(methods: list[str], chosen: str) -> None:
    profile = build_acme(token_endpoint_auth_methods_supported=methods)
    for request in (profile.exchange, profile.refresh, profile.client_credentials):
        assert request is not None
        assert request.client_auth == chosen


@pytest.mark.parametrize(
    "changes",
    [
        {"token_endpoint_auth_methods_supported": ["tls_client_auth"]},
        {"token_endpoint_auth_methods_supported": []},
        {
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["PS256"],
        },
        {"grant_types_supported": ["implicit"]},
        {"token_endpoint": None},
    ],
)
def test_what_no_profile_can_say_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidMetadata):
        build_acme(**changes)


@pytest.mark.parametrize(
    ("methods", "sent"), [(["S256"], True), (["plain", "S256"], True), (["plain"], False), ([], False)]
)
def test_a_code_challenge_is_sent_where_it_is_taken(methods: list[str], sent: bool) -> None:
    profile = build_acme(code_challenge_methods_supported=methods)
    assert profile.authorize is not None
    assert profile.authorize.pkce is sent
    assert "PKCE" not in notes(profile)


def test_offline_access_is_asked_of_people_and_not_of_headless_grants() -> None:
    """The scope offline_access is asked of a person, and not of a client's own grant."""
    profile = build_acme(scopes_supported=["openid", "offline_access"])
    assert profile.authorize is not None
    assert profile.client_credentials is not None
    assert profile.authorize.scopes == ("openid", "offline_access")
    assert profile.join_scopes("client_credentials") is None


def test_an_openid_server_names_the_account_and_is_asked_to_prompt() -> None:
    """OpenID Connect Core 1.0 section 11: without a prompt for consent, offline_access is ignored."""
    profile = build_acme(scopes_supported=["openid", "offline_access"])
    assert profile.authorize is not None
    assert profile.authorize.params == {"prompt": "consent"}
    assert profile.subject is not None
    assert (profile.subject.source, profile.subject.issuers) == ("id_token", (ISSUER,))


def test_an_oauth_server_is_asked_for_offline_access_without_a_prompt() -> None:
    profile = build_acme(scopes_supported=["offline_access"])
    assert profile.authorize is not None
    assert (profile.authorize.scopes, profile.authorize.params) == (("offline_access",), {})
    assert profile.subject is None


def test_iss_is_required_where_it_is_announced() -> None:
    """RFC 9207 section 3."""
    announced = build_acme(authorization_response_iss_parameter_supported=True).authorize
    silent = build_acme().authorize
    assert announced is not None
    assert silent is not None
    assert (announced.issuer_always, silent.issuer_always) == (True, False)


def test_one_client_authentication_serves_both_endpoints_if_one_can() -> None:
    """A client is registered for one method."""
    profile = build_acme(
        token_endpoint_auth_methods_supported=["client_secret_post", "client_secret_basic"],
        revocation_endpoint=f"{ISSUER}/revoke",
        revocation_endpoint_auth_methods_supported=["client_secret_basic"],
    )
    assert profile.exchange is not None
    assert profile.revoke is not None
    assert (profile.exchange.client_auth, profile.revoke.client_auth) == ("basic", "basic")
    assert "registered for client_secret_basic" in notes(profile)


@pytest.mark.parametrize(
    ("methods", "chosen"),
    [(None, "post"), (["client_secret_basic"], "basic"), (["client_secret_post"], "post"), (["x"], "post")],
)
def test_revocation_has_its_own_way_where_it_states_one(methods: list[str] | None, chosen: str) -> None:
    profile = build_acme(
        token_endpoint_auth_methods_supported=["client_secret_post", "client_secret_basic"],
        revocation_endpoint=f"{ISSUER}/revoke",
        revocation_endpoint_auth_methods_supported=methods,
    )
    assert profile.revoke is not None
    assert (profile.revoke.url, profile.revoke.client_auth) == (f"{ISSUER}/revoke", chosen)


def test_its_sources_are_the_addresses_that_were_read_and_the_day() -> None:
    [source] = build_acme().documentation
    assert (source.url, source.read) == (f"{ISSUER}/.well-known/oauth-authorization-server", "2026-11-22")


def test_braces_of_an_endpoint_are_no_placeholders() -> None:
    profile = build_acme(token_endpoint=f"{ISSUER}/{{tenant}}/token")
    assert profile.refresh is not None
    assert profile.refresh.url == f"{ISSUER}/{{{{tenant}}}}/token"
    assert load_profile(write_toml(profile)) == profile


def test_a_name_that_no_provider_may_have_is_refused() -> None:
    with pytest.raises(InvalidName):
        build_profile(merge_documents(SOUND), "Acme Ltd", NOW)


@pytest.mark.parametrize(
    ("issuer", "name"),
    [
        ("https://login.acme.example", "acme"),
        ("https://acme.example/eu", "acme"),
        ("https://www.oauth.dev-1.acme.example:8443", "dev-1-acme"),
        ("https://login.example", "login"),
        ("http://127.0.0.1:8080", "127-0-0-1"),
        ("http://localhost:8080", "localhost"),
    ],
)
def test_a_provider_is_named_after_its_host(issuer: str, name: str) -> None:
    assert suggest_name(issuer) == name
