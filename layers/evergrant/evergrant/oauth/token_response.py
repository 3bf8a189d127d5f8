"""A provider's answers read by its profile: a token set, a refusal, or an answer that cannot be read. Pure.

Answers become a token set, a :class:`Refusal`, or :class:`~evergrant.errors.UnreadableResponse`. Of a provider's
texts only
allow-listed codes survive.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl

from ..errors import UnreadableResponse
from ..http_messages import HttpResponse
from ..profiles.expiry import compute_expiry, look_up
from ..profiles.model import ErrorRule, FailureKind, Profile
from ..secret import Secret
from .token_set import TokenSet

#: RFC 6749 section 5.2, RFC 6749 section 4.1.2.1 and HTTP, for what the profile does not say itself.
_STANDARD_ERRORS = (
    ErrorRule(kind="grant_rejected", code="invalid_grant"),
    ErrorRule(kind="client_rejected", code="invalid_client"),
    # Exact Online, Atlassian and Microsoft answer it for one grant or one tenant of a client that works elsewhere.
    ErrorRule(kind="grant_rejected", code="unauthorized_client"),
    ErrorRule(kind="transient", code="temporarily_unavailable"),
    ErrorRule(kind="transient", code="server_error"),
    ErrorRule(kind="rate_limited", status=429),
    ErrorRule(kind="malformed", code="invalid_request"),
    ErrorRule(kind="malformed", code="invalid_scope"),
    ErrorRule(kind="malformed", code="unsupported_grant_type"),
    ErrorRule(kind="transient", status=408),
)
_STANDARD_CODES = {rule.code for rule in _STANDARD_ERRORS} | {"access_denied"}
_MAX_RETRY_AFTER_SECONDS = 86_400
#: A captured value is an id or a URL.
_MAX_CAPTURED_CHARACTERS = 2000
#: Control characters, and halves of surrogate pairs, which JSON can name and UTF-8 cannot.
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
#: Visible ASCII, with spaces inside (RFC 9110 section 5.5): what consumers' headers are made of.
_IN_A_HEADER = re.compile(r"[!-~](?:[ -~]*[!-~])?")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no token set.

    ``code`` is the provider's error code if it is an allow-listed one; ``retry_after`` is in seconds; ``in_doubt``
    says that the provider may have acted on the request all the same. ``rule`` names the error rule that told, as
    ``errors[0]`` of the profile or ``standard``, None where none did: for whoever mends a profile, and no part of
    what the refusal is.
    """

    kind: FailureKind
    status: int
    code: str | None = None
    retry_after: int | None = None
    in_doubt: bool = False
    rule: str | None = field(default=None, compare=False)


def parse_token_response(
    profile: Profile,
    response: HttpResponse,
    sent_at: int,
    previous: TokenSet | None = None,
    variables: Mapping[str, str] | None = None,
) -> TokenSet | Refusal:
    """What an answer of the token endpoint means.

    Parameters
    ----------
    sent_at
        Epoch seconds at which the request was sent.
    previous
        The token set that was refreshed: a refresh token or scope that the answer leaves out stays as it was
        (RFC 6749 sections 5.1 and 6).
    variables
        The connection's, over the profile's defaults: a documented lifetime may be one of them.

    Raises
    ------
    UnreadableResponse
        A success that is no token set, or whose expiry no rule of the profile can tell.
    """
    answer = _decoded(response)
    refusal = _refusal(profile, response, answer)
    if refusal:
        return refusal
    spec = profile.response
    access_token = _text(answer, spec.access_token)
    if not access_token or not _IN_A_HEADER.fullmatch(access_token):
        raise UnreadableResponse("The provider's answer holds no access token where the profile says it would.")
    variables = profile.defaults | dict(variables or {})
    expires = compute_expiry(spec.expires, answer, sent_at, variables)
    if not expires:
        raise UnreadableResponse(
            "The provider's answer does not say when its access token expires, nor does the profile."
        )
    refresh_token = _text(answer, spec.refresh_token)
    renewed = Secret(refresh_token) if refresh_token else None
    kept = previous.refresh_token if previous else None
    return TokenSet(
        access_token=Secret(access_token),
        issued_at=sent_at,
        expires_at=expires[0],
        expiry_rule=expires[1],
        refresh_token=renewed or kept,
        refresh_expires_at=_refresh_expires_at(profile, answer, sent_at, expires[0], renewed, previous, variables),
        token_type=_token_type(answer, spec.token_type),
        scope=_text(answer, spec.scope, listed=True) or (previous.scope if previous else None),
        captured=_captured(spec.capture, answer, previous),
    )


def read_value(response: HttpResponse, path: str) -> str | None:
    """A text or a whole number in an answer's body, as text; None where there is none that could be sent on."""
    value = look_up(_decoded(response), path)
    if not isinstance(value, str | int) or isinstance(value, bool):
        return None
    return text if (text := str(value)).strip() and not _UNSENDABLE.search(text) else None


@dataclass(frozen=True, slots=True)
class AuthorizationResponse:
    """What the provider sent the browser back with (RFC 6749 section 4.1.2), and the values that consumers want."""

    code: str | None = field(repr=False)
    error: str | None
    captured: Mapping[str, str] = field(repr=False)


