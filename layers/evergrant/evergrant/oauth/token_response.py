"""A response of the token endpoint, parsed by its profile (RFC 6749 sections 5.1 and 5.2). Pure.

It becomes a token set, a :class:`~evergrant.oauth.error_response.Refusal`, or
:class:`~evergrant.errors.UnreadableResponse`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import UnreadableResponse
from ..http_messages import HttpResponse
from ..profiles.dotted_path import look_up
from ..profiles.expiry import compute_expiry
from ..profiles.model import Profile
from ..secret import Secret
from .error_response import Refusal, classify_error_response, is_success
from .response_body import decode_body, is_capturable, is_text_or_integer, read_text
from .token_set import TokenSet

#: Visible ASCII, with spaces inside (RFC 9110 section 5.5): what consumers' headers are made of.
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")


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
    if not is_success(profile, response, body):
        return classify_error_response(profile, response, body)
    spec = profile.response
    access_token = read_text(body, spec.access_token)
    if not access_token or not _HEADER_VALUE.fullmatch(access_token):
        raise UnreadableResponse("The provider's response holds no access token where the profile looks for it.")
    variables = profile.defaults | dict(variables or {})
    expires = compute_expiry(spec.expires, body, sent_at, variables)
    if not expires:
        raise UnreadableResponse("Neither the provider's response nor the profile says when the access token expires.")
    refresh_token = read_text(body, spec.refresh_token)
    renewed = Secret(refresh_token) if refresh_token else None
    kept = previous.refresh_token if previous else None
    return TokenSet(
        access_token=Secret(access_token),
        issued_at=sent_at,
        expires_at=expires[0],
        expiry_rule=expires[1],
        refresh_token=renewed or kept,
        refresh_expires_at=_compute_refresh_expiry(profile, body, sent_at, expires[0], renewed, previous, variables),
        token_type=_read_token_type(body, spec.token_type),
        scope=read_text(body, spec.scope, listed=True) or (previous.scope if previous else None),
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
    known = compute_expiry(profile.response.refresh_expires, body, sent_at, variables)
    if life == "with_access_token":
        return min(known[0], expires_at) if known else expires_at
    is_fixed = life == "hard" and before is not None and before > sent_at
    is_stated = known is not None and known[1] != "default"
    if is_fixed and not is_stated:
        return before  # the lifetime that the provider documents counts from the authorization
    if known:
        return known[0]
    return None if renewed else before


def _read_token_type(body: Any, paths: tuple[str, ...]) -> str:
    token_type = read_text(body, paths) or ""
    return token_type if _HEADER_VALUE.fullmatch(token_type) else "Bearer"


def _capture_values(paths: Mapping[str, str], body: Any, previous: TokenSet | None) -> dict[str, str]:
    captured = dict(previous.captured) if previous else {}
    for name, path in paths.items():
        value = look_up(body, path)
        if is_text_or_integer(value) and is_capturable(str(value)):
            captured[name] = str(value)
    return captured
