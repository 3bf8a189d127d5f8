"""When a token expires, by the rules of its provider's profile. Pure: ``sent_at`` comes in as an argument."""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from .model import ExpiryRule

#: A lifetime beyond this (100 years, in seconds) is a provider's mistake, not a date.
MAX_LIFETIME_SECONDS = 100 * 365 * 86_400

_IN_SECONDS = {"seconds": 1.0, "milliseconds": 0.001, "days": 86_400.0, "epoch": 1.0, "epoch_milliseconds": 0.001}


def compute_expiry(
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
        finite, not positive or beyond :data:`MAX_LIFETIME_SECONDS` does not satisfy its rule.
    """
    for rule in rules:
        at = _expires_at(rule, answer, sent_at, variables)
        if at is not None and sent_at < at <= sent_at + MAX_LIFETIME_SECONDS:
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
