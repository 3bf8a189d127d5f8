"""ID tokens read and checked (OpenID Connect Core 1.0 sections 2 and 3.1.3.7). Pure.

Their signature is not looked at. An ID token comes to us in one way only: in the answer of the token endpoint, asked by
ourselves over TLS, at a host that the client's entry allows. For that way section 3.1.3.7 item 6 lets the server's
certificate stand in for the signature. So no key is fetched, no algorithm is negotiated, and none can be confused. What
the token *says* is checked in full, since a server may be made to issue a good token to another client or browser.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Collection, Mapping
from typing import Any

from ..errors import ProviderRefused

#: How far two clocks may be apart (seconds).
LEEWAY_SECONDS = 60


def verify_claims(token: str, *, issuers: Collection[str], client_id: str, nonce: str, now: int) -> Mapping[str, Any]:
    """The claims of an ID token that is meant for this client and this authorization request.

    Parameters
    ----------
    issuers
        What ``iss`` may say, to the letter.
    nonce
        What the authorization request was sent with.
    now
        Epoch seconds.

    Raises
    ------
    ProviderRefused
        Naming the claim at fault, and nothing that it holds.
    """
    claims = _decoded(token)
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    expires_at, party, said = claims.get("exp"), claims.get("azp"), claims.get("nonce")
    checks = {
        "iss": claims.get("iss") in issuers,
        "aud": client_id in audiences,
        # Items 4 and 5: with several audiences, who asked is named beside them.
        "azp": party == client_id if party is not None else len(audiences) == 1,
        "exp": isinstance(expires_at, int | float)
        and not isinstance(expires_at, bool)
        and expires_at > now - LEEWAY_SECONDS,
        "nonce": isinstance(said, str) and hmac.compare_digest(said.encode(), nonce.encode()),
    }
    for claim, holds in checks.items():
        if not holds:
            raise ProviderRefused(f"The provider's ID token is not for us: its {claim} is not as it must be.")
    return claims


def read_unverified_claim(token: str, claim: str) -> str | None:
    """What a claim says, to find out what the others must say: only for :func:`verify_claims` to judge."""
    value = _decoded(token).get(claim)
    return value if isinstance(value, str) else None


def _decoded(token: str) -> Mapping[str, Any]:
    """The payload of a JWS in its compact form (RFC 7515 section 7.1)."""
    parts = token.split(".")
    try:
        payload = parts[1] if len(parts) == 3 else ""
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise ProviderRefused("The provider's ID token cannot be read.")
    return claims
