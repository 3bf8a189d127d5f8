"""The one decoder of JWT payloads: what it reads, and what it takes for no JWT."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

import pytest

from evergrant.jwt_payload import decode_jwt_payload


def encode(payload: bytes) -> str:
    return urlsafe_b64encode(payload).decode().rstrip("=")


@pytest.mark.parametrize("payload", [b"{}", b'{"a":1}', b'{"ab":1}', b'{"abc":"\xc3\xbf\xc3\xbe?>"}'])
def test_a_payload_is_decoded_at_any_padding(payload: bytes) -> None:
    """Base64url of a JWT has no padding (RFC 7515 section 2)."""
    claims = decode_jwt_payload(f"header.{encode(payload)}.signature")
    assert claims is not None
    assert list(claims) == ([] if payload == b"{}" else [payload.decode().split('"')[1]])


def test_an_unsecured_jwt_is_decoded() -> None:
    """Its signature is empty (RFC 7519 section 6.1)."""
    payload = encode(b'{"exp":1}')
    assert decode_jwt_payload(f"header.{payload}.") == {"exp": 1}


@pytest.mark.parametrize(
    "token",
    [
        None,
        7,
        "",
        "opaque",
        encode(b"{}"),
        f"header.{encode(b'{}')}",
        f"header.{encode(b'{}')}.iv.ciphertext.tag",
        "header.*.signature",
        "header..signature",
        f"header.{encode(b'no JSON')}.signature",
        f"header.{encode(b'[1]')}.signature",
        f"header.{encode(b'[' * 100_000)}.signature",
    ],
    ids=str,
)
def test_what_is_no_jwt_has_no_claims(token: Any) -> None:
    """An encrypted JWT has five parts, and its payload is not ours to read (RFC 7516 section 7.1)."""
    assert decode_jwt_payload(token) is None
