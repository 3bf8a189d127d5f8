"""Protects terminals, logs, pages and consumers from texts of profiles, providers and browsers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.errors import InvalidProfile, InvalidRequest, InvalidVariable
from evergrant.getter.handler import handle_event
from evergrant.getter.token_reader import TokenReader
from evergrant.names import MAX_REQUEST_SECONDS
from evergrant.oauth.authorization_response import parse_authorization_response
from evergrant.profiles import built_in
from evergrant.profiles.leaks import find_leaks
from evergrant.profiles.loader import MAX_CHARACTERS, load_profile
from evergrant.profiles.pattern_limits import find_pattern_problem
from evergrant.profiles.templates import fill_url
from evergrant.record.token_document import build_document
from evergrant.rotation.handler import parse_demand
from evergrant.secret import Secret
from evergrant.texts import is_safe
from tests.unit.samples import acme, connection, respond, tokens
from tests.unit.test_token_response import parse_grant

ESCAPE, BELL, DELETE, C1 = "\x1b[2J", "a\x07", "a\x7f", "a\x9b"
OVERRIDE, ISOLATE, MARK, LINE, PARAGRAPH = "a\u202eb", "a\u2066b", "a\u200fb", "a\u2028b", "a\u2029b"
MISLEADING = [ESCAPE, BELL, DELETE, C1, OVERRIDE, ISOLATE, MARK, LINE, PARAGRAPH, "a\nb", "a\ud800b", "a\ufeffb"]
QUICKBOOKS = built_in.load_built_in()["quickbooks"]


@pytest.mark.parametrize("text", MISLEADING)
def test_a_character_that_misleads_a_reader_is_not_safe(text: str) -> None:
    assert not is_safe(text)
    assert is_safe("Crédit Agricole — Überweisung, 会社 العربية, 👍🏽")


@pytest.mark.parametrize("text", [text for text in MISLEADING if "\ud800" not in text])
def test_no_text_of_a_profile_holds_one(text: str) -> None:
    escaped = "".join(f"\\u{ord(character):04x}" for character in text)
    for more in (
        f'[variables.host]\npattern = "a"\ndescribe = "{escaped}"',
        f'[[errors]]\nas = "transient"\ncode = "{escaped}"',
    ):
        with pytest.raises(InvalidProfile, match="holds a control character"):
            acme(more)


@pytest.mark.parametrize("text", MISLEADING)
def test_a_providers_scope_and_captured_values_hold_none(text: str) -> None:
    profile = acme('[response]\ncapture = { site = "site" }')
    read = parse_grant(
        profile, {"access_token": "a", "expires_in": 60, "scope": text, "site": text, "token_type": text}
    )
    assert (read.scope, read.captured, read.token_type) == (None, {}, "Bearer")


# --- captured values --------------------------------------------------------------------------------------------------

CALLBACK = '[callback]\ncapture = { realm = "realmId" }\npatterns = { realm = "[0-9]+" }\n'


@pytest.mark.parametrize(
    ("value", "captured"), [("9130", {"realm": "9130"}), ("9130/..", {}), ("x", {}), ("9" * 256, {})]
)
def test_a_captured_value_matches_its_pattern_in_full(value: str, captured: dict[str, str]) -> None:
    by_callback = parse_authorization_response(acme(CALLBACK), {"code": "c", "realmId": value})
    assert by_callback.captured == captured
    profile = acme('[response]\ncapture = { realm = "realm" }\npatterns = { realm = "[0-9]+" }')
    assert parse_grant(profile, {"access_token": "a", "expires_in": 60, "realm": value}).captured == captured


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ('[callback]\ncapture = { realm = "realmId" }\npatterns = { other = "a" }', "no callback.capture.other"),
        ('[response]\ncapture = { realm = "r" }\npatterns = { realm = "(a+)+" }', "response.patterns.realm"),
        ('[callback]\ncapture = { realm = "realmId" }\n[subject]\nfrom = "capture"\npath = "realm"', "subject.url"),
        (
            '[callback]\ncapture = { realm = "realmId" }\n[subject]\nfrom = "capture"\npath = "realm"\n'
            'url = "https://api.example.com/{realm}"',
            "{realm} has no value here",
        ),
        (
            '[response]\ncapture = { id = "id" }\n[subject]\nfrom = "capture"\npath = "id"\nurl = "https://a.example/"',
            "subject.url",
        ),
    ],
)
def test_what_comes_by_the_browser_names_no_account_by_itself(more: str, problem: str) -> None:
    with pytest.raises(InvalidProfile) as refused:
        acme(more)
    assert problem in str(refused.value)


def test_the_company_of_quickbooks_is_digits_that_the_provider_confirms() -> None:
    assert QUICKBOOKS.callback.patterns == {"realm_id": "[0-9]{1,30}"}
    assert QUICKBOOKS.subject is not None
    assert QUICKBOOKS.subject.url == "https://{api_host}/v3/company/{realm_id}/companyinfo/{realm_id}"


# --- what is never published ------------------------------------------------------------------------------------------

LEAKS = [
    '[response]\ncapture = { x = "refresh_token" }',
    '[response]\ncapture = { x = "data.refreshToken" }',
    '[response]\ncapture = { x = "id_token" }',
    '[response]\ncapture = { x = "client-secret" }',
    '[response]\nrefresh_token = ["rt"]\ncapture = { x = "rt" }',
    '[response]\ncapture = { x = "refresh_token.value" }',
    '[response]\ncapture = { x = "id_token.raw" }',
    '[response]\nrefresh_token = ["data.rt"]\ncapture = { x = "data.rt.value" }',
    '[response]\nscope = ["scope", "refresh_token"]',
    '[response]\ntoken_type = ["id_token"]',
    '[response]\nrefresh_token = ["rt"]\ntoken_type = ["rt"]',
    '[response]\naccess_token = ["access_token", "refresh_token"]',
    '[callback]\ncapture = { x = "code" }',
    '[callback]\ncode = "auth"\ncapture = { x = "auth" }',
    '[callback]\ncapture = { x = "id_token" }',
    '[callback]\ncapture = { x = "state" }',
]


@pytest.mark.parametrize("more", LEAKS)
def test_a_profile_that_could_publish_a_secret_is_refused(more: str) -> None:
    with pytest.raises(InvalidProfile):
        acme(more)


@pytest.mark.parametrize("name", ["refresh_token", "client_secret", "client_id", "id_token"])
def test_a_consumers_header_cannot_name_a_secret(name: str) -> None:
    with pytest.raises(InvalidProfile, match="has no value here"):
        acme(f'[consumer]\nheaders = {{ x = "{{{name}}}" }}')


def test_no_shipped_profile_leaks() -> None:
    assert [leak for profile in built_in.load_built_in().values() for leak in find_leaks(profile)] == []


def test_a_refresh_token_is_published_by_no_path() -> None:
    """Also where a profile was written past its checks."""
    secret = "canary-refresh-token"
    held = tokens(
        refresh_token=Secret(secret),
        scope=f"a {secret}",
        token_type=secret,
        captured={"x": secret, "y": f"={secret}", "z": "1"},
    )
    headers = {"X": "{token_type}", "Authorization": "Bearer {access_token}"}
    consumer = msgspec.structs.replace(acme().consumer, headers=headers)
    document = build_document(connection(), msgspec.structs.replace(acme(), consumer=consumer), held)
    assert secret not in str(document)
    assert (document["captured"], document["headers"]) == ({"z": "1"}, {"Authorization": "Bearer access-1"})
    lacking = replace(connection(), missing_scope=secret)
    named = msgspec.structs.replace(acme().consumer, headers={secret: "{access_token}"}, required_headers=(secret,))
    document = build_document(lacking, msgspec.structs.replace(acme(), consumer=named), held)
    assert secret not in str(document)
    same = build_document(connection(), acme(), replace(held, access_token=Secret(secret)))
    assert secret not in str(same)


def test_a_response_with_one_text_for_both_tokens_is_no_token_set() -> None:
    from evergrant.errors import UnreadableResponse
    from evergrant.oauth.token_response import parse_token_response

    body = {"access_token": "same", "refresh_token": "same", "expires_in": 60}
    with pytest.raises(UnreadableResponse):
        parse_token_response(acme(), respond(200, body), 0)


# --- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["..", "."])
def test_a_variable_does_not_climb_a_path(value: str) -> None:
    with pytest.raises(InvalidVariable):
        fill_url("https://api.example.com/tenants/{tenant}/token", {"tenant": value}, loopback=False)
    assert fill_url("https://a.example/{t}", {"t": f"{value}x"}, loopback=False) == f"https://a.example/{value}x"


# --- limits of a profile ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        *("(a+)+", "(a*)*b", "([a-z]+)*", "(a?){30}a{30}", "(.*a){20}", "(x+x+)+y", "((a{0,9}){0,9}){0,9}"),
        *("(([a-z])+.)+[A-Z]([a-z])+", "(-[a-z]|\\.[a-z])*", "a*a*a*a*a*b", "(a+)+$", r"(\w+\s?)*"),
        *("(a|a)*", "(?:x|x)+", "(ab|ab)*", "(a(bc|b)(c|))*", "(-[a-z]*[a-z]*)*", "(-(?:[a-z]x|[a-c]x))*"),
        *("(?=a)b", r"(a)\1", "[", "a" * 501),
    ],
)
def test_a_pattern_that_may_take_for_ever_is_refused(pattern: str) -> None:
    assert find_pattern_problem(pattern) is not None
    with pytest.raises(InvalidProfile, match=r"variables\.host\.pattern"):
        acme(f"[variables.host]\npattern = '{pattern}'\ndefault = '{'a' * 40}!'")


@pytest.mark.parametrize(
    "pattern",
    ["[a-z0-9-]+(\\.[a-z0-9-]+)+", "([a-z]+\\.)+", r"\w+(\.\w+)*", "[0-9a-f]{8}(-[0-9a-f]{4}){3}", ".*", "a|b"],
)
def test_the_patterns_that_people_write_are_taken(pattern: str) -> None:
    assert find_pattern_problem(pattern) is None


def test_a_profile_is_of_a_bounded_size_and_depth() -> None:
    with pytest.raises(InvalidProfile, match="at most 16,384 characters"):
        load_profile("#" * (MAX_CHARACTERS + 1))
    for key in (".".join(["a"] * 8000), " . ".join(['"a"'] * 100), ".".join(["'a'"] * 40)):
        with pytest.raises(InvalidProfile, match="nested too deeply"):
            load_profile(f"{key} = 1")
        with pytest.raises(InvalidProfile, match="nested too deeply"):
            load_profile(f"x = {{ {key} = 1 }}")


@pytest.mark.parametrize("value", [ESCAPE, OVERRIDE, "a\nb", "a" * 256])
def test_a_variables_value_is_short_and_plain(value: str) -> None:
    with pytest.raises(InvalidVariable):
        acme("[variables.host]\npattern = '(?s).*'").bind({"host": value})


# --- getter and rotator -----------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ("connection", "min_ttl", "rejected", "requestContext", "pathParameters", "queryStringParameters", "cookies")
EVENTS = JSON | st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=7)


def build_reader() -> TokenReader:
    return TokenReader(lambda _: None, lambda _: {"error": {"code": "unknown_connection", "message": "x"}}, lambda: 0.0)


@given(EVENTS)
def test_getter_answers_every_payload_with_a_typed_error(event: Any) -> None:
    answer = handle_event(build_reader(), event)
    assert answer.get("statusCode", 0) >= 400 or answer["error"]["code"]


@pytest.mark.parametrize("event", [[1], None, "x", 7, True, {"connection": "keap/main", "min_ttl": 10**9}])
def test_getter_refuses_what_is_no_request(event: Any) -> None:
    assert handle_event(build_reader(), event)["error"]["code"] == "invalid_request"


@given(JSON | st.dictionaries(st.sampled_from(("connection", "min_ttl", "rejected", "wait", "force")), JSON))
def test_rotator_refuses_what_is_no_request(request_: Any) -> None:
    with suppress(InvalidRequest):
        parse_demand(request_)


def test_getters_limit_is_rotators() -> None:
    for seconds, is_taken in ((MAX_REQUEST_SECONDS, True), (MAX_REQUEST_SECONDS + 1, False)):
        request = {"connection": "keap/main", "min_ttl": seconds}
        assert (handle_event(build_reader(), request)["error"]["code"] == "unknown_connection") is is_taken
        if is_taken:
            assert parse_demand(request).min_ttl == seconds
        else:
            with pytest.raises(InvalidRequest):
                parse_demand(request)
