"""Signed assertions: the client's own (RFC 7523 section 2.2) and those that are a grant (section 2.1).

joserfc is loaded only where something is signed: few providers want it, and every cold start would pay for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InvalidClient
from ..secret import Secret

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, RSAKey

#: How long a client's own assertion is valid, in seconds: one request, and a clock that is a little wrong.
CLIENT_ASSERTION_LIFETIME_SECONDS = 300
CLIENT_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def sign_assertion(
    claims: Mapping[str, str | None],
    private_key: Secret,
    *,
    client: str,
    now: int,
    lifetime: int = CLIENT_ASSERTION_LIFETIME_SECONDS,
    key_id: str | None = None,
    algorithm: Literal["RS256", "ES256"] | None = None,
) -> str:
    """A JWT of these claims with ``iat``, ``exp`` and a ``jti`` that never comes again.

    Parameters
    ----------
    claims
        Those without a value are left out.
    private_key
        PEM: RSA of at least 2048 bits for RS256, EC P-256 for ES256.
    client
        The client's name, for errors.
    now
        Epoch seconds.
    algorithm
        What the key is for when left out.

    Raises
    ------
    InvalidClient
        The key cannot be read, or is not one for this algorithm.
    """
    from joserfc import jwt

    key = _read(private_key, client)
    fits: Literal["RS256", "ES256"] = "RS256" if key.key_type == "RSA" else "ES256"
    if algorithm not in (None, fits):
        raise InvalidClient(f"private_key of client {client} cannot sign {algorithm}, which the profile asks for.")
    header: dict[str, Any] = {"alg": fits, "typ": "JWT", **({"kid": key_id} if key_id else {})}
    said = {name: value for name, value in claims.items() if value}
    times = {"iat": now, "exp": now + lifetime, "jti": secrets.token_urlsafe(16)}
    return jwt.encode(header, {**said, **times}, key, algorithms=[fits])


def _read(private_key: Secret, client: str) -> ECKey | RSAKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from joserfc.jwk import ECKey, RSAKey

    key: object = None
    # Not chained, and so raised below: what a parser says of a key may quote it.
    with suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = load_pem_private_key(private_key.reveal().encode(), password=None)
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return RSAKey.import_key(key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1":
        return ECKey.import_key(key)
    raise InvalidClient(
        f"private_key of client {client} is no key that could sign.",
        "Give it as PEM without a passphrase: RSA of 2048 bits or more, or EC P-256.",
    )
