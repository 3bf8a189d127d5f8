"""One oracle for property tests and the fuzzer: what holds for every answer of a provider and every profile's file.

Each ``check_*`` takes any input. Where a promise is broken it raises AssertionError, or lets the escaped error pass:

- nothing is raised but what :mod:`evergrant.errors` draws, and of that only what the place is meant to raise;
- a success holds an access token that the answer stated, printable, and an expiry within a hundred years;
- it can be sealed, published and sent;
- no text of a provider is in what is raised, nor in the ``repr`` of what is returned.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, urlsplit

from evergrant.adapters import http
from evergrant.errors import (
    EvergrantError,
    InvalidClient,
    InvalidProfile,
    InvalidVariable,
    LostResponse,
    UnreadableResponse,
)
from evergrant.http_messages import HttpRequest, HttpResponse
from evergrant.oauth.answer_classes import CLASS_BY_KIND
from evergrant.oauth.authorization_request import build_authorization_url
from evergrant.oauth.authorization_response import parse_authorization_response
from evergrant.oauth.client import Client
from evergrant.oauth.error_codes import REGISTERED_ERRORS
from evergrant.oauth.error_response import Refusal
from evergrant.oauth.token_request import Phase, build_token_request
from evergrant.oauth.token_response import parse_token_response
from evergrant.oauth.token_set import TokenSet
from evergrant.profiles import built_in
from evergrant.profiles.expiry import look_up, name_rule
from evergrant.profiles.loader import load_profile
from evergrant.profiles.model import Profile, decode, encode
from evergrant.profiles.templates import is_host
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant.record.token_document import build_document
from evergrant.secret import Secret
from tests.unit.samples import ISSUANCE

#: 2026-11-22T10:00:00Z
NOW = 1_795_341_600
HUNDRED_YEARS = 100 * 365 * 86_400
#: Error codes of RFC 6749, the IANA registry and OpenID Connect, which may be shown with any profile.
STANDARD_CODES = set(REGISTERED_ERRORS)
#: Those of the authorization endpoint are among them.
CALLBACK_CODES = STANDARD_CODES
_VISIBLE = re.compile(r"[\x20-\x7e]*[\x21-\x7e][\x20-\x7e]*")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_LOST = re.compile(r"The provider's answer is lost \([A-Z][A-Za-z]+\)\.")
#: What a variable may look like; the first that its pattern takes.
_EXAMPLES = ("example", "api.example.com", "https://api.example.com", "common", "1", "a")

BEFORE = TokenSet(
    access_token=Secret("access-before"),
    issued_at=NOW - 3600,
    expires_at=NOW + 60,
    expiry_rule="default",
    refresh_token=Secret("refresh-before"),
    refresh_expires_at=NOW + 1000,
    scope="before",
    captured={"kept": "before"},
)


@dataclass(frozen=True)
class Case:
    """One request that a provider's answer may be to: ``previous`` is the token set that the connection has."""

    profile: Profile
    phase: Phase
    previous: TokenSet | None

    def __str__(self) -> str:
        """``keap refresh again``: its name in an input of the fuzzer, and in a test's."""
        return f"{self.profile.name} {self.phase}{'' if self.previous is None else ' again'}"


def cases_of(profile: Profile) -> Iterator[Case]:
    """Every request of a profile whose answer is read, at a connection's first time and at later ones."""
    without = replace(BEFORE, refresh_token=None, refresh_expires_at=None)
    befores: dict[Phase, tuple[TokenSet | None, ...]] = {
        "exchange": (None,),
        "refresh": (BEFORE,),
        "client_credentials": (None, without),
        "login": (None, BEFORE),
        "jwt_bearer": (None, without),
    }
    for phase, before in befores.items():
        if getattr(profile, phase) is not None:
            yield from (Case(profile, phase, previous) for previous in before)


#: All that ships.
CASES = tuple(case for profile in built_in.load_built_in().values() for case in cases_of(profile))


# --- answers ----------------------------------------------------------------------------------------------------------


def check_answer(case: Case, response: HttpResponse) -> TokenSet | Refusal | UnreadableResponse:
    """What a token endpoint's answer is read as, having made sure of all that is promised of it."""
    read = _read(case, response)
    good = 200 <= response.status < 300
    if isinstance(read, UnreadableResponse):
        assert good, "only a success can be unread"
        assert _show(read) in _unread_texts(), "a text that depends on the answer is in the error"
    elif isinstance(read, Refusal):
        _check_refusal(case.profile, response, read)
    else:
        assert good, "a token was taken from what is no success"
        _check_tokens(case, response, read)
    return read


