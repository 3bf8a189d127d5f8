"""The authorization response: the parameters that the browser brings to the callback (RFC 6749 section 4.1.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..profiles.model import Profile
from .error_response import filter_error_code
from .token_response import is_capturable


@dataclass(frozen=True, slots=True)
class AuthorizationResponse:
    """The code or the error of an authorization response, and the values that the profile captures for consumers."""

    code: str | None = field(repr=False)
    error: str | None
    captured: Mapping[str, str] = field(repr=False)


def parse_authorization_response(profile: Profile, params: Mapping[str, str]) -> AuthorizationResponse:
    """Read the callback's parameters under the names that the profile gives them.

    ``error`` is the provider's code if it is allow-listed, ``"refused"`` if it is another, None without an error.
    """
    spec = profile.callback
    error = params.get(spec.error) or None
    if error:
        error = filter_error_code(profile, error) or "refused"
    values = {name: params.get(parameter, "") for name, parameter in spec.capture.items()}
    captured = {name: value for name, value in values.items() if is_capturable(value)}
    return AuthorizationResponse(params.get(spec.code) or None, error, captured)
