"""Protects what answers are taken to mean: success, refusal or doubt, whose fault, and no provider's text kept."""

from __future__ import annotations

from typing import Any

import pytest

from evergrant.errors import UnreadableResponse
from evergrant.oauth.error_response import Refusal
from evergrant.oauth.token_response import parse_token_response
from evergrant.oauth.token_set import TokenSet
from evergrant.profiles.model import Profile
from evergrant.record.token_document import build_consumer_headers
from evergrant.secret import Secret
from tests.unit.samples import KEAP, NOW, WEALTHYHOOD, acme, respond, tokens

CANARY = "canary-1f0b7c5d"


def parse_grant(profile: Profile, body: Any, previous: TokenSet | None = None, **headers: str) -> TokenSet:
    answer = parse_token_response(profile, respond(200, body, **headers), NOW, previous)
    assert isinstance(answer, TokenSet)
    return answer


def parse_refusal(profile: Profile, status: int, body: Any = b"", **headers: str) -> Refusal:
    answer = parse_token_response(profile, respond(status, body, **headers), NOW)
    assert isinstance(answer, Refusal)
    return answer


# Success


def test_keaps_answer_is_read_whole() -> None:
    body = {"access_token": "a", "refresh_token": "r", "expires_in": 86400, "token_type": "bearer", "scope": "full|x.y"}
    assert parse_grant(KEAP, body) == TokenSet(
        access_token=Secret("a"),
        refresh_token=Secret("r"),
        issued_at=NOW,
        expires_at=NOW + 86_400,
        expiry_rule="expires_in:seconds",
        refresh_expires_at=NOW + 45 * 86_400,
        token_type="bearer",
        scope="full|x.y",
    )


def test_wealthyhoods_answer_is_read_whole() -> None:
    body = {"access_token": "a", "token_type": "Bearer", "expires_in": 3600, "scope": "read write"}
    assert parse_grant(WEALTHYHOOD, body) == TokenSet(
        access_token=Secret("a"),
        issued_at=NOW,
        expires_at=NOW + 3600,
        expiry_rule="expires_in:seconds",
        scope="read write",
    )


@pytest.mark.parametrize(("profile", "lifetime"), [(KEAP, 86_400), (WEALTHYHOOD, 3600)])
@pytest.mark.parametrize("stated", [{}, {"expires_in": None}, {"expires_in": "soon"}])
def test_a_missing_or_unreadable_lifetime_is_the_documented_one(
    profile: Profile, lifetime: int, stated: dict[str, Any]
) -> None:
    read = parse_grant(profile, {"access_token": "a", **stated})
    assert (read.expires_at, read.expiry_rule) == (NOW + lifetime, "default")


def test_what_a_refresh_leaves_out_stays_as_it_was() -> None:
    previous = tokens(scope="full", refresh_expires_at=NOW + 7, captured={"realm": "7"})
    read = parse_grant(acme(), {"access_token": "a", "expires_in": 60}, previous)
    assert read.refresh_token == Secret("refresh-1")
    assert read.refresh_expires_at == NOW + 7
    assert read.scope == "full"
    assert read.captured == {"realm": "7"}


def test_what_a_refresh_brings_replaces_what_was() -> None:
    previous = tokens(scope="full", refresh_expires_at=NOW + 7)
    body = {"access_token": "a", "refresh_token": "r", "expires_in": 60, "scope": "less"}
    read = parse_grant(acme(), body, previous)
    assert (read.refresh_token, read.scope) == (Secret("r"), "less")
    assert read.refresh_expires_at is None, "the new token's life is not the old one's"


@pytest.mark.parametrize("empty", ["", None, 7, {}, [], False])
def test_an_empty_refresh_token_is_none_at_all(empty: Any) -> None:
    read = parse_grant(acme(), {"access_token": "a", "refresh_token": empty, "expires_in": 60}, tokens())
    assert read.refresh_token == Secret("refresh-1")


def test_the_first_path_that_is_there_wins() -> None:
    profile = acme(
        '[response]\naccess_token = ["accessTtoken", "data.accessToken", "access_token"]\n'
        'expires = [{ path = "expiresIn" }]\nrefresh_expires = [{ path = "x_refresh_token_expires_in" }]\n'
        'capture = { instance = "instance_url", company = "ids.0", absent = "absent" }'
    )
    body = {
        "data": {"accessToken": "a"},
        "refresh_token": "r",
        "expiresIn": "86400",
        "x_refresh_token_expires_in": 100,
        "ids": [42],
    }
    read = parse_grant(profile, {**body, "instance_url": "https://eu.example.com"})
    assert read.access_token == Secret("a")
    assert (read.expires_at, read.refresh_expires_at) == (NOW + 86_400, NOW + 100)
    assert read.captured == {"instance": "https://eu.example.com", "company": "42"}


