"""Seal token sets by envelope encryption: AES-256-GCM under a data key of KMS.

Connection and generation are the encryption context of the data key and the associated data of the cipher. A sealed
set therefore opens only for the connection and generation that it was sealed for. CloudTrail records each unsealing
under the connection's name (AWS KMS developer guide, "Encryption context").
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from botocore.exceptions import ClientError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ...errors import SealBroken
from ...record.sealed import Sealed
from .sdk import client, read_error_code, unavailable

#: The errors of a data key that is damaged, or was made for another context or under another key (API_Decrypt).
_BROKEN_KEY_CODES = ("InvalidCiphertextException", "IncorrectKeyException")


@dataclass(frozen=True, slots=True)
class KmsDataKey:
    """A data key in memory. It seals one set without a call to KMS."""

    encrypted: bytes = field(repr=False)
    plain: bytes = field(repr=False)
    context: bytes

    def seal(self, plain: bytes) -> Sealed:
        nonce = os.urandom(12)
        return Sealed(self.encrypted, nonce, AESGCM(self.plain).encrypt(nonce, plain, self.context))


@dataclass(frozen=True, slots=True)
class KmsSeal:
    """:class:`evergrant.ports.Seal` over KMS."""

    key_arn: str

    def prepare(self, connection: str, generation: int) -> KmsDataKey:
        context = _build_context(connection, generation)
        with unavailable("fetching a data key"):
            answer = client("kms").generate_data_key(KeyId=self.key_arn, KeySpec="AES_256", EncryptionContext=context)
        return KmsDataKey(answer["CiphertextBlob"], answer["Plaintext"], _encode_context(context))

    def unseal(self, sealed: Sealed, connection: str, generation: int) -> bytes:
        context = _build_context(connection, generation)
        broken = SealBroken(f"The sealed token set of {connection} does not open as generation {generation}.")
        with unavailable("opening a data key"):
            try:
                answer = client("kms").decrypt(KeyId=self.key_arn, CiphertextBlob=sealed.key, EncryptionContext=context)
            except ClientError as error:
                if read_error_code(error) in _BROKEN_KEY_CODES:
                    raise broken from error
                raise
        try:
            return AESGCM(answer["Plaintext"]).decrypt(sealed.nonce, sealed.text, _encode_context(context))
        except InvalidTag as error:
            raise broken from error


def _build_context(connection: str, generation: int) -> dict[str, str]:
    return {"evergrant:connection": connection, "evergrant:generation": str(generation)}


def _encode_context(context: dict[str, str]) -> bytes:
    return "|".join(f"{name}={value}" for name, value in sorted(context.items())).encode()