def _read(case: Case, response: HttpResponse) -> TokenSet | Refusal | UnreadableResponse:
    try:
        return parse_token_response(case.profile, response, NOW, case.previous)
    except UnreadableResponse as unread:
        return unread


def _show(error: EvergrantError) -> str:
    """All of an error that anybody can print, but for the lines of code in its traceback."""
    assert error.__context__ is error.__cause__ is None, "a cause may quote the answer"
    return f"{error!r} {error.args!r} {vars(error)!r}"


@cache
def _unread_texts() -> set[str]:
    """What is said of answers without any text of a provider."""
    texts = set()
    for case in CASES:
        timeless, tokenless = granting(case.profile), granting(case.profile)
        for rule in case.profile.response.expires:
            put(timeless, rule.path or "expires", None)
        for path in case.profile.response.access_token:
            put(tokenless, path, None)
        bodies = (timeless, tokenless, {**granting(case.profile), "token_type": "mac"})
        read = [_read(case, HttpResponse(200, {}, json.dumps(body).encode())) for body in bodies]
        texts |= {_show(unread) for unread in read if isinstance(unread, UnreadableResponse)}
    return texts


def granting(profile: Profile, life: Any = 3600) -> dict[str, Any]:
    """A plain success as the profile wants it; ``life`` is what it states of its expiry, in all places where it may."""
    spec = profile.response
    body: dict[str, Any] = {}
    for paths, value in ((spec.token_type, "Bearer"), (spec.scope, "a b"), (spec.refresh_token, "refresh-2")):
        put(body, paths[0], value)
    for rule in (*spec.expires, *spec.refresh_expires):
        if rule.path:
            put(body, rule.path, life)
    for path in spec.capture.values():
        put(body, path, "captured")
    if spec.success_when:
        put(body, spec.success_when.path, spec.success_when.equals)
    put(body, spec.access_token[0], "access-2")
    return body