def test_scopes_in_a_list_are_one_text() -> None:
    assert parse_grant(acme(), {"access_token": "a", "expires_in": 60, "scope": ["x", "y"]}).scope == "x y"


@pytest.mark.parametrize("odd", [["r", "s"], [" "], " ", "\u00a0", "r\ns"])
def test_what_is_no_refresh_token_does_not_take_the_old_ones_place(odd: Any) -> None:
    read = parse_grant(acme(), {"access_token": "a", "refresh_token": odd, "expires_in": 60}, tokens())
    assert read.refresh_token == Secret("refresh-1")


@pytest.mark.parametrize("stated", ["Bearer", "bearer", "BEARER", "BearerToken", "user", "", None])
def test_every_name_of_a_bearer_token_is_sent_as_bearer(stated: Any) -> None:
    read = parse_grant(acme(), {"access_token": "a", "token_type": stated, "expires_in": 60})
    assert read.token_type.lower() == "bearer"
    assert build_consumer_headers(acme(), {}, read) == {"Authorization": "Bearer a"}


@pytest.mark.parametrize("stated", ["mac", "DPoP", "N_A", "bot", "PoP"])
def test_a_token_of_another_type_is_never_sent_as_bearer(stated: str) -> None:
    body = {"access_token": "a", "token_type": stated, "expires_in": 60}
    with pytest.raises(UnreadableResponse, match="another type"):
        parse_token_response(acme(), respond(200, body), NOW)
    named = acme('[consumer]\nheaders = { Authorization = "{token_type} {access_token}" }')
    assert build_consumer_headers(named, {}, parse_grant(named, body)) == {"Authorization": f"{stated} a"}
    own = acme('[consumer]\nheaders = { X-Api-Key = "{access_token}" }')
    assert build_consumer_headers(own, {}, parse_grant(own, body)) == {"X-Api-Key": "a"}
    says_so = acme(f'[response]\nbearer_types = ["{stated.upper()}"]')
    assert build_consumer_headers(says_so, {}, parse_grant(says_so, body)) == {"Authorization": "Bearer a"}


@pytest.mark.parametrize("odd", ["é", " bearer", "bearer ", " ", 7, None, ["Bearer"]])
def test_a_token_type_that_no_header_may_hold_is_the_usual_one(odd: Any) -> None:
    # A consumer's header may name it: the set would be saved, and could never be published.
    profile = acme('[consumer]\nheaders = { Authorization = "{token_type} {access_token}" }')
    read = parse_grant(profile, {"access_token": "a", "token_type": odd, "expires_in": 60})
    assert build_consumer_headers(profile, {}, read) == {"Authorization": "Bearer a"}


def test_a_token_set_shows_no_text_of_its_provider() -> None:
    body = {
        "access_token": CANARY,
        "refresh_token": f"{CANARY}-r",
        "token_type": CANARY,
        "scope": CANARY,
        "site": CANARY,
    }
    headers = '[consumer]\nheaders = { X-Token = "{access_token}" }\n'
    profile = acme(headers + '[response]\ncapture = { site = "site" }')
    assert CANARY not in repr(parse_grant(profile, {**body, "expires_in": 60}))


@pytest.mark.parametrize(
    "kind",
    ["application/x-www-form-urlencoded", "Application/X-WWW-Form-URLencoded; charset=utf-8", "text/plain", "", "é"],
)
def test_an_answer_in_form_encoding_is_read(kind: str) -> None:
    read = parse_grant(acme(), b"access_token=a%2Fb&expires_in=60&refresh_token=r", content_type=kind)
    assert (read.access_token, read.refresh_token) == (Secret("a/b"), Secret("r"))
    assert read.expires_at == NOW + 60


@pytest.mark.parametrize("kind", ["", "text/html", "text/plain; charset=utf-8", "application/problem+json"])
def test_json_under_any_other_name_is_read_as_json(kind: str) -> None:
    assert parse_grant(acme(), b'{"access_token": "a", "expires_in": 60}', content_type=kind).access_token == Secret(
        "a"
    )


def test_a_byte_order_mark_does_not_hide_the_answer() -> None:
    assert parse_grant(acme(), b'\xef\xbb\xbf{"access_token": "a", "expires_in": 60}').expires_at == NOW + 60


