"""Signed assertions: those that authenticate a client (RFC 7523 section 2.2) and those that are a grant (section 2.1).

joserfc is imported only to sign: few providers need it, and every cold start would pay for it.
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

#: The lifetime of a client's own assertion: enough for one request and a clock that is a little wrong.
CLIENT_ASSERTION_LIFETIME_SECONDS = 300
_MIN_RSA_BITS = 2048
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
    """Sign a JWT of these claims with ``iat``, ``exp`` and a unique ``jti``.

    Parameters
    ----------
    claims
        A claim without a value is left out.
    private_key
        PEM: RSA of at least 2048 bits for RS256, EC P-256 for ES256.
    client
        The client's name, for errors.
    now
        Epoch seconds.
    lifetime
        Seconds.
    algorithm
        The one that fits the key when left out.

    Raises
    ------
    InvalidClient
        The key cannot be read, or does not fit the algorithm.
    """
    from joserfc import jwt

    key = _read_private_key(private_key, client)
    fitting: Literal["RS256", "ES256"] = "RS256" if key.key_type == "RSA" else "ES256"
    if algorithm not in (None, fitting):
        raise InvalidClient(f"private_key of client {client} cannot sign {algorithm}, which the profile requires.")
    header: dict[str, Any] = {"alg": fitting, "typ": "JWT", **({"kid": key_id} if key_id else {})}
    stated = {name: value for name, value in claims.items() if value}
    times = {"iat": now, "exp": now + lifetime, "jti": secrets.token_urlsafe(16)}
    return jwt.encode(header, {**stated, **times}, key, algorithms=[fitting])


def _read_private_key(private_key: Secret, client: str) -> ECKey | RSAKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from joserfc.jwk import ECKey, RSAKey

    key: object = None
    # The error is raised below, without a cause: a parser's message may quote the key.
    with suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = load_pem_private_key(private_key.reveal().encode(), password=None)
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _MIN_RSA_BITS:
        return RSAKey.import_key(key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1":
        return ECKey.import_key(key)
    raise InvalidClient(
        f"private_key of client {client} is not a key that can sign.",
        "Give it as PEM without a passphrase: RSA of 2048 bits or more, or EC P-256.",
    )
