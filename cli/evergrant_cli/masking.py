"""Build requests that may be shown: stand-ins in capitals take the place of every secret.

A request is not edited afterwards. The same code builds it from the stand-ins alone, so no encoding of a secret can
remain in it.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from evergrant.http_messages import HttpRequest
    from evergrant.oauth.client import Client
    from evergrant.oauth.token_request import Phase
    from evergrant.profiles.model import Profile
    from evergrant.secret import Secret

_JWT = re.compile(r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+")
_VALUES = ("code", "redirect_uri", "code_verifier", "refresh_token", "token")
_SIGNED = "SIGNED_ASSERTION"


def build_masked_request(
    profile: Profile,
    phase: Phase,
    variables: Mapping[str, str],
    shape: Client,
    *,
    scope: str | None,
    now: int,
    loopback: bool = False,
) -> dict[str, Any]:
    """Build one phase's request: ``method``, ``url``, ``headers``, ``body`` and, where one is signed, ``assertion``.

    Parameters
    ----------
    shape
        The client of the request. Only the presence of its parts counts; no value is taken from it.
    """
    from evergrant.oauth.token_request import build_token_request

    values: dict[str, str | None] = {name: name.upper() for name in _VALUES}
    if profile.authorize is None or not profile.authorize.pkce:
        values["code_verifier"] = None
    stand_in = _build_stand_in(profile, phase, shape)
    if profile.revoke:
        values["token_type_hint"] = profile.revoke.token
    secret = stand_in.secrets[0] if stand_in.secrets else None
    request = build_token_request(
        profile, phase, variables, stand_in, secret, {**values, "scope": scope}, now=now, loopback=loopback
    )
    return _render_request(request, now)


def mask_token(secret: Secret | None) -> str | None:
    """Describe a token by its length, and by a fingerprint that tells it from another."""
    return None if secret is None else f"{len(secret.reveal())} characters, SHA-256 {secret.fingerprint}…"


def _build_stand_in(profile: Profile, phase: Phase, shape: Client) -> Client:
    from evergrant.oauth.client import Client
    from evergrant.secret import Secret

    signs_rsa = phase == "jwt_bearer" and profile.jwt_bearer is not None and profile.jwt_bearer.algorithm == "RS256"
    return Client(
        name="client",
        client_id=None if shape.client_id is None else "CLIENT_ID",
        secrets=(Secret("CLIENT_SECRET"),) if shape.secrets else (),
        hosts=(),
        credentials={name: Secret(name.upper()) for name in shape.credentials},
        private_key=None if shape.private_key is None else _generate_throwaway_key("RS256" if signs_rsa else "ES256"),
        key_id=None if shape.key_id is None else "KEY_ID",
    )


@cache
def _generate_throwaway_key(algorithm: Literal["RS256", "ES256"]) -> Secret:
    """Generate a key that signs only what is shown."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    from evergrant.secret import Secret

    key = rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def _render_request(request: HttpRequest, now: int) -> dict[str, Any]:
    headers = {name: _JWT.sub(_SIGNED, _decode_basic(value)) for name, value in request.headers.items()}
    body = request.body.decode()
    everything = " ".join((request.url, *request.headers.values(), body))
    signed = _JWT.search(everything)
    shown = {
        "method": request.method,
        "url": _JWT.sub(_SIGNED, request.url),
        "headers": headers,
        "body": _JWT.sub(_SIGNED, body) or None,
    }
    return {**shown, "assertion": _masked_claims(signed[0], now)} if signed else shown


def _decode_basic(header: str) -> str:
    """Show the two parts of HTTP Basic in clear."""
    scheme, _, encoded = header.partition(" ")
    return f"Basic base64({b64decode(encoded).decode()})" if scheme == "Basic" else header


def _masked_claims(assertion: str, now: int) -> dict[str, Any]:
    from evergrant.jwt_payload import decode_jwt_payload

    claims = decode_jwt_payload(assertion) or {}
    return {**claims, "iat": "NOW", "exp": f"NOW + {claims['exp'] - now} s", "jti": "RANDOM"}
