"""A token set under envelope encryption, and its form in a message of the queue."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Sealed:
    """A token set under AES-GCM; ``key`` is the data key, itself encrypted by KMS."""

    key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    text: bytes = field(repr=False)

    def encode(self) -> dict[str, str]:
        """Return the parts as base64, for JSON."""
        return {name: b64encode(part).decode() for name, part in asdict(self).items()}

    @classmethod
    def decode(cls, parts: Mapping[str, str]) -> Sealed:
        """Invert :meth:`encode`."""
        return cls(**{name: b64decode(part) for name, part in parts.items()})
