"""The authorization response: the parameters that the browser brings to the callback (RFC 6749 section 4.1.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..profiles.model import Profile
from ..profiles.request_specs import Callback
from .answer import filter_error_code
from .token_response import is_capturable

#: What an error of the authorization endpoint means: the person said no, did not sign in or choose, or neither.
RefusalMeaning = Literal["declined", "not_finished", "refused"]
#: The request never says ``prompt=none``, after which ``consent_required`` says no more than that a consent is missing:
#: LemonLDAP::NG sends it when the person declines (OpenID Connect Core 1.0 section 3.1.2.6).
_MEANINGS: dict[str, RefusalMeaning] = {
    "access_denied": "declined",
    "consent_required": "declined",
    "login_required": "not_finished",
    "interaction_required": "not_finished",
    "account_selection_required": "not_finished",
}
#: The other codes of RFC 6749 section 4.1.2.1 and OpenID Connect Core 1.0 section 3.1.2.6.
_OTHER_CODES = frozenset(
    (
        *("invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope", "server_error"),
        *("temporarily_unavailable", "invalid_request_uri", "invalid_request_object", "request_not_supported"),
        *("request_uri_not_supported", "registration_not_supported"),
    )
)


@dataclass(frozen=True, slots=True)
class AuthorizationResponse:
    """The code or the error of an authorization response, and the values that the profile captures for consumers.

    ``error`` is the provider's code if it is allow-listed, ``"refused"`` if it is another, None without an error;
    ``meaning`` is what the error says.
    """

    code: str | None = field(repr=False)
    error: str | None
    meaning: RefusalMeaning | None
    captured: Mapping[str, str] = field(repr=False)


def parse_authorization_response(profile: Profile, params: Mapping[str, str]) -> AuthorizationResponse:
    """Read the callback's parameters under the names that the profile gives them."""
    spec = profile.callback
    error = params.get(spec.error) or None
    meaning = _interpret(error, spec) if error else None
    values = {name: params.get(parameter, "") for name, parameter in spec.capture.items()}
    captured = {name: value for name, value in values.items() if is_capturable(value, spec.patterns.get(name))}
    return AuthorizationResponse(params.get(spec.code) or None, _filter(profile, error), meaning, captured)


def is_denial_without_state(params: Mapping[str, str]) -> bool:
    """Whether a response is a standard denial without its state, which RFC 6749 section 4.1.2.1 requires."""
    error = params.get(Callback().error, "")
    return not params.get("state") and _MEANINGS.get(error) == "declined"


def _interpret(error: str, spec: Callback) -> RefusalMeaning:
    return "declined" if error in spec.declined else _MEANINGS.get(error, "refused")


def _filter(profile: Profile, error: str | None) -> str | None:
    """Return the code if it is allow-listed, ``"refused"`` if it is not."""
    if not error:
        return None
    is_known = error in _MEANINGS or error in _OTHER_CODES or error in profile.callback.declined
    return error if is_known else filter_error_code(profile, error) or "refused"
