"""Token sets, and the plaintext in which they are sealed. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..secret import Secret


@dataclass(frozen=True, slots=True)
class TokenSet:
    """The tokens of one token response. Times are epoch seconds.

    ``issued_at`` is the local time at which the *request* was sent, so a delayed response never lengthens the lifetime.
    ``expiry_rule`` names the rule of the profile that gave ``expires_at``.
    """

    access_token: Secret
    issued_at: int
    expires_at: int
    expiry_rule: str
    refresh_token: Secret | None = None
    refresh_expires_at: int | None = None
    # The repr leaves out the provider's own texts: they are not trusted.
    token_type: str = field(default="Bearer", repr=False)
    scope: str | None = field(default=None, repr=False)
    captured: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def lifetime(self) -> int:
        """The lifetime of the access token in seconds, from the time at which its request was sent."""
        return self.expires_at - self.issued_at

    def encode(self) -> bytes:
        """Encode the plaintext to seal: canonical JSON, so that equal sets are equal bytes."""
        plain = {
            "access_token": self.access_token.reveal(),
            "issued_at": self.issued_at,
            "expires_at": self.expires_at,
            "expiry_rule": self.expiry_rule,
            "refresh_token": self.refresh_token.reveal() if self.refresh_token else None,
            "refresh_expires_at": self.refresh_expires_at,
            "token_type": self.token_type,
            "scope": self.scope,
            "captured": dict(self.captured),
        }
        return json.dumps(plain, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def decode(cls, plain: bytes) -> TokenSet:
        """Decode a plaintext of :meth:`encode`."""
        fields: dict[str, Any] = json.loads(plain)
        refresh = fields.pop("refresh_token")
        return cls(
            access_token=Secret(fields.pop("access_token")),
            refresh_token=Secret(refresh) if refresh else None,
            **fields,
        )


@dataclass(frozen=True, slots=True)
class TokenLifetime:
    """What scheduling needs to know of a token set."""

    issued_at: int
    expires_at: int

    @property
    def lifetime(self) -> int:
        return self.expires_at - self.issued_at

    @property
    def last_quarter_at(self) -> int:
        """When the last quarter of the lifetime begins: from then on the token is about to expire."""
        return self.expires_at - self.lifetime // 4
