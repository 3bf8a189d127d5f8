"""Token sets and the arithmetic of their expiry. Pure: ``now`` and ``sent_at`` come in as arguments."""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from ..profiles.model import ExpiryRule
from ..secret import Secret

#: A lifetime beyond this (100 years, in seconds) is a provider's mistake, not a date.
LONGEST_LIFETIME = 100 * 365 * 86_400

_IN_SECONDS = {"seconds": 1.0, "milliseconds": 0.001, "days": 86_400.0, "epoch": 1.0, "epoch_milliseconds": 0.001}


@dataclass(frozen=True, slots=True)
class TokenSet:
    """What one answer of a token endpoint gave. Times are epoch seconds.

    ``issued_at`` is the local time at which the *request* was sent, so that no delay of the answer lengthens a life.
    ``expiry_rule`` names the rule of the profile that gave ``expires_at``.
    """

    access_token: Secret
    issued_at: int
    expires_at: int
    expiry_rule: str
    refresh_token: Secret | None = None
    refresh_expires_at: int | None = None
    # The provider's own texts, which nobody promised to be harmless.
    token_type: str = field(default="Bearer", repr=False)
    scope: str | None = field(default=None, repr=False)
    captured: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def lifetime(self) -> int:
        """Seconds the access token lives, from the moment its request was sent."""
        return self.expires_at - self.issued_at

    def encode(self) -> bytes:
        """The plaintext to seal: canonical JSON, so that equal sets are equal bytes."""
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
        """The inverse of :meth:`encode`."""
        fields: dict[str, Any] = json.loads(plain)
        refresh = fields.pop("refresh_token")
        return cls(
            access_token=Secret(fields.pop("access_token")),
            refresh_token=Secret(refresh) if refresh else None,
            **fields,
        )


def expiry(
    rules: tuple[ExpiryRule, ...],
    answer: Mapping[str, Any],
    sent_at: int,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, str] | None:
    """When a token lapses, by the first rule that the answer satisfies.

    Parameters
    ----------
    rules
        The profile's rules, in order of preference.
    answer
        The decoded body of the token endpoint's answer.
    sent_at
        Epoch seconds at which the request was sent.
    variables
        The connection's, one of which a rule's default may name.

    Returns
    -------
    tuple or None
        Epoch seconds and the name of the rule used, or None when no rule applies. A value that is no number, not
        finite, not positive or beyond :data:`LONGEST_LIFETIME` does not satisfy its rule.
    """
    for rule in rules:
        at = _expires_at(rule, answer, sent_at, variables)
        if at is not None and sent_at < at <= sent_at + LONGEST_LIFETIME:
            return at, rule.name
    return None


def _expires_at(rule: ExpiryRule, answer: Mapping[str, Any], sent_at: int, variables: Mapping[str, str]) -> int | None:
    if rule.jwt is not None:
        return _whole(_jwt_claims(look_up(answer, rule.jwt)).get("exp"), 1.0)
    if rule.default is not None:
        value = variables.get(rule.variable) if rule.variable is not None else rule.default
    else:
        value = look_up(answer, rule.path or "")
    if rule.format == "iso8601":
        return _iso8601(value)
    amount = _whole(value, _IN_SECONDS[rule.format])
    if amount is None or rule.format.startswith("epoch"):
        return amount
    return sent_at + amount


def look_up(answer: Any, path: str) -> Any:
    """The value at a dotted path (``data.0.token``), or None."""
    for step in path.split("."):
        if isinstance(answer, Mapping):
            answer = answer.get(step)
        elif isinstance(answer, list) and step.isdecimal() and len(step) < 6 and int(step) < len(answer):
            answer = answer[int(step)]
        else:
            return None
    return answer


def _whole(value: Any, unit: float) -> int | None:
    if isinstance(value, str) and len(value) <= 32:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e16 or not math.isfinite(value):
        return None
    return int(value * unit)


def _iso8601(value: Any) -> int | None:
    try:
        moment = datetime.fromisoformat(value)
        # ISO 8601 without an offset is local time of nowhere; every provider we know means UTC.
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None


def _jwt_claims(token: Any) -> Mapping[str, Any]:
    """The claims of a JWT (RFC 7519 section 3), unverified: they only tell us when *we* should refresh."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (AttributeError, IndexError, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, Mapping) else {}
