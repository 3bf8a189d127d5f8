"""Protects against a mix-up (RFC 9700 section 4.4): no code goes to another provider than the one that was asked."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from evergrant.connect.authorization_flow import AuthorizationFlow
from evergrant.connect.links import read_progress
from evergrant.link_errors import LinkUsed, WrongProvider
from evergrant.oauth.response_issuer import belongs_to_another, is_asked_issuer, list_issuers
from evergrant.profiles import built_in
from evergrant.profiles.model import Profile, Subject
from evergrant.settings import Settings
from evergrant_cli.codes import describe_link_problem
from tests.unit.memory import MemoryProfiles
from tests.unit.test_authorization_flow import KEAP, World, with_profile
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
