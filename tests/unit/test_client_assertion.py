"""Protects signed assertions: the claims RFC 7523 demands, verified with the public key, and no key in an error."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from evergrant.errors import InvalidClient
from evergrant.oauth.client import Client
from evergrant.oauth.token_request import build_token_request
from evergrant.profiles.loader import load_profile
from evergrant.profiles.model import Profile
from evergrant.secret import Secret
from tests.unit.samples import NOW, form_of

_HEAD = 'name = "acme"\ntitle = "A"\n'
BEARER = """
[jwt_bearer]
url = "https://api.example.com/token"
[jwt_bearer.claims]
iss = "{client_id}"
aud = "{url}"
scope = "{scope}"
sub = "{user}"
[variables.user]
pattern = '[a-z]+'
"""
PROOF = '[client_credentials]\nurl = "https://api.example.com/token"\nclient_auth = "private_key_jwt"'


@cache
def keys() -> dict[str, Any]:
    return {
        "RS256": rsa.generate_private_key(65537, 2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "small": rsa.generate_private_key(65537, 1024),  # noqa: S505
        "other": ec.generate_private_key(ec.SECP384R1()),
    }


def client(key: str | None, pem: str | None = None) -> Client:
    if key:
        pem = keys()[key].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    held = Secret(pem) if pem else None
    return Client("acme", "client-1", (Secret("hush"),), ("api.example.com",), {}, held, "key-7")


def build_form(profile: Profile, phase: Any, key: str = "RS256") -> dict[str, str]:
    request = build_token_request(
        profile, phase, {"user": "ann"}, client(key), Secret("hush"), {"scope": "a b"}, now=NOW
    )
    return form_of(request)


def decode_assertion(token: str, key: str) -> jwt.Token:
    public = keys()[key].public_key()
    kind: Any = RSAKey if key == "RS256" else ECKey
    return jwt.decode(token, kind.import_key(public), algorithms=[key])


def test_a_grant_by_assertion_is_signed_with_its_claims_and_times() -> None:
    form = build_form(load_profile(_HEAD + BEARER), "jwt_bearer")
    assert form.keys() == {"grant_type", "assertion", "scope"}
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    token = decode_assertion(form["assertion"], "RS256")
    assert token.header == {"alg": "RS256", "typ": "JWT", "kid": "key-7"}
    jti = token.claims.pop("jti")
    assert len(jti) >= 20
    assert token.claims == {
        "iss": "client-1",
        "aud": "https://api.example.com/token",
        "scope": "a b",
        "sub": "ann",
        "iat": NOW,
        "exp": NOW + 300,
    }


def test_no_two_assertions_are_the_same() -> None:
    profile = load_profile(_HEAD + BEARER)
    first, second = (
        decode_assertion(build_form(profile, "jwt_bearer")["assertion"], "RS256").claims["jti"] for _ in range(2)
    )
    assert first != second


@pytest.mark.parametrize("key", ["RS256", "ES256"])
def test_a_client_proves_itself_by_its_key_and_sends_no_secret(key: str) -> None:
    form = build_form(load_profile(_HEAD + PROOF), "client_credentials", key)
    assert form.keys() == {"grant_type", "scope", "client_id", "client_assertion_type", "client_assertion"}
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    claims = decode_assertion(form["client_assertion"], key).claims
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("client-1", "client-1", "https://api.example.com/token")
    assert claims["exp"] - claims["iat"] == 300


@pytest.mark.parametrize("held", [client(None), client(None, "canary"), client("small"), client("other")])
def test_a_key_that_cannot_sign_is_reported_without_showing_it(held: Client) -> None:
    with pytest.raises(InvalidClient) as refused:
        build_token_request(load_profile(_HEAD + PROOF), "client_credentials", {}, held, None, {}, now=NOW)
    assert refused.value.__cause__ is None
    assert "canary" not in str(refused.value.as_dict())


def test_a_key_for_another_algorithm_than_the_profiles_is_reported() -> None:
    with pytest.raises(InvalidClient, match="RS256"):
        build_form(load_profile(_HEAD + BEARER), "jwt_bearer", "ES256")
