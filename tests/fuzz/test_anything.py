"""Protects the parsers against answers and files of any kind, by the oracle that the fuzzer asks too.

Every answer is read as an answer to every request of every shipped profile.
"""

from __future__ import annotations

import json
from itertools import product
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.errors import InvalidProfile, UnreadableResponse
from evergrant.http_messages import HttpResponse
from evergrant.oauth.error_response import Refusal
from evergrant.oauth.token_set import TokenSet
from evergrant.profiles.built_in import load_built_in
from evergrant.profiles.model import Profile
from tests.fuzz.oracle import CASES, NOW, Case, check_answer, check_callback, check_profile, check_wire, granting, put
from tests.fuzz.targets import ODD_BODIES, TARGETS, Target, profile_texts, words

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
PROFILES = load_built_in()
every_case = pytest.mark.parametrize("case", CASES, ids=str)

#: What providers state of a lifetime, and what none should.
STATED: tuple[Any, ...] = (
    None, "", " ", "soon", "3600", "3600.7", " 60 ", "1e3", "1_000", "٣٦٠٠", "-5", "0", "nan", "inf", "9" * 400,
    True, False, 0, -1, 1, 0.4, 3600.7, 1e16, 1e17, -1e300, 10**15, 10**30, 10**400, float("nan"),
    float("inf"), float("-inf"),
    NOW, NOW + 60, (NOW + 60) * 1000, "2026-11-22T11:00:00Z", "2026-11-22T11:00:00", "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59", [], [3600], {}, {"expires_in": 60},
)  # fmt: skip


def respond(body: Any, status: int = 200, kind: str = JSON, **headers: str) -> HttpResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, {"content-type": kind, **headers}, raw)


# --- what there is of each profile ------------------------------------------------------------------------------------


def test_there_are_cases_of_every_profile() -> None:
    assert {case.profile.name for case in CASES} == PROFILES.keys()
    assert len({str(case) for case in CASES}) == len(CASES)


@every_case
def test_a_plain_success_is_a_token_set(case: Case) -> None:
    # Else the oracle would hold because nothing ever gets as far as a token.
    assert isinstance(check_answer(case, respond(granting(case.profile))), TokenSet)


@every_case
def test_any_stated_lifetime_gives_a_sane_expiry_or_is_unreadable(case: Case) -> None:
    for stated in STATED:
        read = check_answer(case, respond(granting(case.profile, stated)))
        assert not isinstance(read, Refusal)


@every_case
def test_no_body_is_read_as_more_than_it_is_at_any_type_and_status(case: Case) -> None:
    plain = granting(case.profile)
    bodies = (*ODD_BODIES, json.dumps(plain).encode(), urlencode(plain).encode(), json.dumps(plain).encode("utf-16"))
    for body, kind in product(bodies, (JSON, FORM, "text/html; charset=latin-1", "", "é/\x00")):
        for status in (200, 302, 400, 500):
            check_answer(case, respond(body, status, kind))


@every_case
def test_an_empty_answer_that_is_no_success_is_a_refusal(case: Case) -> None:
    for status in (400, 401, 403, 404, 429, 500, 503):
        assert isinstance(check_answer(case, respond(b"", status)), Refusal)


@every_case
def test_a_200_with_a_code_is_a_token_set_only_where_it_is_complete(case: Case) -> None:
    spec, whole = case.profile.response, granting(case.profile)
    refused = spec.success_when.path if spec.success_when else None
    if refused:
        assert isinstance(check_answer(case, respond(put(whole, refused, "invalid_grant"))), Refusal)
        return
    put(whole, spec.error[0], "invalid_grant")
    assert isinstance(check_answer(case, respond(whole)), TokenSet)
    for path in spec.access_token:
        put(whole, path, None)
    assert isinstance(check_answer(case, respond(whole)), Refusal)


@pytest.mark.parametrize("depth", [10, 400, 990, 5_000, 60_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('{"access_token":[', "]}")])
def test_no_depth_of_nesting_escapes(depth: int, opening: str, closing: str) -> None:
    closed = (opening * depth + "1" + closing * depth).encode()
    deep = b'{"access_token": "a", "expires_in": 60, "scope": ' + closed + b', "error": ' + closed + b"}"
    for case in CASES[::7]:
        for body in (closed, (opening * depth).encode(), deep):
            check_answer(case, respond(body))
            check_answer(case, respond(body, 400))


