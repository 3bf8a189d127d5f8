"""ID tokens, verified (OpenID Connect Core 1.0 sections 2 and 3.1.3.7). Pure.

Their signature is not verified. An ID token reaches us in one way only: in a response of the token endpoint, to our own
request over TLS, from a host that the client's entry allows. For that way section 3.1.3.7 item 6 accepts the server's
certificate in place of the signature. So no key is fetched, no algorithm is negotiated, and none can be confused. The
claims are verified in full: a server can be made to issue a valid token to another client or browser.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from typing import Any

from ..authorization_failure import AuthorizationFailure
from ..jwt_payload import decode_jwt_payload
from ..link_errors import ProviderRefused

#: How far two clocks may be apart.
LEEWAY_SECONDS = 60


def verify_claims(token: str, *, issuers: Collection[str], client_id: str, nonce: str, now: int) -> Mapping[str, Any]:
    """Return the claims of an ID token after verifying that it is for this client and this authorization request.

    Parameters
    ----------
    issuers
        The values that ``iss`` may have, compared character by character.
    nonce
        The nonce of the authorization request.
    now
        Epoch seconds.

    Raises
    ------
    ProviderRefused
        The error names the claim at fault, and no value of any claim.
    """
    claims = _decode_claims(token)
    checks = {
        "iss": claims.get("iss") in issuers,
        "aud": client_id in _list_audiences(claims),
        "azp": _is_authorized_party(claims, client_id),
        "exp": _is_unexpired(claims, now),
        "nonce": _has_nonce(claims, nonce),
    }
    for claim, holds in checks.items():
        if not holds:
            raise ProviderRefused(
                f"The provider's ID token is not valid here: its {claim} is not as it must be.",
                failure=AuthorizationFailure("id_token", reason=claim),
            )
    return claims


def read_unverified_claim(token: str, claim: str) -> str | None:
    """Read a claim that the expected values of others depend on. Only :func:`verify_claims` makes a token trusted."""
    value = _decode_claims(token).get(claim)
    return value if isinstance(value, str) else None


def _list_audiences(claims: Mapping[str, Any]) -> list[Any]:
    audience = claims.get("aud")
    return audience if isinstance(audience, list) else [audience]


def _is_authorized_party(claims: Mapping[str, Any], client_id: str) -> bool:
    """Section 3.1.3.7 items 4 and 5: a token for several audiences names the client in ``azp``."""
    party = claims.get("azp")
    return bool(party == client_id) if party is not None else len(_list_audiences(claims)) == 1


def _is_unexpired(claims: Mapping[str, Any], now: int) -> bool:
    expires_at = claims.get("exp")
    if not isinstance(expires_at, int | float) or isinstance(expires_at, bool):
        return False
    return expires_at > now - LEEWAY_SECONDS


def _has_nonce(claims: Mapping[str, Any], nonce: str) -> bool:
    value = claims.get("nonce")
    return isinstance(value, str) and hmac.compare_digest(value.encode(), nonce.encode())


def _decode_claims(token: str) -> Mapping[str, Any]:
    claims = decode_jwt_payload(token)
    if claims is None:
        raise ProviderRefused(
            "The provider's ID token cannot be read.", failure=AuthorizationFailure("id_token", reason="unreadable")
        )
    return claims
