"""The payload of a JWT, decoded without a check of its signature."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any


def decode_jwt_payload(token: object) -> dict[str, Any] | None:
    """Decode the claims of a JWT in the compact form of a JWS (RFC 7519 section 3, RFC 7515 section 7.1).

    The signature is not verified: the caller must not trust the claims more than the channel that the token came by.

    Returns
    -------
    dict or None
        None if ``token`` is no such JWT, for example an opaque token or an encrypted JWT.
    """
    parts = token.split(".") if isinstance(token, str) else []
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None
