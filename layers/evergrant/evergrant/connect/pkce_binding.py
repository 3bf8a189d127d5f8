"""The code verifier and the nonce of one authorization, derived from the browser's cookie and the state."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class PkceBinding:
    """Cookie and state of one authorization.

    Neither is stored in the clear, and both are needed: a stolen table or a stolen link alone reveals no code verifier.
    """

    cookie: str = field(repr=False)
    state: str = field(repr=False)

    @property
    def code_verifier(self) -> str:
        """43 characters (RFC 7636 section 4.1)."""
        return self._derive("code_verifier")

    @property
    def code_challenge(self) -> str:
        """By the method S256 (RFC 7636 section 4.2)."""
        return _encode(sha256(self.code_verifier.encode()).digest())

    @property
    def nonce(self) -> str:
        """What the ID token has to repeat (OpenID Connect Core 1.0 section 3.1.2.1)."""
        return self._derive("nonce")

    def _derive(self, purpose: str) -> str:
        return _encode(hmac.digest(self.cookie.encode(), f"{purpose}:{self.state}".encode(), "sha256"))


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
