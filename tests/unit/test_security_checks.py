"""Protects single security checks that no test of a whole way would miss: each fails without its check."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest

from evergrant.adapters.aws import log_levels, seal
from evergrant.connect.account_binding import digest_account
from evergrant.connect.links import SECRET_PATTERN, Authorization, issue_ticket, ticket_key
from evergrant.connect.pkce_binding import PkceBinding
from evergrant.connect.state_cookie import bind_ticket, create_cookie
from evergrant.connect.tickets import Tickets
from evergrant.errors import InvalidProfile, InvalidVariable
from evergrant.link_errors import LinkUsed, ProviderRefused, WrongBrowser
from evergrant.oauth.id_token import verify_claims
from evergrant.oauth.issuance import describe_issuance
from evergrant.oauth.response_issuer import belongs_to_another
from evergrant.profiles.model import Subject
from evergrant.profiles.templates import fill_headers, fill_params, fill_url
from evergrant.profiles.validation import find_problems
from tests.unit.memory import CLIENT, FakeClock, MemoryAuthorizations, answer
from tests.unit.samples import acme
from tests.unit.test_authorization_flow import KEAP, with_profile, world
from tests.unit.test_connect_again import USERINFO, build_grant, connect
from tests.unit.test_connect_handler import SAME_ORIGIN, ask, is_untouched


def stored_ticket() -> tuple[MemoryAuthorizations, str]:
    authorizations = MemoryAuthorizations()
    wanted = Authorization("keap/main", "keap", "0" * 64, {}, None, "https://grants.example.com/callback")
    return authorizations, ticket_key(issue_ticket(authorizations, wanted, 0))


# --- secrets of a browser ---------------------------------------------------------------------------------------------


def test_a_cookie_and_a_link_are_256_random_bits() -> None:
    """In base64url, 32 bytes are 43 characters."""
    made = {create_cookie() for _ in range(50)}
    assert len(made) == 50
    assert all(len(cookie) == 43 and SECRET_PATTERN.fullmatch(cookie) for cookie in made)
    wanted = Authorization("keap/main", "keap", "0" * 64, {}, None, "https://grants.example.com/callback")
    tickets = {issue_ticket(MemoryAuthorizations(), wanted, 0) for _ in range(50)}
    assert len(tickets) == 50
    assert all(len(ticket) == 43 for ticket in tickets)


def test_verifier_and_nonce_derive_from_cookie_and_state_alone() -> None:
    binding = PkceBinding("cookie", "state")
    others = (PkceBinding("another", "state"), PkceBinding("cookie", "another"))
    derived = [(each.code_verifier, each.nonce) for each in (binding, *others)]
    assert len({part for pair in derived for part in pair}) == 6
    assert derived[0] == (PkceBinding("cookie", "state").code_verifier, PkceBinding("cookie", "state").nonce)


# --- races ------------------------------------------------------------------------------------------------------------


def test_of_two_browsers_that_race_for_a_link_one_gets_it() -> None:
    """Both read the ticket before either was bound."""
    authorizations, key = stored_ticket()
    seen = authorizations.get(key) or {}
    bind_ticket(authorizations, key, seen, "first")
    with pytest.raises(WrongBrowser):
        bind_ticket(authorizations, key, seen, "second")
    bind_ticket(authorizations, key, seen, "first")


def test_of_two_answers_that_race_for_a_link_one_is_handled() -> None:
    """Both read the ticket before either claimed it."""
    authorizations, key = stored_ticket()
    tickets, seen = Tickets(authorizations, FakeClock()), authorizations.get(key) or {}
    with tickets.claim(key, seen), pytest.raises(LinkUsed), tickets.claim(key, seen):
        pass


def test_of_two_answers_that_race_for_a_state_one_is_handled() -> None:
    """Both read the state before either used it up."""
    w = world()
    started, params = w.start_authorization()
    get = w.authorizations.get
    stale: dict[str, Any] = {}

    def read(key: str) -> Any:
        if key.startswith("state#"):
            return dict(stale.setdefault(key, get(key) or {}))
        return get(key)

    w.authorizations.get = read  # type: ignore[method-assign]
    w.handle_callback(params["state"], started.cookie)
    sent = len(w.provider.requests)
    w.handle_callback(params["state"], started.cookie)
    assert len(w.provider.requests) == sent, "a reload shows how the first one ended"


# --- requests ---------------------------------------------------------------------------------------------------------


def test_the_button_of_another_site_starts_nothing() -> None:
    w = world()
    cookie = w.flow.describe_landing(w.ticket, None).cookie
    refused = ask(w, "POST", cookie=cookie, sec_fetch_site="cross-site")
    assert refused["statusCode"] == 403
    assert is_untouched(w)
    assert not any(key.startswith("state#") for key in w.authorizations.items)
    assert ask(w, "POST", cookie=cookie, **SAME_ORIGIN)["statusCode"] == 200


def test_a_button_without_the_pages_cookie_starts_nothing() -> None:
    w = world()
    assert ask(w, "POST", **SAME_ORIGIN)["statusCode"] == 403
    assert not any(key.startswith("state#") for key in w.authorizations.items)


def test_the_question_whose_account_it_is_goes_to_hosts_of_the_client() -> None:
    w = with_profile(USERINFO)
    entry = replace(CLIENT, hosts=("api.example.com", "more.example.com"))
    cast(Any, w.flow._ports.vault).clients["keap"] = entry
    send, hosts = w.provider.send, []

    def seen(request: Any, **how: Any) -> Any:
        hosts.append(how["hosts"])
        return send(request, **how)

    w.provider.send = seen  # type: ignore[method-assign]
    connect(w, build_grant(), answer(200, {"person": {"id": "1"}}))
    assert hosts == [entry.hosts, entry.hosts]


def test_an_answer_that_failed_names_no_account() -> None:
    w = with_profile(USERINFO)
    connect(w, build_grant(), answer(500, {"person": {"id": "1"}}))
    assert w.record().subject is None


def test_a_digest_of_an_account_is_of_one_connection() -> None:
    rule = Subject(source="capture", path="id")
    digests = {digest_account(name, rule, "1") for name in ("keap/a", "keap/b")}
    assert len(digests) == 2


def test_what_is_no_id_token_is_called_unreadable() -> None:
    with pytest.raises(ProviderRefused) as refused:
        verify_claims("a.b", issuers=("https://login.example.com",), client_id="c", nonce="n", now=0)
    assert refused.value.failure is not None
    assert refused.value.failure.reason == "unreadable"


def test_a_longer_issuer_than_any_real_one_belongs_to_none() -> None:
    known = {"other": ("https://login.example.com/{tenant}",)}
    assert belongs_to_another("https://login.example.com/a", "keap", known)
    assert not belongs_to_another(f"https://login.example.com/{'a' * 2000}", "keap", known)


def test_a_new_grant_is_sealed_for_what_it_was_authorized_for() -> None:
    w = world()
    started, params = w.start_authorization()
    w.handle_callback(params["state"], started.cookie)
    issued_for = w.stored().issued_for
    assert issued_for == describe_issuance(KEAP, w.record(), CLIENT)
    assert issued_for.addresses["refresh"] == "https://api.example.com/token"


# --- profiles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "ftp", "HTTPS", ""])
def test_an_address_of_a_profile_is_https(scheme: str) -> None:
    with pytest.raises(InvalidProfile, match=r"revoke\.url"):
        acme(f'[revoke]\nurl = "{scheme}://api.example.com/revoke"\n')


def test_an_issuer_of_a_profile_is_https() -> None:
    profile = acme()
    assert profile.authorize is not None
    authorize = msgspec.structs.replace(profile.authorize, issuer="http://login.example.com")
    problems = list(find_problems(msgspec.structs.replace(profile, authorize=authorize)))
    assert any(problem.startswith("authorize.issuer:") for problem in problems)


def test_a_variable_stays_inside_its_part_of_a_path() -> None:
    filled = fill_url("https://a.example/t/{t}/token", {"t": "x/y?z#w%2e é"}, loopback=False)
    assert filled == "https://a.example/t/x%2Fy%3Fz%23w%252e%20%C3%A9/token"


@pytest.mark.parametrize("value", ["a\rb", "a\nb"])
def test_a_parameter_holds_no_line_break(value: str) -> None:
    with pytest.raises(InvalidVariable):
        fill_params({"x": "{x}"}, {"x": value})


def test_a_header_is_ascii() -> None:
    with pytest.raises(InvalidVariable):
        fill_headers({"x": "{x}"}, {"x": "é"})


def test_the_associated_data_is_of_one_connection_and_generation() -> None:
    bound = [("keap/a", 1), ("keap/a", 2), ("keap/b", 1)]
    assert len({seal._encode_context(seal._build_context(*each)) for each in bound}) == 3


# --- logs -------------------------------------------------------------------------------------------------------------


def test_the_sdk_logs_nothing_below_info() -> None:
    for name in log_levels.SDK_LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG)
    log_levels.keep_sdk_at_info()
    assert [logging.getLogger(name).level for name in log_levels.SDK_LOGGERS] == [logging.INFO] * 3
