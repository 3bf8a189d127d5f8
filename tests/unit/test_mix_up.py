"""Protects against a mix-up (RFC 9700 section 4.4): no code goes to another provider than the one that was asked."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from evergrant.connect import operator_actions
from evergrant.connect.authorization_flow import AuthorizationFlow
from evergrant.connect.links import issue_ticket, read_progress
from evergrant.errors import InvalidClient
from evergrant.link_errors import LinkUsed, WrongProvider
from evergrant.oauth.redirect_uris import OWN_PATH, SHARED_PATH
from evergrant.oauth.response_issuer import belongs_to_another, is_asked_issuer, list_issuers
from evergrant.profiles import built_in
from evergrant.profiles.model import Profile, Subject
from evergrant.secret import Secret
from evergrant.settings import Settings
from evergrant_cli.codes import describe_link_problem
from tests.unit.memory import MemoryProfiles, MemoryVault
from tests.unit.test_authorization_flow import KEAP, NAME, World, with_profile
from tests.unit.test_connect_handler import ask

HONEST = "https://honest.example.com"
VARIABLES = {"host": "api.example.com", "login_host": "login.example.com"}


def build_honest(name: str = "honest") -> Profile:
    """Another provider, which names its issuer."""
    assert KEAP.authorize
    return msgspec.structs.replace(KEAP, name=name, authorize=msgspec.structs.replace(KEAP.authorize, issuer=HONEST))


def beside(*others: Profile, profile: Profile = KEAP) -> World:
    """A world in which an account at ``profile`` is being connected, and ``others`` are known too."""
    w = with_profile(profile)
    w.flow = AuthorizationFlow(replace(w.flow._ports, profiles=MemoryProfiles(profile, KEAP, *others)), Settings())
    return w


# --- the issuer -------------------------------------------------------------------------------------------------------


def test_a_response_of_another_known_provider_voids_the_state() -> None:
    """Keap's profile knows no issuer; this one is that of another provider."""
    w = beside(build_honest())
    started, params = w.start_authorization()
    with pytest.raises(WrongProvider):
        w.handle_callback(params["state"], started.cookie, iss=HONEST)
    with pytest.raises(LinkUsed):
        w.handle_callback(params["state"], started.cookie)
    assert w.provider.requests == []
    _, problem = read_progress(w.authorizations, w.ticket)
    assert problem is not None
    assert problem.code == "wrong_provider"
    assert describe_link_problem(problem.code, "keap", problem.failure).endswith("another server than the one asked")


def test_the_page_of_a_mix_up_says_to_stop_and_shows_its_code() -> None:
    w = beside(build_honest())
    started, params = w.start_authorization()
    page = ask(w, "GET", "/callback", f"state={params['state']}&code=code-1&iss={HONEST}", started.cookie)
    assert page["statusCode"] == 403
    assert "<code>wrong_provider</code>" in page["body"]
    assert "nothing was sent" in page["body"]


@pytest.mark.parametrize(
    "others", [(), (build_honest("keap"),)], ids=["of no known profile", "its own in a later profile"]
)
def test_an_issuer_that_is_not_anothers_is_logged_and_taken(
    others: tuple[Profile, ...], caplog: pytest.LogCaptureFixture
) -> None:
    w = beside(*others)
    started, params = w.start_authorization()
    with caplog.at_level(logging.INFO):
        page = ask(w, "GET", "/callback", f"state={params['state']}&code=code-1&iss={HONEST}", started.cookie)
    assert page["statusCode"] == 200
    [logged] = [vars(line) for line in caplog.records if line.getMessage() == "issuer not checked"]
    assert logged["issuer"] == HONEST


