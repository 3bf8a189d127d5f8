"""Protects the simulated Keap's consent page and code exchange: a person decides, and every rule of RFC 6749
and RFC 7636 that a real server enforces is enforced here, so that a client which passes here is a correct one.
"""

import html
import re
from collections.abc import Iterator

import httpx
import pytest

from local.providers import KEAP, Provider, ProviderServer
from tests.unit.simulated import (
    APPLICATION,
    CHALLENGE,
    REDIRECT_URI,
    STRANGER,
    VERIFIER,
    Clock,
    Simulated,
    query_of,
    refusal,
    tokens_of,
)


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


# --- the consent page ---


def test_consent_page_names_application_and_account_and_both_choices(keap: Simulated) -> None:
    """The consent page names the application and the account, and offers both answers."""
    keap.tell("settings", {"account": "Smith & Sons <Ltd>"})
    page = keap.http.get(keap.authorize_url())
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-store"
    assert "Acme Reports" in page.text
    assert "Smith &amp; Sons &lt;Ltd&gt;" in page.text
    assert '<html lang="en">' in page.text
    assert re.findall(r"<button[^>]*>(\w+)</button>", page.text) == ["Allow", "Deny"]


def test_pages_own_forms_lead_back_to_the_client_with_code_and_state(keap: Simulated) -> None:
    page = keap.http.get(keap.authorize_url(state="a b&c"))
    action = html.unescape(re.findall(r'<form method="post" action="([^"]+)"', page.text)[0])
    answer = keap.http.post(action, data={"decision": "allow"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(REDIRECT_URI + "?")
    # Keap sends no `iss`, so nothing else may be there.
    assert query_of(answer).keys() == {"code", "state"}
    assert query_of(answer)["state"] == "a b&c"


def test_deny_leads_back_with_access_denied_and_state_and_no_code(keap: Simulated) -> None:
    answer = keap.http.post(keap.authorize_url(), data={"decision": "deny"})
    assert answer.status_code == 303
    assert query_of(answer)["error"] == "access_denied"
    assert query_of(answer)["state"] == "state-1"
    assert "code" not in query_of(answer)


def test_looking_at_the_page_issues_no_code(keap: Simulated) -> None:
    keap.http.get(keap.authorize_url())
    assert keap.ask("stats")["codes"] == {"issued": 0, "used": 0, "reused": 0}


def test_a_form_without_a_decision_is_an_error_page(keap: Simulated) -> None:
    answer = keap.http.post(keap.authorize_url(), data={"decision": "perhaps"})
    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "url",
    [
        {"client_id": "absent"},
        {"without": "client_id"},
        {"redirect_uri": "http://localhost:4566/callback/"},
        {"redirect_uri": "http://localhost:4566/callback?more=1"},
        {"redirect_uri": "http://evil.example/callback"},
        {"redirect_uri": "/callback"},
        {"without": "redirect_uri"},
    ],
)
@pytest.mark.parametrize("decision", [None, "allow", "deny"])
def test_unknown_client_or_redirect_uri_is_an_error_page_not_a_redirect(
    keap: Simulated, url: dict[str, str], decision: str | None
) -> None:
    """An unknown client or redirect URI is an error page, and never a redirect."""
    address = keap.authorize_url(**url)
    answer = keap.http.post(address, data={"decision": decision}) if decision else keap.http.get(address)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")
    assert "location" not in answer.headers


@pytest.mark.parametrize("tail", ["&state=twice", "&broken=%zz<>"])
def test_an_address_that_cannot_be_understood_is_an_error_page(keap: Simulated, tail: str) -> None:
    answer = keap.http.get(httpx.URL(keap.server.url + keap.authorize_url() + tail))
    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unauthorized_client"),
        ({"without": "response_type"}, "invalid_request"),
        ({"scope": "full admin"}, "invalid_scope"),
        ({"code_challenge": CHALLENGE}, "invalid_request"),  # RFC 7636: that means `plain`
        ({"code_challenge": VERIFIER, "code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short", "code_challenge_method": "S256"}, "invalid_request"),
        ({"code_challenge_method": "S256"}, "invalid_request"),
    ],
)
def test_other_mistakes_reach_the_client_by_redirect(keap: Simulated, changes: dict[str, str], error: str) -> None:
    answer = keap.http.get(keap.authorize_url(**changes))
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(REDIRECT_URI + "?")
    assert query_of(answer)["error"] == error
    assert query_of(answer)["state"] == "state-1"


# --- the exchange ---


def test_exchange_answers_tokens_for_a_day_that_no_cache_keeps(keap: Simulated) -> None:
    answer = keap.exchange(keap.allow())
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body.keys() == {"access_token", "refresh_token", "expires_in", "token_type", "scope"}
    assert (body["expires_in"], body["token_type"], body["scope"]) == (86400, "Bearer", "full")