@pytest.mark.parametrize(
    "body",
    [
        b'{"access_token": "a"',
        {"access_token": {"value": "a"}},
        {"access_token": "a\r\nb", "expires_in": 60},
        {"access_token": ["a", "b"], "expires_in": 60},
        {"access_token": " a", "expires_in": 60},
        {"access_token": "a ", "expires_in": 60},
        {"access_token": "é", "expires_in": 60},
        {"access_token": "a\ud800", "expires_in": 60},
        {"access_token": "a"},
        {"refresh_token": "r", "expires_in": 60},
        {"data": {"session": "a"}},
        {"result": "a" * 40},
        {"error": "none", "jwt": "a"},
        b"eyJhbGciOiJub25lIn0.eyJleHAiOjE3OTUzNDM0MDB9.c2ln",
        b"<OAuth><access_token>a</access_token></OAuth>",
        b"\x1f\x8b" + bytes(range(128, 256)),
    ],
)
def test_a_success_that_may_hold_tokens_is_kept_as_unreadable(body: Any) -> None:
    with pytest.raises(UnreadableResponse):
        parse_token_response(acme(), respond(200, body), NOW)


def test_a_plain_body_under_a_named_coding_is_read() -> None:
    body = {"access_token": "a", "expires_in": 60}
    assert parse_grant(acme(), body, content_encoding="gzip").access_token == Secret("a")
    assert parse_refusal(acme(), 400, {"error": "invalid_grant"}, content_encoding="gzip").kind == "grant_rejected"


def test_a_success_in_a_coding_that_is_not_known_is_kept() -> None:
    with pytest.raises(UnreadableResponse):
        parse_token_response(acme(), respond(200, b"\x0b\x02", content_encoding="br"), NOW)
    assert parse_refusal(acme(), 400, b"\x0b\x02", content_encoding="br").kind == "not_reached"


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"OK", b"<html>", b"\xff\xfe", b"[]", b"null", b'"a"', b"[" * 100_000),
        *({}, {"ok": False}, {"access_token": ""}, {"access_token": None}, {"access_token": " "}, {"error": "none"}),
        {"token_type": "Bearer", "refresh_token_expires_in": "60", "error": "something_else"},
        {"message": "The service is being updated. Please come back later."},
        b"<!DOCTYPE html><html><script>const access_token = 'eyJhbGciOiJub25lIn0.eyJleHAiOjE3OTUzND.c2ln'</script>",
        b"<?xml version='1.0'?>\n<html xmlns='http://www.w3.org/1999/xhtml'><p>session</p></html>",
    ],
)
def test_a_success_that_holds_no_token_is_unclear(body: Any) -> None:
    for content_type in ("application/json", "text/html; charset=utf-8"):
        refusal = parse_refusal(acme(), 200, body, content_type=content_type)
        assert (refusal.kind, refusal.in_doubt) == ("unclear", True)


# Refusals


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, {"error": "invalid_grant"}, "grant_rejected", "invalid_grant"),
        (401, {"error": "invalid_grant"}, "grant_rejected", "invalid_grant"),
        (
            400,
            {"error": "invalid_request", "error_description": "Invalid Refresh Token"},
            "grant_rejected",
            "invalid_request",
        ),
        (400, {"error": "invalid_request", "error_description": "Missing grant_type"}, "malformed", "invalid_request"),
        (400, {"error": "invalid_request"}, "malformed", "invalid_request"),
        (401, {"error": "invalid_client"}, "client_rejected", "invalid_client"),
        (400, {"error": "unauthorized_client"}, "client_unauthorized", "unauthorized_client"),
        (400, {"error": "unsupported_grant_type"}, "malformed", "unsupported_grant_type"),
        (400, {"error": "invalid_scope"}, "malformed", "invalid_scope"),
        (429, b"", "rate_limited", None),
        (408, b"", "not_reached", None),
        (400, b"", "rejected_unknown", None),
        (401, b"", "rejected_unknown", None),
        (404, b"<html>not here</html>", "not_reached", None),
        (302, b"", "not_reached", None),
    ],
)
def test_keaps_refusals_are_distinguished(status: int, body: Any, kind: str, code: str | None) -> None:
    refusal = parse_refusal(KEAP, status, body)
    assert (refusal.kind, refusal.status, refusal.code, refusal.in_doubt) == (kind, status, code, False)


@pytest.mark.parametrize("code", ["invalid_client", "access_denied"])
def test_wealthyhoods_refusals_blame_the_client(code: str) -> None:
    for status in (400, 401, 403):
        assert parse_refusal(WEALTHYHOOD, status, {"error": code}) == Refusal("client_rejected", status, code)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_a_failing_server_may_have_acted(status: int) -> None:
    for body in (b"", b"<html>", {"error": "server_error"}, {"error": "temporarily_unavailable"}):
        refusal = parse_refusal(KEAP, status, body)
        assert (refusal.kind, refusal.in_doubt) == ("unclear", True)
    assert parse_refusal(KEAP, status, {"error": "invalid_grant"}).in_doubt, "a gateway's word is not the provider's"