@pytest.mark.parametrize("issuer", ["canary", "", "https://evil.example/?canary"])
def test_what_is_no_issuer_is_not_repeated_in_the_log(issuer: str, caplog: pytest.LogCaptureFixture) -> None:
    w = beside()
    started, params = w.start_authorization()
    with caplog.at_level(logging.INFO):
        ask(w, "GET", "/callback", f"state={params['state']}&code=code-1&iss={issuer}", started.cookie)
    logged: list[Any] = [vars(line) for line in caplog.records if line.getMessage() == "issuer not checked"]
    assert [line["issuer"] for line in logged] == ["unreadable"]
    assert "canary" not in str(logged)


def test_the_issuers_of_the_id_token_count_where_no_other_is_known() -> None:
    microsoft = built_in.load_built_in()["microsoft"]
    tenant = "https://login.microsoftonline.com/0a1b/v2.0"
    assert is_asked_issuer(microsoft, {}, tenant)
    for other in (
        f"{tenant}/",
        tenant.replace("0a1b", "0a/1b"),
        tenant.replace("0a1b", ""),
        f"{tenant}?a",
        "",
        "x" * 2000,
    ):
        assert not is_asked_issuer(microsoft, {}, other), other
    profile = msgspec.structs.replace(KEAP, subject=Subject(source="id_token", issuers=("https://{login_host}/{tid}",)))
    assert is_asked_issuer(profile, VARIABLES, "https://login.example.com/t")
    assert not is_asked_issuer(profile, VARIABLES, "https://evil.example.com/t")


def test_the_profiles_own_issuer_counts_before_those_of_the_id_token() -> None:
    google = built_in.load_built_in()["google"]
    assert list_issuers(google) == ("https://accounts.google.com",)


def test_an_issuer_that_two_providers_have_is_not_anothers() -> None:
    known = {"keap": [HONEST], "honest": [HONEST], "none": []}
    assert not belongs_to_another(HONEST, "keap", known)
    assert belongs_to_another(HONEST, "none", known)
    assert not belongs_to_another("https://elsewhere.example.com", "none", known)


# --- the code ---------------------------------------------------------------------------------------------------------


def test_a_code_goes_to_the_server_that_was_asked_even_if_replaced() -> None:
    """The link pins the profile: an operator who replaces the provider meanwhile gets no code of the old one."""
    assert KEAP.exchange
    evil = msgspec.structs.replace(
        KEAP, exchange=msgspec.structs.replace(KEAP.exchange, url="https://api.example.com/evil")
    )
    w = beside(evil)
    started, params = w.start_authorization()
    w.handle_callback(params["state"], started.cookie)
    [request] = w.provider.requests
    assert request.url == "https://api.example.com/token"


# --- the redirect URI -------------------------------------------------------------------------------------------------

OWN = "https://grants.example.com/callback/keap"
SHARED = "https://grants.example.com/callback"


def at(redirect_uri: str, profile: Profile = KEAP, **client: Any) -> World:
    """A world whose link names this redirect URI, with a client that has it."""
    w = with_profile(profile)
    vault = w.flow._ports.vault
    assert isinstance(vault, MemoryVault)
    path = OWN_PATH if redirect_uri == OWN else SHARED_PATH
    vault.clients["keap"] = replace(vault.clients["keap"], redirect_path=path, **client)
    wanted, _ = operator_actions.plan(profile, NAME, variables=VARIABLES, redirect_uri=redirect_uri)
    w.ticket = issue_ticket(w.authorizations, wanted, int(w.clock.now()))
    return w


def come_back(w: World, state: str, cookie: str, provider: str | None) -> Any:
    path = "/callback" if provider is None else "/callback/{provider}"
    return ask(w, "GET", path, f"state={state}&code=code-1", cookie, provider=provider)


@pytest.mark.parametrize(("redirect_uri", "provider"), [(OWN, "keap"), (SHARED, None)])
def test_a_response_at_its_own_redirect_uri_is_exchanged_with_it(redirect_uri: str, provider: str | None) -> None:
    w = at(redirect_uri)
    started, params = w.start_authorization()
    assert params["redirect_uri"] == redirect_uri
    assert come_back(w, params["state"], started.cookie, provider)["statusCode"] == 200
    assert parse_qs(w.provider.requests[0].body.decode())["redirect_uri"] == [redirect_uri]
    assert w.record().redirect_uri == redirect_uri, "a refresh may have to repeat it"