def test_a_code_is_good_once_and_its_second_use_ends_the_grant(keap: Simulated) -> None:
    code = keap.allow()
    tokens = tokens_of(keap.exchange(code))
    assert keap.contacts(tokens.access_token).status_code == 200

    assert refusal(keap.exchange(code)) == (400, "invalid_grant")

    assert keap.contacts(tokens.access_token).status_code == 401
    assert refusal(keap.refresh(tokens.refresh_token)) == (400, "invalid_grant")
    assert keap.ask("stats")["codes"] == {"issued": 1, "used": 1, "reused": 1}


def test_a_code_dies_after_its_short_life(keap: Simulated) -> None:
    code = keap.allow()
    keap.clock.advance(60)
    assert refusal(keap.exchange(code)) == (400, "invalid_grant")


def test_the_lifetime_of_a_code_can_be_changed(keap: Simulated) -> None:
    keap.tell("settings", {"code_lifetime": 2})
    early, late = keap.allow(), keap.allow()
    keap.clock.advance(1)
    tokens_of(keap.exchange(early))
    keap.clock.advance(1)
    assert refusal(keap.exchange(late)) == (400, "invalid_grant")


def test_a_code_is_good_only_for_the_client_it_was_issued_to(keap: Simulated) -> None:
    code = keap.allow()
    answer = keap.exchange(code, client_id=STRANGER.client_id, client_secret=STRANGER.client_secret)
    assert refusal(answer) == (400, "invalid_grant")
    tokens_of(keap.exchange(code))


def test_exchange_must_repeat_the_redirect_uri_exactly(keap: Simulated) -> None:
    answer = keap.exchange(keap.allow(), redirect_uri=REDIRECT_URI + "/")
    assert refusal(answer) == (400, "invalid_grant")


def test_an_invented_code_is_refused(keap: Simulated) -> None:
    assert refusal(keap.exchange("invented")) == (400, "invalid_grant")


@pytest.mark.parametrize("field", ["grant_type", "code", "redirect_uri"])
def test_exchange_without_a_field_is_an_invalid_request(keap: Simulated, field: str) -> None:
    assert refusal(keap.exchange(keap.allow(), without=field)) == (400, "invalid_request")


def test_an_empty_field_counts_as_missing(keap: Simulated) -> None:
    assert refusal(keap.exchange("")) == (400, "invalid_request")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_secret": "wrong"},
        {"client_secret": "größer"},
        {"client_id": "absent"},
        {"without": "client_secret"},
        {"without": "client_id"},
    ],
)
def test_exchange_by_a_client_that_does_not_prove_itself_is_invalid_client(
    keap: Simulated, changes: dict[str, str]
) -> None:
    code = keap.allow()
    answer = keap.exchange(code, **changes)
    assert refusal(answer) == (401, "invalid_client")
    assert "www-authenticate" in answer.headers
    tokens_of(keap.exchange(code))


@pytest.mark.parametrize("secret_in_body_too", [False, True])
def test_exchange_with_basic_is_invalid_client(keap: Simulated, secret_in_body_too: bool) -> None:
    fields = {"grant_type": "authorization_code", "code": keap.allow(), "redirect_uri": REDIRECT_URI}
    if secret_in_body_too:
        fields |= {"client_id": APPLICATION.client_id, "client_secret": APPLICATION.client_secret}
    answer = keap.http.post("/token", data=fields, auth=(APPLICATION.client_id, APPLICATION.client_secret))
    assert refusal(answer) == (401, "invalid_client")


# --- PKCE ---


def test_exchange_with_the_right_verifier_succeeds(keap: Simulated) -> None:
    code = keap.allow(code_challenge=CHALLENGE, code_challenge_method="S256")
    tokens_of(keap.exchange(code, code_verifier=VERIFIER))


@pytest.mark.parametrize("verifier", ["b" * 43, "too-short", "ü" * 43, CHALLENGE])
def test_exchange_with_a_wrong_verifier_is_an_invalid_grant(keap: Simulated, verifier: str) -> None:
    code = keap.allow(code_challenge=CHALLENGE, code_challenge_method="S256")
    assert refusal(keap.exchange(code, code_verifier=verifier)) == (400, "invalid_grant")


def test_exchange_must_bring_the_verifier_when_a_challenge_was_sent(keap: Simulated) -> None:
    code = keap.allow(code_challenge=CHALLENGE, code_challenge_method="S256")
    assert refusal(keap.exchange(code)) == (400, "invalid_request")


def test_a_verifier_without_a_challenge_is_refused_as_a_downgrade(keap: Simulated) -> None:
    assert refusal(keap.exchange(keap.allow(), code_verifier=VERIFIER)) == (400, "invalid_grant")
