"""Token sets, and the plaintext in which they are sealed. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..secret import Secret
from .issuance import Issuance, decode_issuance, encode_issuance

#: The rules of an expiry that no response states: the profile's default, the lifetime of the set before, and a guess.
ASSUMED_EXPIRY_RULES = frozenset({"default", "previous", "unknown"})
#: So many answers in a row whose token has expired on arrival: the statement is wrong, not the token.
MAX_EXPIRED_ARRIVALS = 3


@dataclass(frozen=True, slots=True)
class TokenSet:
    """The tokens of one token response. Times are epoch seconds.

    ``issued_at`` is the local time at which the *request* was sent, so a delayed response never lengthens the lifetime.
    ``expiry_rule`` names the rule of the profile that gave ``expires_at``, or is one of
    :data:`ASSUMED_EXPIRY_RULES`. ``expiry_doubt`` says why the response's own statement was not followed:
    ``not_credible`` or ``expired``, None where it was. ``expired_arrivals`` counts the answers in a row whose access
    token had expired on arrival. ``is_repeated`` says that the access token is that of the set before.
    ``lifetime_before`` is the last credible lifetime that was stated, in seconds, where this set's own is not.
    ``issued_for`` is known of a set that was sealed.
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
    expiry_doubt: str | None = None
    expired_arrivals: int = 0
    is_repeated: bool = False
    lifetime_before: int | None = None
    issued_for: Issuance | None = field(default=None, repr=False, compare=False)

    @property
    def credible_lifetime(self) -> int | None:
        """The last credible lifetime that the provider stated, of this set or one before; None where it never did."""
        # A lifetime that was assumed, or given by hand, is no statement of the provider's.
        is_stated = ":" in self.expiry_rule or self.expiry_rule == "previous"
        return self.lifetime if is_stated and self.lifetime > 0 and not self.is_repeated else self.lifetime_before

    @property
    def is_expiry_assumed(self) -> bool:
        """Whether no response states the expiry: then a consumer's refusal says more."""
        return self.expiry_rule in ASSUMED_EXPIRY_RULES

    @property
    def lifetime(self) -> int:
        """The lifetime of the access token in seconds, from the time at which its request was sent."""
        return self.expires_at - self.issued_at

    def encode(self, issued_for: Issuance) -> bytes:
        """Encode the plaintext to seal: canonical JSON, so that equal sets are equal bytes."""
        plain: dict[str, Any] = {
            "issued_for": encode_issuance(issued_for),
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
        # Left out where they say nothing, so that an earlier release reads the set too.
        rare = {
            "expiry_doubt": self.expiry_doubt,
            "expired_arrivals": self.expired_arrivals,
            "is_repeated": self.is_repeated,
            "lifetime_before": self.lifetime_before,
        }
        plain |= {name: value for name, value in rare.items() if value}
        return json.dumps(plain, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def decode(cls, plain: bytes) -> TokenSet:
        """Decode a plaintext of :meth:`encode`."""
        fields: dict[str, Any] = json.loads(plain)
        refresh, issued_for = fields.pop("refresh_token"), fields.pop("issued_for", None)
        return cls(
            access_token=Secret(fields.pop("access_token")),
            refresh_token=Secret(refresh) if refresh else None,
            issued_for=decode_issuance(issued_for),
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
