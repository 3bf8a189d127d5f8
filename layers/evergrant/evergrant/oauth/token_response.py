"""A response of the token endpoint, parsed by its profile (RFC 6749 sections 5.1 and 5.2). Pure.

It becomes a token set, a :class:`~evergrant.oauth.error_response.Refusal`, or
:class:`~evergrant.errors.UnreadableResponse`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from ..errors import UnreadableResponse
from ..http_messages import HttpResponse
from ..profiles.expiry import compute_expiry, look_up
from ..profiles.model import Profile
from ..profiles.response_specs import Response
from ..secret import Secret
from .error_response import Refusal, classify_error_response
from .token_set import TokenSet

#: Visible ASCII, with spaces inside (RFC 9110 section 5.5): what consumers' headers are made of.
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
#: A captured value is an id or a URL.
_MAX_CAPTURED_CHARACTERS = 2000
#: Control characters, and halves of surrogate pairs, which JSON can name and UTF-8 cannot.
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class _Texts(NamedTuple):
    """The texts of a token response."""

    access_token: str | None
    refresh_token: str | None
    token_type: str | None
    scope: str | None


def parse_token_response(
    profile: Profile,
    response: HttpResponse,
    sent_at: int,
    previous: TokenSet | None = None,
    variables: Mapping[str, str] | None = None,
) -> TokenSet | Refusal:
    """Parse a response of the token endpoint.

    Parameters
    ----------
    sent_at
        Epoch seconds at which the request was sent.
    previous
        The token set that was refreshed: a refresh token or scope that the response leaves out stays as it was
        (RFC 6749 sections 5.1 and 6).
    variables
        The connection's, over the profile's defaults: a documented lifetime may be one of them.

    Raises
    ------
    UnreadableResponse
        The response is a success that holds no token set, or no rule of the profile gives its expiry.
    """
    body = decode_body(response)
    if not _is_success(profile, response, body):
        return classify_error_response(profile, response, body)
    spec = profile.response
    texts = _read_texts(body, spec)
    access_token, refresh_token, token_type = texts.access_token, texts.refresh_token, texts.token_type or ""
    if not access_token or not _HEADER_VALUE.fullmatch(access_token):
        raise UnreadableResponse("The provider's response holds no access token where the profile looks for it.")
    variables = variables or {}
    expires = compute_expiry(spec.expires, body, sent_at, variables, profile.variables)
    if not expires:
        raise UnreadableResponse("Neither the provider's response nor the profile says when the access token expires.")
    renewed = Secret(refresh_token) if refresh_token else None
    kept = previous.refresh_token if previous else None
    return TokenSet(
        access_token=Secret(access_token),
        issued_at=sent_at,
        expires_at=expires[0],
        expiry_rule=expires[1],
        refresh_token=renewed or kept,
        refresh_expires_at=_compute_refresh_expiry(profile, body, sent_at, expires[0], renewed, previous, variables),
        token_type=token_type if _HEADER_VALUE.fullmatch(token_type) else "Bearer",
        scope=texts.scope or (previous.scope if previous else None),
        captured=_capture_values(spec.capture, body, previous),
    )


def _compute_refresh_expiry(
    profile: Profile,
    body: Any,
    sent_at: int,
    expires_at: int,
    renewed: Secret | None,
    previous: TokenSet | None,
    variables: Mapping[str, str],
) -> int | None:
    """Compute when the refresh token expires; None without a refresh token, and where nothing is known."""
    before = previous.refresh_expires_at if previous and previous.refresh_token else None
    if not renewed and not (previous and previous.refresh_token):
        return None
    life = profile.rotation.refresh_token_life
    known = compute_expiry(profile.response.refresh_expires, body, sent_at, variables, profile.variables)
    if life == "with_access_token":
        return min(known[0], expires_at) if known else expires_at
    is_fixed = life == "hard" and before is not None and before > sent_at
    is_stated = known is not None and known[1] != "default"
    if is_fixed and not is_stated:
        return before  # the lifetime that the provider documents counts from the authorization
    if known:
        return known[0]
    return None if renewed else before


def _capture_values(paths: Mapping[str, str], body: Any, previous: TokenSet | None) -> dict[str, str]:
    captured = dict(previous.captured) if previous else {}
    for name, path in paths.items():
        value = look_up(body, path)
        if is_text_or_integer(value) and is_capturable(str(value)):
            captured[name] = str(value)
    return captured


def _is_success(profile: Profile, response: HttpResponse, body: Any) -> bool:
    """Whether a response is a success: a 2xx that passes the profile's ``success_when``, or else names no error."""
    if not 200 <= response.status < 300:
        return False
    condition = profile.response.success_when
    if condition is None:
        return not any(look_up(body, path) for path in profile.response.error)
    value = look_up(body, condition.path)
    # In Python, 1 equals True.
    return value == condition.equals and isinstance(value, bool) is isinstance(condition.equals, bool)


def decode_body(response: HttpResponse) -> Any:
    """Decode the body as JSON, or as a form where the content type says so; {} when it is neither."""
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        text = response.body.decode("utf-8-sig")  # some servers put a byte order mark before their JSON
        return dict(parse_qsl(text)) if content_type == "application/x-www-form-urlencoded" else json.loads(text)
    except (ValueError, RecursionError):
        return {}


def _read_texts(body: Any, spec: Response) -> _Texts:
    """Read the texts of a token response: of each, the first one at its paths that is not blank and can be sent on.

    The scope may also be a list of texts, which are joined by spaces.
    """
    found: list[str | None] = []
    for paths in (spec.access_token, spec.refresh_token, spec.token_type, spec.scope):
        text = None
        for path in paths:
            value = look_up(body, path)
            if paths is spec.scope and isinstance(value, list) and all(isinstance(part, str) for part in value):
                value = " ".join(value)
            if isinstance(value, str) and value.strip() and not _UNSENDABLE.search(value):
                text = value
                break
        found.append(text)
    return _Texts(*found)


def read_value(response: HttpResponse, path: str) -> str | None:
    """Return the text or whole number at a path as text; None if there is none that can be sent on."""
    value = look_up(decode_body(response), path)
    if not is_text_or_integer(value):
        return None
    return text if (text := str(value)).strip() and not _UNSENDABLE.search(text) else None


def is_text_or_integer(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def is_capturable(value: str) -> bool:
    """Whether a captured value can be kept and sent to consumers."""
    return bool(value) and len(value) <= _MAX_CAPTURED_CHARACTERS and not _UNSENDABLE.search(value)
