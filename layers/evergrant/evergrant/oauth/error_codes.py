"""The registered OAuth error codes, and what each means at the token endpoint. Data only.

The codes are those of RFC 6749 sections 4.1.2.1 and 5.2, of the IANA "OAuth Extensions Error Registry"
(https://www.iana.org/assignments/oauth-parameters), and of OpenID Connect Core 1.0 section 3.1.2.6. Some are meant for
another endpoint. Real token endpoints send them too, so that each has a meaning here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from ..profiles.response_specs import FailureKind

#: What a refusal means: what a profile's rule can say, and three that only the response itself can.
RefusalKind = FailureKind | Literal["client_unauthorized", "not_reached", "unclear"]

_CODES_BY_KIND: Mapping[RefusalKind, tuple[str, ...]] = {
    # The account's owner has to authorize again, or has declined.
    "grant_rejected": (
        *("invalid_grant", "access_denied", "invalid_token", "expired_token", "request_denied"),
        *("interaction_required", "login_required", "consent_required", "account_selection_required"),
        *("insufficient_user_authentication", "unmet_authentication_requirements"),
    ),
    "client_rejected": ("invalid_client",),
    # Section 5.2: the client was authenticated.
    "client_unauthorized": ("unauthorized_client",),
    # The request is wrong, for this server.
    "malformed": (
        *("invalid_request", "invalid_scope", "unsupported_grant_type", "unsupported_response_type"),
        *("invalid_target", "invalid_authorization_details", "insufficient_scope", "unsupported_token_type"),
        *("invalid_request_uri", "invalid_request_object", "request_not_supported", "request_uri_not_supported"),
        *("registration_not_supported", "unsupported_pop_key", "incompatible_ace_profiles"),
        *("invalid_dpop_proof", "use_dpop_nonce", "need_info"),
    ),
    # The server did not act upon the request.
    "transient": ("temporarily_unavailable", "server_error", "authorization_pending", "request_submitted"),
    "rate_limited": ("slow_down",),
}

#: Code in lower case to what it means at the token endpoint.
REGISTERED_ERRORS: Mapping[str, RefusalKind] = MappingProxyType(
    {code: kind for kind, codes in _CODES_BY_KIND.items() for code in codes}
)