def parse_authorization_response(profile: Profile, params: Mapping[str, str]) -> AuthorizationResponse:
    """The callback's parameters by the names that the profile gives them.

    ``error`` is the provider's code if it is an allow-listed one, else ``"refused"``, and None where there is none.
    """
    spec = profile.callback
    error = params.get(spec.error) or None
    if error and error not in _STANDARD_CODES | {rule.code for rule in profile.errors}:
        error = "refused"
    values = {name: params.get(parameter, "") for name, parameter in spec.capture.items()}
    captured = {name: value for name, value in values.items() if _is_sendable(value)}
    return AuthorizationResponse(params.get(spec.code) or None, error, captured)


def _decoded(response: HttpResponse) -> Any:
    """The body as JSON, or as a form where the provider says it is one; {} when it is neither."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        text = response.body.decode("utf-8-sig")  # some servers put a byte order mark before their JSON
        return dict(parse_qsl(text)) if kind == "application/x-www-form-urlencoded" else json.loads(text)
    except (ValueError, RecursionError):
        return {}


def _refresh_expires_at(
    profile: Profile,
    answer: Any,
    sent_at: int,
    expires_at: int,
    renewed: Secret | None,
    previous: TokenSet | None,
    variables: Mapping[str, str],
) -> int | None:
    """When the refresh token lapses, if there is one and anything is known of it."""
    before = previous.refresh_expires_at if previous and previous.refresh_token else None
    if not renewed and not (previous and previous.refresh_token):
        return None
    life = profile.rotation.refresh_token_life
    known = compute_expiry(profile.response.refresh_expires, answer, sent_at, variables)
    if life == "with_access_token":
        return min(known[0], expires_at) if known else expires_at
    if life == "hard" and before is not None and before > sent_at and not (known and known[1] != "default"):
        return before  # what the provider documents counts from the authorization on
    if known:
        return known[0]
    return None if renewed else before


def _refusal(profile: Profile, response: HttpResponse, answer: Any) -> Refusal | None:
    if 200 <= response.status < 300 and _succeeded(profile, answer):
        return None
    code = _code(answer, profile.response.error)
    descriptions = [look_up(answer, path) for path in profile.response.error_description]
    empty = not response.body.strip()
    shown = code if code in _STANDARD_CODES | {rule.code for rule in profile.errors} else None
    for index, rule in enumerate((*profile.errors, *_STANDARD_ERRORS)):
        if (
            rule.status in (None, response.status)
            and rule.code in (None, code)
            and (rule.description is None or rule.description in descriptions)
            and (empty or not rule.empty)
        ):
            # A 5xx is the provider's word only where the profile gives it a meaning of its own.
            told = f"errors[{index}]" if index < len(profile.errors) else "standard"
            doubt = rule not in profile.errors and response.status >= 500
            return Refusal(rule.kind, response.status, shown, _retry_after(response), doubt, told)
    kind: FailureKind = "transient" if response.status >= 500 else "rejected_unknown"
    return Refusal(kind, response.status, shown, _retry_after(response), response.status >= 500)


def _succeeded(profile: Profile, answer: Any) -> bool:
    """Whether a 2xx is a success: as the profile says, or else because it names no error."""
    rule = profile.response.success_when
    if rule is None:
        return not any(look_up(answer, path) for path in profile.response.error)
    value = look_up(answer, rule.path)
    return value == rule.equals and isinstance(value, bool) is isinstance(rule.equals, bool)


def _code(answer: Any, paths: tuple[str, ...]) -> str | None:
    """Some servers send an object, which is no code, and some a number, which is."""
    for path in paths:
        value = look_up(answer, path)
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9:
            return str(value)
    return None


def _retry_after(response: HttpResponse) -> int | None:
    """Retry-After (RFC 9110 section 10.2.3) in seconds, bounded; a date counts from the answer's own Date."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal() and len(value) < 10:
        return min(int(value), _MAX_RETRY_AFTER_SECONDS)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(response.headers.get("date", ""))
        return min(max(int(wait.total_seconds()), 0), _MAX_RETRY_AFTER_SECONDS)
    except (TypeError, ValueError, OverflowError):
        return None


def _text(answer: Any, paths: tuple[str, ...], *, listed: bool = False) -> str | None:
    """The first text that can be sent and is not blank; where ``listed``, it may also come as a list of texts."""
    for path in paths:
        value = look_up(answer, path)
        if listed and isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = " ".join(value)
        if isinstance(value, str) and value.strip() and not _UNSENDABLE.search(value):
            return value
    return None


def _token_type(answer: Any, paths: tuple[str, ...]) -> str:
    token_type = _text(answer, paths) or ""
    return token_type if _IN_A_HEADER.fullmatch(token_type) else "Bearer"


def _captured(paths: Mapping[str, str], answer: Any, previous: TokenSet | None) -> dict[str, str]:
    captured = dict(previous.captured) if previous else {}
    for name, path in paths.items():
        value = look_up(answer, path)
        if isinstance(value, str | int) and not isinstance(value, bool) and _is_sendable(str(value)):
            captured[name] = str(value)
    return captured


def _is_sendable(value: str) -> bool:
    return bool(value) and len(value) <= _MAX_CAPTURED_CHARACTERS and not _UNSENDABLE.search(value)
