"""Protects the catalogue: what each provider's answers are read as, and that each profile can begin a grant.

``catalogue_answers/*.json`` holds each provider's answers, with invented tokens, and where their shape comes from:
its documentation, its staff, its clients' code, or the standard where none of them shows an error. ``refreshed``
answers a refresh of ``refresh-1``, a grant whose refresh token has 1000 seconds left by what was known of it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from evergrant.oauth.authorization_request import build_authorization_url
from evergrant.oauth.client import Client
from evergrant.oauth.error_response import Refusal
from evergrant.oauth.token_request import build_token_request
from evergrant.oauth.token_response import parse_token_response
from evergrant.oauth.token_set import TokenSet
from evergrant.profiles import built_in
from evergrant.profiles.model import Profile
from evergrant.secret import Secret
from tests.unit.samples import NOW, respond, tokens

FOLDER = Path(__file__).parent / "catalogue_answers"
#: What a variable without a default may look like; the first that its pattern takes.
EXAMPLES = ("example", "api.example.com", "https://api.example.com", "common")
PROFILES = built_in.load_built_in()
ANSWERS = {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(FOLDER.glob("*.json"))}


def cases(kind: str) -> list[Any]:
    return [
        pytest.param(PROFILES[name], case, id=f"{name}-{index}")
        for name, given in ANSWERS.items()
        for index, case in enumerate(given)
        if kind in case
    ]


def read(profile: Profile, case: dict[str, Any]) -> TokenSet | Refusal:
    known = 1000 if profile.response.refresh_expires else None
    previous = tokens(refresh_expires_at=NOW + known if known else None) if case.get("refreshed") else None
    return parse_token_response(profile, respond(case["status"], case["body"]), NOW, previous)


def variables_of(profile: Profile) -> dict[str, str]:
    return profile.bind(
        {
            name: next(example for example in EXAMPLES if re.fullmatch(variable.pattern, example))
            for name, variable in profile.variables.items()
            if variable.default is None
        }
    )


@pytest.mark.parametrize(("profile", "case"), cases("read"))
def test_an_answer_is_read_as_the_token_set_it_is(profile: Profile, case: dict[str, Any]) -> None:
    expected, got = case["read"], read(profile, case)
    assert isinstance(got, TokenSet)
    assert got.access_token.reveal() == expected.get("access_token", "access-2")
    assert (got.lifetime, got.expiry_rule) == (expected["lives"], expected["rule"])
    assert (got.refresh_token.reveal() if got.refresh_token else None) == expected["refresh_token"]
    refresh_lives = got.refresh_expires_at - NOW if got.refresh_expires_at is not None else None
    assert refresh_lives == expected["refresh_lives"]
    assert got.captured == expected.get("captured", {})
    assert got.scope == expected.get("scope", got.scope)


@pytest.mark.parametrize(("profile", "case"), cases("refused"))
def test_a_refusal_is_read_as_what_it_means(profile: Profile, case: dict[str, Any]) -> None:
    got = read(profile, case)
    assert isinstance(got, Refusal)
    assert got.kind == case["refused"]
    assert got.status == case["status"]


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_provider_has_an_answer_of_each_kind(name: str) -> None:
    assert any("read" in case for case in ANSWERS[name])
    assert any("refused" in case for case in ANSWERS[name])
    assert all(("read" in case) != ("refused" in case) and case["source"] for case in ANSWERS[name])


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_every_profile_can_begin_each_of_its_grants(profile: Profile) -> None:
    variables = variables_of(profile)
    values = {"client_id": "client-1", "redirect_uri": "https://e.example.com/callback", "state": "s", "scope": "a"}
    for grant in profile.grants:
        if grant == "authorization_code":
            url = urlsplit(build_authorization_url(profile, variables, {**values, "code_challenge": "c"}))
            assert url.scheme == "https"
            assert "{" not in url.geturl()
            assert dict(parse_qsl(url.query)).items() >= {**values, "response_type": "code"}.items()
        elif grant in ("client_credentials", "login"):
            names = profile.login.credentials[0] if profile.login else ()
            client = Client(
                "client", "client-1", (Secret("hush"),), (), credentials={name: Secret("hush") for name in names}
            )
            request = build_token_request(profile, grant, variables, client, Secret("hush"), {"scope": "a"}, now=NOW)
            assert request.url.startswith("https://")
            assert "{" not in request.url


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_says_where_its_facts_come_from(name: str) -> None:
    pages = PROFILES[name].documentation
    assert pages
    assert all(page.url.startswith("https://") and page.says for page in pages)
    assert len({page.url for page in pages}) == len(pages)


@pytest.mark.parametrize("name", sorted(name for name, profile in PROFILES.items() if profile.refresh))
def test_every_profile_states_a_refresh_tokens_lifetime_or_that_it_cant(name: str) -> None:
    """Every profile says how long a refresh token is valid, or that this is unknown."""
    profile = PROFILES[name]
    said = (*profile.notes, *(page.says for page in profile.documentation))
    about = [text for text in said if "efresh token" in text and re.search(r"\b(valid|lifetimes?|expires?)\b", text)]
    assert profile.response.refresh_expires or about


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_lifetime_the_profile_counts_itself_is_stated_by_a_source(profile: Profile) -> None:
    """A lifetime that a profile counts by itself is stated by a page or a note."""
    counted = any(rule.default for rule in profile.response.refresh_expires)
    said = " ".join((*profile.notes, *(page.says for page in profile.documentation)))
    assert not counted or re.search(r"\b(days?|months?|years?)\b", said)
