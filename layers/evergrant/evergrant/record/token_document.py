"""The token document: what consumers read in the ``tokens/`` secret and in the responses of getter. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from ..oauth.token_set import TokenSet
from ..profiles.model import Profile
from ..profiles.templates import fill_headers
from ..secret import Secret
from ..times import format_rfc3339
from .connection import Connection

#: A shorter secret may be a part of another text by chance.
_MIN_SEARCHED_CHARACTERS = 16


def build_document(connection: Connection, profile: Profile, tokens: TokenSet) -> dict[str, Any]:
    """Build the document of the current token set. It never holds a refresh token; times are RFC 3339 UTC."""
    document = {
        "connection": connection.name,
        "generation": connection.generation,
        "access_token": tokens.access_token.reveal(),
        "token_type": tokens.token_type,
        "expires_at": format_rfc3339(tokens.expires_at),
        "scope": tokens.scope,
        "missing_scope": connection.lacking_scope,
        "headers": build_consumer_headers(profile, connection.variables, tokens, connection.grant),
        "required_headers": list(profile.consumer.required_headers),
        "reject_statuses": list(profile.consumer.reject_statuses),
        "captured": dict(tokens.captured),
    }
    return _withhold(document, tokens.refresh_token)


def _withhold(document: dict[str, Any], refresh_token: Secret | None) -> dict[str, Any]:
    """Remove the refresh token from a document, by whichever path of a profile it came here.

    No profile that is checked lets it come here; a profile may have been written past its checks.
    """
    if refresh_token is None:
        return document
    secret = refresh_token.reveal()

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            is_held = value == secret or (len(secret) >= _MIN_SEARCHED_CHARACTERS and secret in value)
            return None if is_held else value
        if isinstance(value, dict):
            return {key: kept for key, item in value.items() if clean(key) and (kept := clean(item)) is not None}
        if isinstance(value, list):
            return [kept for item in value if (kept := clean(item)) is not None]
        return value

    return {key: clean(value) for key, value in document.items()}


def build_response(published: Mapping[str, Any], expires_at: int, now: float) -> dict[str, Any]:
    """Add ``expires_in`` to a document: whole seconds from now, never negative."""
    return {**published, "expires_in": max(int(expires_at - now), 0)}


#: What Secrets Manager takes as one value, in bytes ("AWS Secrets Manager quotas"). Getter serves a larger document.
MAX_BYTES = 65_536
#: The detail of a document that is larger.
TOO_LARGE = "too_large"
#: The length of a request token. A version that was stored by hand has an id of another length.
REQUEST_TOKEN_CHARACTERS = 64


def is_too_large(document: Mapping[str, Any]) -> bool:
    """Whether Secrets Manager would refuse the document for its size."""
    return len(json.dumps(document).encode()) > MAX_BYTES


def derive_request_token(connection: Connection, published: Mapping[str, Any]) -> str:
    """Derive Secrets Manager's ClientRequestToken, which names the version: 64 hexadecimal digits.

    The first 16 are the generation, so that of two versions the older one shows. The rest derives from what was saved,
    so that a repeated Put of one generation is idempotent; and from the document, since the same token with another
    value is an error, and a release may publish more than the one before it did.
    """
    text = json.dumps(published, sort_keys=True)
    seed = f"{connection.name}|{connection.authorization_id}|{connection.generation}|{connection.issued_at}|{text}"
    return f"{connection.generation:016x}{sha256(seed.encode()).hexdigest()[:48]}"


def build_consumer_headers(
    profile: Profile, variables: Mapping[str, str], tokens: TokenSet, grant: str | None = None
) -> dict[str, str]:
    """Build the headers with which a consumer calls the provider's API, ready to send.

    A pasted key (the grant ``static``) may have headers of its own in the profile.
    """
    known = {**variables, "access_token": tokens.access_token.reveal(), "token_type": tokens.token_type}
    own = profile.static.headers if profile.static and grant == "static" else {}
    return fill_headers(own or profile.consumer.headers, known)