@pytest.mark.parametrize(
    ("redirect_uri", "provider"),
    [(OWN, "honest"), (OWN, None), (OWN, ""), (OWN, "KEAP"), (SHARED, "keap"), (SHARED, "honest")],
)
def test_a_response_at_another_redirect_uri_voids_the_state(redirect_uri: str, provider: str | None) -> None:
    """The honest provider answers where its client is registered: that is not where the malicious one would."""
    w = at(redirect_uri)
    started, params = w.start_authorization()
    page = come_back(w, params["state"], started.cookie, provider)
    assert (page["statusCode"], "<code>wrong_provider</code>" in page["body"]) == (403, True)
    own = "keap" if redirect_uri == OWN else None
    assert come_back(w, params["state"], started.cookie, own)["statusCode"] == 410
    assert w.provider.requests == []
    _, problem = read_progress(w.authorizations, w.ticket)
    assert problem is not None
    assert "another redirect URI than this provider's" in describe_link_problem(problem.code, "keap", problem.failure)


def test_a_link_for_the_redirect_uri_of_another_provider_is_of_no_use() -> None:
    w = at(OWN)
    wanted, _ = operator_actions.plan(KEAP, NAME, variables=VARIABLES, redirect_uri=OWN.replace("keap", "honest"))
    w.ticket = issue_ticket(w.authorizations, wanted, int(w.clock.now()))
    started, params = w.start_authorization()
    assert come_back(w, params["state"], started.cookie, "honest")["statusCode"] == 403
    assert w.provider.requests == []


def test_a_link_for_a_redirect_uri_not_the_clients_stops_before_consent() -> None:
    w = at(OWN)
    wanted, _ = operator_actions.plan(KEAP, NAME, variables=VARIABLES, redirect_uri=SHARED)
    w.ticket = issue_ticket(w.authorizations, wanted, int(w.clock.now()))
    with pytest.raises(InvalidClient, match="not that of client keap"):
        w.start_authorization()


# --- public clients ---------------------------------------------------------------------------------------------------


def build_public(**changes: Any) -> Profile:
    """Keap's profile, for a client that does not authenticate."""
    assert KEAP.exchange
    assert KEAP.authorize
    return msgspec.structs.replace(
        KEAP,
        exchange=msgspec.structs.replace(KEAP.exchange, client_auth="none"),
        authorize=msgspec.structs.replace(KEAP.authorize, **changes),
    )


@pytest.mark.parametrize(
    ("profile", "client"),
    [(KEAP, {"secrets": ()}), (build_public(), {}), (build_public(issuer=HONEST), {})],
    ids=["without a secret", "not asked for it", "an issuer that may be left out"],
)
def test_a_public_client_without_a_defence_is_stopped_before_consent(profile: Profile, client: Any) -> None:
    w = at(SHARED, profile, **client)
    with pytest.raises(InvalidClient, match="has no secret") as refused:
        w.start_authorization()
    assert f"Register {OWN} there" in refused.value.hint
    _, problem = read_progress(w.authorizations, w.ticket)
    assert problem is not None
    assert problem.code == "invalid_client_entry"


@pytest.mark.parametrize(
    ("redirect_uri", "profile"),
    [(OWN, build_public()), (SHARED, build_public(issuer=HONEST, issuer_always=True))],
    ids=["a redirect URI of its own", "an issuer with every code"],
)
def test_a_public_client_with_a_defence_is_connected(redirect_uri: str, profile: Profile) -> None:
    assert at(redirect_uri, profile, secrets=()).start_authorization()


def test_a_client_with_a_private_key_is_not_public() -> None:
    w = at(SHARED, secrets=(), private_key=Secret("pem"))
    assert w.start_authorization()