def test_a_jwt_of_any_depth_or_none_tells_no_absurd_expiry() -> None:
    for case in CASES:
        for rule in case.profile.response.expires:
            if rule.jwt:
                for token in (
                    "a.b.c",
                    "a.W1tb.c",
                    "a." + "W1tb" * 9_000 + ".c",
                    "a..",
                    "a.eyJleHAiOjFlNDAwfQ.c",
                    "a.é.c",
                ):
                    check_answer(case, respond(put(granting(case.profile), rule.jwt, token)))


# --- anything ---------------------------------------------------------------------------------------------------------

keys = st.sampled_from([word.decode() for word in words() if word.isascii() and word.decode().isidentifier()])
odd = (
    st.sampled_from(STATED)
    | st.text(max_size=12)
    | st.integers()
    | st.floats()
    | st.sampled_from(["a", "invalid_grant"])
)
values = st.recursive(
    odd, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=10
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A success of some profile with anything anywhere, twice in some; in JSON, as a form, cut, or with bad UTF-8."""
    plain = granting(draw(st.sampled_from(CASES)).profile)
    pairs = [*plain.items()] if draw(st.integers(0, 3)) else []
    pairs += draw(st.lists(st.tuples(st.sampled_from([*plain]) | keys, values), max_size=4))
    pairs = draw(st.permutations(pairs))
    if draw(st.booleans()):
        body = ("{" + ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs) + "}").encode()
    else:
        body = urlencode(pairs, errors="replace").encode()
    if not draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.binary(max_size=4)) + body[at + draw(st.integers(0, 4)) :]
    return body


@given(
    body=bodies() | st.binary(max_size=60),
    status=st.sampled_from([200, 200, 200, 201, 204, 302, 400, 401, 403, 429, 500, 503, 599]),
    kind=st.sampled_from([JSON, FORM, "text/html", ""]),
    retry_after=st.text(alphabet="Sun,0123456789 :NovGMT+-", max_size=40),
)
def test_no_answer_breaks_a_promise(body: bytes, status: int, kind: str, retry_after: str) -> None:
    response = respond(body, status, kind, **{"retry-after": retry_after, "date": "Sun, 22 Nov 2026 10:00:00 GMT"})
    for case in CASES:
        check_answer(case, response)


@given(pairs=st.lists(st.tuples(st.sampled_from(["code", "error", "state", "realmId"]) | keys, st.text()), max_size=4))
def test_no_callback_breaks_a_promise(pairs: list[tuple[str, str]]) -> None:
    for profile in PROFILES.values():
        check_callback(profile, urlencode(pairs, errors="replace"))


@given(said=st.binary(max_size=200), head=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]))
def test_no_bytes_from_the_network_break_a_promise(said: bytes, head: bytes) -> None:
    check_wire(head + said)


# --- profiles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_every_shipped_profile_keeps_what_a_profile_promises(profile: Profile) -> None:
    assert check_profile(profile_texts()[profile.name]) == profile


@given(
    name=st.sampled_from(sorted(PROFILES)),
    at=st.integers(min_value=0),
    gone=st.integers(min_value=0, max_value=2),
    put=st.text(max_size=12) | st.sampled_from([word.decode() for word in words()]),
)
def test_no_change_to_a_shipped_profile_breaks_a_promise(name: str, at: int, gone: int, put: str) -> None:
    lines = profile_texts()[name].splitlines()
    at %= len(lines)
    line = lines[at]
    cut = line.find("=") + 1 + len(put) % 4
    check_profile("\n".join([*lines[:at], line[:cut] + put + line[cut + gone :], *lines[at + 1 :]]))


@pytest.mark.parametrize("depth", [100, 990, 20_000])
@pytest.mark.parametrize("text", ["name = {0}{1}", "{0}x{1}", "name = {2}", "rotation = {2}", "errors = {0}{2}{1}"])
def test_no_depth_of_a_profile_escapes(depth: int, text: str) -> None:
    tables = '{"as" = ' * depth + "1" + "}" * depth
    assert isinstance(check_profile(text.format("[" * depth, "]" * depth, tables)), InvalidProfile)


# --- what the fuzzer starts from --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_the_oracle_holds_for_every_seed(target: Target) -> None:
    for seed in target.seeds():
        target.run(seed)


def test_an_unreadable_response_is_reported_alike_for_any_content() -> None:
    case = next(case for case in CASES if not any(rule.default for rule in case.profile.response.expires))
    bodies = ({"x_token": "canary"}, {"access_token": ["canary"]}, {"refresh_token": "canary"})
    read = [check_answer(case, respond(body)) for body in bodies]
    assert all(isinstance(answer, UnreadableResponse) for answer in read)
    assert len({str(answer) for answer in read}) == 1
