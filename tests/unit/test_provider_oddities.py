"""Protects what profiles must be able to say: oddities that users of real providers met, one test each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evergrant.errors import InvalidVariable
from evergrant.http_messages import HttpRequest
from evergrant.oauth.authorization_response import parse_authorization_response
from evergrant.oauth.client import Client
from evergrant.oauth.error_response import Refusal
from evergrant.oauth.token_request import Phase, build_token_request
from evergrant.oauth.token_response import parse_token_response
from evergrant.oauth.token_set import TokenSet
from evergrant.profiles.loader import load_profile
from evergrant.profiles.model import Profile
from evergrant.secret import Secret
from tests.unit.samples import NOW, acme, form_of, respond, tokens

CLIENT = Client("acme", "client-1", (Secret("hush"),), ("api.example.com",))
CALLBACK = "https://e.example.com/callback"
VALUES = {"refresh_token": "r", "redirect_uri": CALLBACK, "scope": "a b"}


def build_request(profile: Profile, phase: Phase = "refresh", **values: str | None) -> HttpRequest:
    return build_token_request(profile, phase, {}, CLIENT, Secret("hush"), {**VALUES, **values}, now=NOW)


def parse_grant(profile: Profile, body: Any, previous: TokenSet | None = None) -> TokenSet:
    answer = parse_token_response(profile, respond(200, body), NOW, previous)
    assert isinstance(answer, TokenSet)
    return answer


def parse_refusal(profile: Profile, status: int, body: Any) -> Refusal:
    answer = parse_token_response(profile, respond(status, body), NOW)
    assert isinstance(answer, Refusal)
    return answer


def plain(refresh: str, more: str = "") -> Profile:
    """A code grant whose [refresh] says more."""
    url = 'url = "https://api.example.com/token"'
    return load_profile(
        f'name = "acme"\ntitle = "A"\n[authorize]\nurl = "https://x.example/a"\n[exchange]\n{url}\n'
        f"[refresh]\n{url}\n{refresh}\n{more}"
    )


# Requests


def test_a_url_holds_a_tenant_that_matches_its_pattern() -> None:
    profile = acme(
        '[client_credentials]\nurl = "https://{tenant}.example.com/{region}/token"\n'
        "[variables]\ntenant = { pattern = '[a-z]+' }\nregion = { pattern = 'eu|us' }"
    )
    bound = profile.bind({"tenant": "main", "region": "eu"})
    request = build_token_request(profile, "client_credentials", bound, CLIENT, Secret("s"), {}, now=NOW)
    assert request.url == "https://main.example.com/eu/token"
    with pytest.raises(InvalidVariable):
        profile.bind({"tenant": "main", "region": "eux"})


def test_a_refresh_has_a_url_of_its_own() -> None:
    profile = acme('[client_credentials]\nurl = "https://api.example.com/other"')
    assert build_request(profile, "client_credentials").url != build_request(profile).url


def test_parameters_are_added_renamed_and_deleted() -> None:
    profile = plain(
        "[refresh.params]\nresource = 'x'\ngrant_type = 'refresh'\nrefresh_token = ''\ntoken = '{refresh_token}'\n"
        "back = '{redirect_uri}'"
    )
    assert form_of(build_request(profile)) == {
        "grant_type": "refresh",
        "client_id": "client-1",
        "client_secret": "hush",
        "resource": "x",
        "token": "r",
        "back": CALLBACK,
    }


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_parameters_travel_in_the_query(method: str) -> None:
    request = build_request(plain(f'method = "{method}"\nformat = "query"\nclient_auth = "none"'))
    assert (request.method, request.body) == (method, b"")
    assert request.url.endswith("/token?grant_type=refresh_token&refresh_token=r&client_id=client-1")


def test_a_phase_has_headers_of_its_own() -> None:
    profile = plain('headers = { Accept = "text/plain", X-Client = "{client_id}" }')
    headers = build_request(profile).headers
    assert (headers["accept"], headers["x-client"]) == ("text/plain", "client-1")
    assert "x-client" not in build_request(profile, "exchange", code="c").headers


def test_a_token_is_revoked_as_the_standard_says() -> None:
    profile = acme('[revoke]\nurl = "https://api.example.com/revoke"\nscope = "grant"')
    assert form_of(build_request(profile, "revoke", token="t/1")) == {
        "token": "t/1",
        "client_id": "client-1",
        "client_secret": "hush",
    }
    assert profile.revoke is not None
    assert profile.revoke.scope == "grant", "revoking one token here ends the whole permission"


# Callbacks


def test_a_callback_is_read_by_the_standards_names() -> None:
    assert parse_authorization_response(acme(), {"code": "c", "state": "s"}).code == "c"
    denied = parse_authorization_response(acme(), {"error": "access_denied", "error_description": "canary"})
    assert (denied.code, denied.error) == (None, "access_denied")
    assert "canary" not in repr(denied)


def test_a_callback_is_read_by_the_providers_own_names() -> None:
    profile = acme('[callback]\ncode = "auth_code"\nerror = "err"\ncapture = { realm_id = "realmId", gone = "gone" }')
    answer = parse_authorization_response(profile, {"auth_code": "c", "code": "other", "realmId": "42"})
    assert (answer.code, answer.error, answer.captured) == ("c", None, {"realm_id": "42"})
    assert parse_authorization_response(profile, {"err": "canary <script>"}).error == "refused"


@pytest.mark.parametrize("value", ["a\r\nb", "", "\x00", "a\ud800", "x" * 2001])
def test_nothing_unsendable_is_captured(value: str) -> None:
    profile = acme('[callback]\ncapture = { realm = "realm" }\n[response]\ncapture = { site = "site" }')
    assert parse_authorization_response(profile, {"code": "c", "realm": value}).captured == {}
    assert parse_grant(profile, {"access_token": "a", "expires_in": 60, "site": value}).captured == {}


# Answers


@pytest.mark.parametrize(
    ("rule", "stated", "lifetime"),
    [
        ('{ path = "t" }', 60, 60),
        ('{ path = "t" }', "60", 60),
        ('{ path = "t" }', 60.9, 60),
        ('{ path = "t", format = "milliseconds" }', 60_000, 60),
        ('{ path = "t", format = "epoch" }', NOW + 60, 60),
        ('{ path = "t", format = "epoch_milliseconds" }', (NOW + 60) * 1000, 60),
        ('{ path = "t", format = "iso8601" }', "2026-11-22T10:01:00Z", 60),
        ('{ path = "t", format = "iso8601" }', "2026-11-22T11:01:00+01:00", 60),
        ('{ path = "t" }, { default = 7 }', 0, 0),
        ('{ path = "t" }, { default = 7 }', -1, 0),
        ('{ path = "t" }, { default = 7 }', None, 7),
        ('{ path = "t" }, { default = 7 }', 10**300, 7),
        ('{ path = "t" }, { default = 7 }', True, 7),
        ('{ path = "t", format = "epoch" }, { default = 7 }', 300, 7),
    ],
)
def test_each_way_of_stating_an_expiry_is_read(rule: str, stated: Any, lifetime: int) -> None:
    profile = acme(f"[response]\nexpires = [{rule}]")
    assert parse_grant(profile, {"access_token": "a", "t": stated}).lifetime == lifetime


@pytest.mark.parametrize("name", ["refresh_token_expires_in", "x_refresh_token_expires_in", "refresh_expires_in"])
def test_an_answer_states_its_refresh_tokens_life(name: str) -> None:
    profile = acme(f'[response]\nrefresh_expires = [{{ path = "{name}" }}, {{ default = 8640000 }}]')
    body = {"access_token": "a", "refresh_token": "r", "expires_in": 60}
    assert parse_grant(profile, {**body, name: 100}).refresh_expires_at == NOW + 100
    assert parse_grant(profile, body).refresh_expires_at == NOW + 8_640_000


def test_a_use_extends_an_idle_refresh_token_the_response_leaves_out() -> None:
    """Using an idle refresh token extends it, though the response leaves it out."""
    profile = acme("[response]\nrefresh_expires = [{ default = 1000 }]")
    read = parse_grant(profile, {"access_token": "a", "expires_in": 60}, tokens(refresh_expires_at=NOW + 7))
    assert (read.refresh_token, read.refresh_expires_at) == (Secret("refresh-1"), NOW + 1000)


def test_a_hard_life_is_not_renewed_but_a_stated_one_is_believed() -> None:
    more = '[response]\nrefresh_expires = [{ path = "left" }, { default = 1000 }]\n[rotation]\nrefresh_token_life = '
    profile, body = acme(more + '"hard"'), {"access_token": "a", "refresh_token": "r2", "expires_in": 60}
    assert parse_grant(profile, body, tokens(refresh_expires_at=NOW + 7)).refresh_expires_at == NOW + 7
    assert parse_grant(profile, {**body, "left": 5}, tokens(refresh_expires_at=NOW + 7)).refresh_expires_at == NOW + 5
    late = parse_grant(profile, body, tokens(refresh_expires_at=NOW - 1))
    assert late.refresh_expires_at == NOW + 1000, "it outlived its date: the date was wrong"


def test_a_refresh_token_dies_with_its_access_token() -> None:
    profile = acme('[rotation]\nrefresh_token_life = "with_access_token"')
    read = parse_grant(profile, {"access_token": "a", "refresh_token": "r", "expires_in": 60})
    assert read.refresh_expires_at == read.expires_at


@pytest.mark.parametrize(("scope", "text"), [(["x", "y"], "x y"), ("x,y", "x,y"), ([], "asked"), (None, "asked")])
def test_a_granted_scope_is_a_text_a_list_or_left_out(scope: Any, text: str) -> None:
    body = {"access_token": "a", "expires_in": 60, "scope": scope}
    assert parse_grant(acme(), body, tokens(scope="asked")).scope == text


SLACK = '[response]\nsuccess_when = { path = "ok", equals = true }'


@pytest.mark.parametrize("ok", [False, None, "true", 1, "false", {}])
def test_a_200_that_says_it_is_no_success_is_none(ok: Any) -> None:
    body = {"ok": ok, "access_token": "a", "expires_in": 60, "error": "invalid_grant"}
    assert parse_refusal(acme(SLACK), 200, body) == Refusal("grant_rejected", 200, "invalid_grant")
    assert parse_refusal(acme(SLACK), 200, {"ok": ok}) == Refusal("rejected_unknown", 200)


def test_a_200_that_says_it_is_a_success_is_one() -> None:
    body = {"ok": True, "access_token": "a", "expires_in": 60, "error": "deprecated"}
    assert parse_grant(acme(SLACK), body).access_token == Secret("a")


def test_a_success_shown_by_a_number_is_not_shown_by_a_boolean() -> None:
    profile = acme('[response]\nsuccess_when = { path = "code", equals = 0 }\nerror = ["code"]')
    assert parse_grant(profile, {"code": 0, "access_token": "a", "expires_in": 60}).access_token == Secret("a")
    assert (
        parse_refusal(profile, 200, {"code": False, "access_token": "a", "expires_in": 60}).kind == "rejected_unknown"
    )


def test_an_error_is_found_where_the_profile_says() -> None:
    profile = acme(
        '[response]\nerror = ["error.code", "status"]\nerror_description = ["error.text", "msg"]\n'
        '[[errors]]\ncode = "BAD_HUB"\nas = "grant_rejected"\n'
        '[[errors]]\ncode = "1403"\ndescription = "expired"\nas = "grant_rejected"'
    )
    assert parse_refusal(profile, 400, {"error": {"code": "BAD_HUB"}}) == Refusal("grant_rejected", 400, "BAD_HUB")
    assert parse_refusal(profile, 400, {"status": "BAD_HUB"}).kind == "grant_rejected"
    assert parse_refusal(profile, 400, {"status": 1403, "msg": "expired"}) == Refusal("grant_rejected", 400, "1403")
    assert parse_refusal(profile, 400, {"status": 1403, "msg": "canary"}).kind == "rejected_unknown"
    assert parse_refusal(profile, 400, {"error": "invalid_grant"}) == Refusal("rejected_unknown", 400)


def test_an_empty_400_means_what_the_profile_says() -> None:
    profile = acme('[[errors]]\nstatus = 400\nempty = true\nas = "grant_rejected"')
    assert parse_refusal(profile, 400, b"").kind == parse_refusal(profile, 400, b" \n").kind == "grant_rejected"
    assert parse_refusal(profile, 400, b"{}").kind == parse_refusal(profile, 401, b"").kind == "rejected_unknown"
    assert parse_refusal(acme(), 400, b"").kind == "rejected_unknown", (
        "a dead token or a wrong secret: the answer does not say which"
    )


def test_a_500_for_a_refresh_in_the_same_second_was_not_used() -> None:
    profile = acme('[[errors]]\nstatus = 500\nas = "not_used"')
    assert parse_refusal(profile, 500, b"") == Refusal("not_used", 500)


def test_an_error_text_with_a_token_in_it_is_matched_and_dropped() -> None:
    answered = {"error": "invalid_request", "error_description": "SELECT * FROM t WHERE token = 'canary'"}
    assert "canary" not in repr(parse_refusal(acme(), 400, answered))


def test_a_refusal_of_an_early_refresh_waits_as_long_as_it_states() -> None:
    answer = parse_token_response(acme(), respond(429, {"error": "slow_down"}, retry_after="570"), NOW)
    assert isinstance(answer, Refusal)
    assert (answer.kind, answer.retry_after) == ("rate_limited", 570)
    assert acme("[rotation]\nminimum_age = 570").rotation.minimum_age == 570


def test_values_for_consumers_are_kept_over_refreshes() -> None:
    profile = acme('[response]\ncapture = { api = "instance_url" }')
    first = parse_grant(profile, {"access_token": "a", "expires_in": 60, "instance_url": "https://eu.example.com"})
    again = parse_grant(profile, {"access_token": "b", "expires_in": 60}, first)
    assert again.captured == {"api": "https://eu.example.com"}


def test_two_refreshes_may_bring_the_same_access_token() -> None:
    assert parse_grant(acme(), {"access_token": "access-1", "expires_in": 60}, tokens()).access_token == Secret(
        "access-1"
    )


def test_a_log_in_may_rename_its_credentials() -> None:
    profile = load_profile(
        'name = "acme"\ntitle = "A"\n[login]\nurl = "https://x.example/l"\nformat = "json"\n'
        'credentials = [["user", "key"]]\nheaders = { X-Key = "{key}" }\n'
        'params = { key = "", name = "{user}", user = "" }'
    )
    held = Client("acme", None, (), ("x.example",), {"user": Secret("u"), "key": Secret("k")})
    request = build_token_request(profile, "login", {}, held, None, {}, now=NOW)
    assert (json.loads(request.body), request.headers["x-key"]) == ({"name": "u"}, "k")