def put(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The body, with a value at a dotted path; what was in its way is gone."""
    *steps, last = path.split(".")
    inner = body
    for step in steps:
        if not isinstance(inner.get(step), dict):
            inner[step] = {}
        inner = inner[step]
    inner[last] = value
    return body


def _check_refusal(profile: Profile, response: HttpResponse, refusal: Refusal) -> None:
    """Each field is out of a closed set, so that no text of a provider can be in any."""
    assert refusal.kind in CLASS_BY_KIND
    assert refusal.status is response.status
    assert refusal.code is None or refusal.code in STANDARD_CODES | {rule.code for rule in profile.errors}
    wait = refusal.retry_after
    assert wait is None or (type(wait) is int and 0 <= wait <= profile.rotation.max_retry_after)
    assert not (300 <= response.status < 500 and refusal.in_doubt)
    assert refusal.content_type is None or re.fullmatch(r"[a-z]+(/[a-z+-]+)?", refusal.content_type)


def _check_tokens(case: Case, response: HttpResponse, tokens: TokenSet) -> None:
    profile, before = case.profile, case.previous
    stated, answer = _read_stated(response)
    access_token = tokens.access_token.reveal()
    assert access_token in stated, "the access token is not what the answer stated"
    assert _VISIBLE.fullmatch(access_token), "the access token is not printable"
    _check_not_an_error(profile, answer, tokens, before)

    assert tokens.issued_at == NOW
    assert type(tokens.expires_at) is int
    assert NOW <= tokens.expires_at <= NOW + HUNDRED_YEARS, "the expiry is absurd"
    assert tokens.expires_at > NOW or tokens.expired_arrivals in (1, 2) or tokens.is_repeated, "it was not counted"
    named = {name_rule(rule) for rule in profile.response.expires}
    assert tokens.expiry_rule.removesuffix(":never") in named | {"jwt:access_token", "previous", "unknown"}
    assert tokens.expiry_doubt in (None, "not_credible", "expired")

    known = before.refresh_token if before else None
    if tokens.refresh_token is None:
        assert known is None, "a refresh token was lost"
        assert tokens.refresh_expires_at is None
    elif tokens.refresh_token != known:
        refresh_token = tokens.refresh_token.reveal()
        assert refresh_token in stated, "the refresh token is not what the answer stated"
        assert refresh_token.strip(), "a blank took the refresh token's place"
        assert refresh_token.isprintable() or refresh_token.encode(), "the refresh token cannot be sent"
    ends = tokens.refresh_expires_at
    if ends is not None and not (before and ends == before.refresh_expires_at):
        assert type(ends) is int
        assert NOW <= ends <= NOW + HUNDRED_YEARS, "the refresh token's expiry is absurd"

    assert _VISIBLE.fullmatch(tokens.token_type), "the token type is not printable"
    assert tokens.scope is None or tokens.scope.strip()
    assert tokens.captured.keys() <= profile.response.capture.keys() | (before.captured.keys() if before else set())
    assert all(value and len(value) <= 2000 for value in tokens.captured.values())
    _check_use(profile, tokens)


def _read_stated(response: HttpResponse) -> tuple[set[str], Any]:
    """Every text that the body states, read without the product's help, and the body as a whole."""
    texts: set[str] = set()

    def take(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        texts.update(value for _, value in pairs if isinstance(value, str))
        for _, value in pairs:
            if isinstance(value, list):
                texts.update(item for item in value if isinstance(item, str))
        return dict(pairs)

    text = response.body.decode(json.detect_encoding(response.body), "replace").strip()
    try:
        return texts, json.loads(text, object_pairs_hook=take)
    except ValueError:
        pairs = parse_qsl(text.strip())
        texts.update(value for _, value in pairs)
        return texts, dict(pairs)


def _check_not_an_error(profile: Profile, answer: Any, tokens: TokenSet, before: TokenSet | None) -> None:
    rule = profile.response.success_when
    if rule is not None:
        assert look_up(answer, rule.path) == rule.equals, "a 200 that says it is no success was taken for one"
    is_renewed = tokens.refresh_token is not None and (before is None or tokens.refresh_token != before.refresh_token)
    rotates = profile.rotation.rotates and profile.refresh is not None
    if rotates and not is_renewed and isinstance(answer, dict) and "error" in profile.response.error:
        error = answer.get("error")
        assert not (isinstance(error, str) and error.lower() in STANDARD_CODES), "a refusal was taken for a success"


def _check_use(profile: Profile, tokens: TokenSet) -> None:
    """The set can be sealed and published, prints nothing of a provider's, and publishes no refresh token."""
    assert TokenSet.decode(tokens.encode(ISSUANCE)) == tokens
    plain = replace(tokens, token_type="", scope=None, captured={})
    assert repr(plain) == repr(tokens), "a provider's text is in the repr of a token set"
    assert tokens.access_token.fingerprint in repr(tokens)

    connection = Connection(
        name=f"{profile.name}/main",
        status=Status.ACTIVE,
        grant=profile.grants[0],
        client="client",
        profile_hash="0" * 64,
        variables=_variables(profile) or {},
    )
    published = build_document(connection, profile, tokens)
    assert json.loads(json.dumps(published)) == published
    assert build_document(connection, profile, replace(tokens, refresh_token=None)) == published
    assert all(_HEADER_VALUE.fullmatch(value) for value in published["headers"].values()), "a header cannot be sent"


# --- callbacks --------------------------------------------------------------------------------------------------------


def check_callback(profile: Profile, query: str) -> None:
    """What the browser came back with: read, and its code put into the exchange."""
    answer = parse_authorization_response(profile, dict(parse_qsl(query)))
    allowed = CALLBACK_CODES | {rule.code for rule in profile.errors} | {*profile.callback.declined, "refused"}
    assert answer.error is None or answer.error in allowed
    assert (answer.meaning is None) is (answer.error is None)
    assert answer.captured.keys() <= profile.callback.capture.keys()
    assert all(value and len(value) <= 2000 for value in answer.captured.values())
    assert repr(answer) == repr(replace(answer, code=None, captured={})), "a callback's text is in its repr"
    variables = _variables(profile)
    if answer.code and profile.exchange and variables is not None:
        _request(profile, "exchange", variables, code=answer.code)


# --- profiles ---------------------------------------------------------------------------------------------------------

_ANSWERS = (
    HttpResponse(200, {}, b'{"access_token": "a", "refresh_token": "r", "expires_in": 60, "scope": ["a", "b"]}'),
    HttpResponse(200, {}, b'{"error": "invalid_grant"}'),
    HttpResponse(400, {"retry-after": "7"}, b""),
    HttpResponse(500, {}, b"<html>"),
)


def check_profile(text: str) -> Profile | InvalidProfile:
    """A profile's file: refused with its place, or one that is stored, asked with and answered by all the same."""
    try:
        profile = load_profile(text, "acme.toml")
    except InvalidProfile as refused:
        assert refused.message.startswith("acme.toml: ")
        assert json.dumps(refused.as_dict())
        return refused
    stored = encode(profile)
    assert decode(stored) == profile
    assert encode(decode(stored)) == stored, "the profile's name in the table depends on who wrote it"
    assert profile.grants
    for case in cases_of(profile):
        for response in _ANSWERS:
            check_answer(case, response)
    check_callback(profile, "code=c&error=&state=s")
    variables = _variables(profile)
    if variables is not None:
        _check_requests(profile, variables)
    return profile


def _check_requests(profile: Profile, variables: Mapping[str, str]) -> None:
    phases: tuple[Phase, ...] = ("exchange", "refresh", "client_credentials", "login", "jwt_bearer", "revoke")
    for phase in phases:
        if getattr(profile, phase) is not None:
            _request(profile, phase, variables)
    if profile.authorize:
        values = {"client_id": "c", "redirect_uri": "https://e.example.com/callback", "scope": "a", "state": "s"}
        try:
            url = build_authorization_url(profile, variables, {**values, "code_challenge": "x"})
        except InvalidVariable:
            return
        assert _is_safe(url)


def _request(profile: Profile, phase: Phase, variables: Mapping[str, str], **values: str) -> None:
    login = profile.login
    client = Client(
        "client",
        "client-1",
        (Secret("hush"),),
        (),
        {name: Secret("hush") for name in login.credentials[0]} if login else {},
    )
    known = {
        "refresh_token": "r",
        "redirect_uri": "https://e.example.com/callback",
        "code": "c",
        "token": "t",
        **values,
    }
    try:
        request = build_token_request(profile, phase, variables, client, Secret("hush"), known, now=NOW)
    except (InvalidVariable, InvalidClient) as refused:
        assert "hush" not in _show(refused)
        return
    assert _is_safe(request.url)
    assert all(name.isascii() and value.isascii() for name, value in request.headers.items())
    assert not any(character in f"{request.headers}" for character in ("\\r", "\\n"))
    assert "hush" not in repr(request)


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" and is_host(parts.netloc) and "hush" not in parts.netloc and url.isprintable()


def _variables(profile: Profile) -> dict[str, str] | None:
    """Some values that the profile's patterns take, or None where none of ours fits."""
    given = {}
    for name, variable in profile.variables.items():
        fitting = [example for example in _EXAMPLES if re.fullmatch(variable.pattern, example)]
        if variable.default is None and not fitting:
            return None
        if variable.default is None:
            given[name] = fitting[0]
    try:
        return profile.bind(given)
    except InvalidVariable:
        return None


# --- what comes over the wire -----------------------------------------------------------------------------------------


class _Said:
    """A provider's connection that answers any request with these bytes, and then hangs up."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self.taken = 0

    def settimeout(self, seconds: float) -> None: ...

    def setsockopt(self, *option: int) -> None: ...

    def send(self, data: bytes) -> int:
        return len(data)

    def close(self) -> None: ...

    def recv(self, most: int) -> bytes:
        piece = self._said[self.taken : self.taken + most]
        self.taken += len(piece)
        return piece


_HTTP = http.GuardedHttp(allow_loopback=True)
_ASKED = HttpRequest("POST", "http://127.0.0.1:1/token", {"authorization": "Basic hush"}, b"refresh_token=hush")


def check_wire(said: bytes) -> HttpResponse | LostResponse:
    """Raw bytes in place of an answer: one of at most 128 KiB, also unpacked, or lost, without a word of it."""
    connection = _Said(said)
    try:
        with patch.object(socket, "create_connection", lambda *_: connection):
            response = _HTTP.send(_ASKED, hosts=("127.0.0.1:1",), timeout=600)
    except LostResponse as lost:
        assert _LOST.fullmatch(lost.message), "a text that depends on the answer is in the error"
        assert lost.__context__ is lost.__cause__ is None, "a cause may quote the answer"
        return lost
    finally:
        # The body's limit, the head's (h11: 100 KiB), and a piece of the network for each.
        assert connection.taken <= http.MAX_RESPONSE_BYTES + 400 * 1024, "it was read on past the limit"
    assert len(response.body) <= http.MAX_RESPONSE_BYTES
    assert all(name == name.lower() for name in response.headers)
    assert "set-cookie" not in response.headers
    assert isinstance(response.text(), str)
    check_answer(CASES[0], response)
    return response