def test_a_profile_gives_a_failing_server_a_meaning_of_its_own() -> None:
    profile = acme('[[errors]]\nstatus = 500\ncode = "too_soon"\nas = "not_used"')
    assert parse_refusal(profile, 500, {"error": "too_soon"}) == Refusal("not_used", 500, "too_soon")
    assert parse_refusal(profile, 500, {"error": "else"}).in_doubt
    assert parse_refusal(profile, 400, {"error": "too_soon"}).kind == "rejected_unknown"


def test_the_profiles_own_rules_come_before_the_standards() -> None:
    profile = acme(
        '[[errors]]\ncode = "BAD_HUB"\nas = "grant_rejected"\n[[errors]]\ncode = "invalid_grant"\nas = "transient"'
    )
    assert parse_refusal(profile, 403, {"error": "BAD_HUB"}) == Refusal("grant_rejected", 403, "BAD_HUB")
    assert parse_refusal(profile, 400, {"error": "invalid_grant"}).kind == "transient"


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        ({"ok": False, "error": "invalid_grant"}, "grant_rejected", "invalid_grant"),
        ({"error": "Invalid_Client", "access_token": "a", "expires_in": 60}, "client_rejected", "invalid_client"),
        ({"error": "invalid_request", "refresh_token": "r"}, "malformed", "invalid_request"),
    ],
)
def test_a_code_under_status_200_beside_no_complete_set_is_a_refusal(
    body: dict[str, Any], kind: str, code: str | None
) -> None:
    refusal = parse_refusal(acme(), 200, body)
    assert (refusal.kind, refusal.code, refusal.in_doubt) == (kind, code, False)


ERRORS = ["none", "None", "success", "invalid_grant", {"message": "no"}, ["x"], True, 7, None, "", 0, False, [], {}]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("content_type", ["application/json", "text/html", ""])
def test_a_complete_set_is_used_with_any_error_beside_it(error: Any, content_type: str) -> None:
    body = {"access_token": "a", "refresh_token": "r", "expires_in": 60, "error": error, "other": "\ud800"}
    read = parse_grant(acme(), body, tokens(), content_type=content_type)
    assert (read.access_token, read.refresh_token) == (Secret("a"), Secret("r"))


@pytest.mark.parametrize("error", [error for error in ERRORS if error != "invalid_grant"])
def test_without_a_new_refresh_token_only_a_code_counts_against_a_set(error: Any) -> None:
    read = parse_grant(acme(), {"access_token": "a", "expires_in": 60, "error": error}, tokens())
    assert (read.access_token, read.refresh_token) == (Secret("a"), Secret("refresh-1"))


def test_where_nothing_rotates_a_set_is_complete_without_a_refresh_token() -> None:
    body = {"access_token": "a", "expires_in": 60, "error": "invalid_grant"}
    assert parse_grant(acme("[rotation]\nrotates = false"), body, tokens()).access_token == Secret("a")
    assert parse_grant(WEALTHYHOOD, body).access_token == Secret("a")


def test_a_400_is_a_refusal_even_with_a_complete_set() -> None:
    body = {"access_token": "a", "refresh_token": "r", "expires_in": 60}
    assert parse_refusal(acme(), 400, body).kind == "rejected_unknown"
    assert parse_refusal(acme(), 400, {**body, "error": "invalid_grant"}).kind == "grant_rejected"


@pytest.mark.parametrize("error", [{"code": "invalid_grant"}, ["invalid_grant"], 7, True, 1.5, {"message": CANARY}])
def test_an_error_that_is_no_text_is_no_code(error: Any) -> None:
    assert parse_refusal(KEAP, 400, {"error": error}) == Refusal("rejected_unknown", 400)


@pytest.mark.parametrize(
    "body",
    [
        {"error": CANARY},
        {"error": f"invalid_grant {CANARY}"},
        {"error": "invalid_grant", "error_description": f"token {CANARY} is dead", "error_uri": CANARY},
        {"error": "invalid_request", "error_description": CANARY},
        {"message": CANARY},
        CANARY.encode(),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
def test_no_text_of_a_provider_survives_its_reading(status: int, body: Any) -> None:
    answer: Any
    try:
        answer = parse_token_response(KEAP, respond(status, body, x_request_id=CANARY), NOW)
    except UnreadableResponse as unread:
        answer = unread.as_dict()
    assert CANARY not in repr(answer)


# Which rule matched


@pytest.mark.parametrize(
    ("status", "body", "rule"),
    [
        (400, {"error": "busy"}, "errors[1]"),
        (400, {"error": "invalid_grant"}, "standard"),
        (418, {"error": "teapot"}, None),
    ],
)
def test_a_refusal_names_the_rule_that_matched(status: int, body: dict[str, Any], rule: str | None) -> None:
    more = '[[errors]]\nas = "malformed"\nstatus = 422\n[[errors]]\nas = "transient"\ncode = "busy"\n'
    assert parse_refusal(acme(more), status, body).rule == rule
