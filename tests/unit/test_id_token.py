"""Protects the reading of ID tokens: one that was issued to another client, for another request, by another server, or
long ago says nothing of who has just consented (OpenID Connect Core 1.0 section 3.1.3.7).
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.link_errors import ProviderRefused
from evergrant.oauth.id_token import LEEWAY_SECONDS, read_unverified_claim, verify_claims

NOW = 1_800_000_000
ISSUER = "https://login.example.com"
GOOD = {"iss": ISSUER, "sub": "person-1", "aud": "client-1", "exp": NOW + 300, "nonce": "nonce-1"}


def id_token(claims: Any = None, **changes: Any) -> str:
    said = claims if claims is not None else {k: v for k, v in {**GOOD, **changes}.items() if v is not None}
    parts = [json.dumps({"alg": "RS256"}).encode(), json.dumps(said).encode(), b"signature"]
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def read(token: str) -> Any:
    return verify_claims(token, issuers=[ISSUER, "login.example.com"], client_id="client-1", nonce="nonce-1", now=NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"iss": "login.example.com"},
        {"aud": ["client-1"]},
        {"aud": ["client-1", "client-2"], "azp": "client-1"},
        {"azp": "client-1"},
        {"exp": NOW - LEEWAY_SECONDS + 1},
        {"exp": NOW + 0.5},
    ],
)
def test_a_token_for_this_client_and_this_request_is_read(changes: dict[str, Any]) -> None:
    assert read(id_token(**changes))["sub"] == "person-1"


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        ("iss", {"iss": "https://evil.example.com"}),
        ("iss", {"iss": ISSUER + "/"}),
        ("iss", {"iss": [ISSUER]}),
        ("iss", {"iss": None}),
        ("aud", {"aud": "client-2"}),
        ("aud", {"aud": ["client-2"]}),
        ("aud", {"aud": "client-1 client-2"}),
        ("aud", {"aud": None}),
        ("aud", {"aud": {"client-1": 1}}),
        ("azp", {"aud": ["client-1", "client-2"]}),
        ("azp", {"aud": ["client-1", "client-2"], "azp": "client-2"}),
        ("azp", {"azp": "client-2"}),
        ("exp", {"exp": NOW - LEEWAY_SECONDS}),
        ("exp", {"exp": None}),
        ("exp", {"exp": str(NOW + 300)}),
        ("exp", {"exp": True}),
        ("nonce", {"nonce": None}),
        ("nonce", {"nonce": "nonce-2"}),
        ("nonce", {"nonce": ["nonce-1"]}),
        ("nonce", {"nonce": "\u00e9"}),
    ],
)
def test_any_other_token_is_refused_by_the_claim_at_fault(claim: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ProviderRefused, match=f"its {claim} is not") as refused:
        read(id_token(**changes))
    assert "client-2" not in refused.value.message


@pytest.mark.parametrize(
    "token",
    ["", "a.b", "a.b.c", "a.b.c.d.e", id_token() + ".x", id_token([]), id_token("x"), "..", "\u00e9.\u00e9.\u00e9"],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(ProviderRefused):
        read(token)


def test_a_claim_that_names_the_issuer_is_looked_at_before_it_is_believed() -> None:
    assert read_unverified_claim(id_token(tid="directory-1"), "tid") == "directory-1"
    assert read_unverified_claim(id_token(tid=7), "tid") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
)


@given(st.dictionaries(st.sampled_from(["iss", "aud", "azp", "exp", "nonce", "sub"]), JSON) | JSON)
def test_no_claims_raise_anything_but_a_refusal(claims: Any) -> None:
    with suppress(ProviderRefused):
        read(id_token(claims if claims is not None else []))
