"""Protects the sealed token set: it opens as what it was sealed as and as nothing else, each opening leaves the
connection's name in CloudTrail, and who may only seal can seal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evergrant.adapters.aws.sdk import client
from evergrant.adapters.aws.seal import KmsSeal
from evergrant.errors import SealBroken
from evergrant.ports import PortUnavailable
from evergrant.record.sealed import Sealed
from tests.adapters.hooks import failing, parameters

NAME, GENERATION = "keap/main", 8
PLAIN = b'{"refresh_token":"canary-refresh"}'
CONTEXT = {"evergrant:connection": NAME, "evergrant:generation": "8"}


@pytest.fixture
def seal(key_arn: str) -> KmsSeal:
    return KmsSeal(key_arn)


@pytest.fixture
def sealed(seal: KmsSeal) -> Sealed:
    return seal.prepare(NAME, GENERATION).seal(PLAIN)


def test_it_opens_as_what_it_was_sealed_as(seal: KmsSeal, sealed: Sealed) -> None:
    assert seal.unseal(sealed, NAME, GENERATION) == PLAIN


@pytest.mark.parametrize(
    ("connection", "generation"), [("keap/other", GENERATION), (NAME, GENERATION + 1), (NAME, GENERATION - 1)]
)
def test_it_does_not_open_as_anything_else(seal: KmsSeal, sealed: Sealed, connection: str, generation: int) -> None:
    # KMS itself refuses here. That is no outage, which would be tried again for ever.
    with pytest.raises(SealBroken):
        seal.unseal(sealed, connection, generation)


def test_the_text_is_bound_to_its_context_without_the_help_of_kms(seal: KmsSeal, sealed: Sealed) -> None:
    # A data key that KMS does open for another generation opens no text of this one.
    other = replace(seal.prepare(NAME, GENERATION + 1).seal(PLAIN), nonce=sealed.nonce, text=sealed.text)
    with pytest.raises(SealBroken):
        seal.unseal(other, NAME, GENERATION + 1)


@pytest.mark.parametrize("generation", [1, 11])
def test_name_and_generation_cannot_be_mistaken_for_each_other(seal: KmsSeal, generation: int) -> None:
    sealed = seal.prepare("keap/main1", generation).seal(PLAIN)
    with pytest.raises(SealBroken):
        seal.unseal(sealed, "keap/main", int(f"1{generation}"))


def test_a_tampered_text_does_not_open(seal: KmsSeal, sealed: Sealed) -> None:
    for position in (0, len(sealed.text) // 2, len(sealed.text) - 1):
        text = bytearray(sealed.text)
        text[position] ^= 1
        with pytest.raises(SealBroken):
            seal.unseal(replace(sealed, text=bytes(text)), NAME, GENERATION)
    with pytest.raises(SealBroken):
        seal.unseal(replace(sealed, nonce=b"another-12-b"), NAME, GENERATION)
    with pytest.raises(SealBroken):
        seal.unseal(replace(sealed, text=sealed.text[:-1]), NAME, GENERATION)


def test_a_damaged_data_key_does_not_open(seal: KmsSeal, sealed: Sealed) -> None:
    with failing("kms", "Decrypt", "InvalidCiphertextException"), pytest.raises(SealBroken):
        seal.unseal(sealed, NAME, GENERATION)


def test_kms_gets_connection_and_generation_when_sealing_and_unsealing(seal: KmsSeal) -> None:
    with parameters("kms", "GenerateDataKey") as made, parameters("kms", "Decrypt") as opened:
        sealed = seal.prepare(NAME, GENERATION).seal(PLAIN)
        seal.unseal(sealed, NAME, GENERATION)
    assert [call["EncryptionContext"] for call in made] == [CONTEXT]
    assert [call["EncryptionContext"] for call in opened] == [CONTEXT]


def test_opening_names_the_key_so_that_no_other_key_can_be_slipped_in(
    seal: KmsSeal, sealed: Sealed, key_arn: str
) -> None:
    with parameters("kms", "Decrypt") as opened:
        seal.unseal(sealed, NAME, GENERATION)
    assert opened[0]["KeyId"] == key_arn


def test_who_may_not_open_can_seal(seal: KmsSeal) -> None:
    with failing("kms", "Decrypt"):
        sealed = seal.prepare(NAME, GENERATION).seal(PLAIN)
        with pytest.raises(PortUnavailable):
            seal.unseal(sealed, NAME, GENERATION)
    assert seal.unseal(sealed, NAME, GENERATION) == PLAIN


def test_sealing_calls_no_service(seal: KmsSeal) -> None:
    # It stands between a provider's answer and its safety.
    data_key = seal.prepare(NAME, GENERATION)
    with failing("kms", "GenerateDataKey"), failing("kms", "Decrypt"):
        assert data_key.seal(PLAIN).text


def test_every_set_has_its_own_nonce(seal: KmsSeal) -> None:
    data_key = seal.prepare(NAME, GENERATION)
    first, second = data_key.seal(PLAIN), data_key.seal(PLAIN)
    assert first.nonce != second.nonce
    assert first.text != second.text


@pytest.mark.parametrize("size", [0, 1, 20_480])
def test_any_size_of_token_set_can_be_sealed(seal: KmsSeal, size: int) -> None:
    plain = b"x" * size
    assert seal.unseal(seal.prepare(NAME, GENERATION).seal(plain), NAME, GENERATION) == plain


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "ThrottlingException", "KMSInternalException", "DisabledException"]
)
def test_a_kms_that_does_not_work_is_unavailable(seal: KmsSeal, sealed: Sealed, code: str) -> None:
    with failing("kms", "GenerateDataKey", code), pytest.raises(PortUnavailable, match=code):
        seal.prepare(NAME, GENERATION)
    with failing("kms", "Decrypt", code), pytest.raises(PortUnavailable, match=code):
        seal.unseal(sealed, NAME, GENERATION)


def test_neither_key_nor_text_prints_itself(seal: KmsSeal) -> None:
    data_key = seal.prepare(NAME, GENERATION)
    assert repr(data_key.plain) not in repr(data_key)
    assert "canary" not in repr(data_key.seal(PLAIN))
    answer = client("kms").generate_data_key(KeyId=seal.key_arn, KeySpec="AES_256")
    assert len(data_key.plain) == len(answer["Plaintext"]) == 32


def test_the_sealed_set_holds_nothing_of_the_plain_one(sealed: Sealed) -> None:
    assert b"canary" not in sealed.key + sealed.nonce + sealed.text
