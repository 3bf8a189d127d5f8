"""When a token expires, by the rules of its profile, and the dotted paths by which they name values. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from ..jwt_payload import decode_jwt_payload
from .model import Variable
from .response_specs import ExpiryRule

#: A longer lifetime (100 years) is a provider's mistake, and no date.
MAX_LIFETIME_SECONDS = 100 * 365 * 86_400
#: Beyond this a number is neither a duration nor a time, in any unit.
_MAX_NUMBER = 1e16
_MAX_NUMBER_CHARACTERS = 32

#: An index with more digits is out of range in any real response.
_MAX_INDEX_DIGITS = 5

_SECONDS_PER_UNIT = {"seconds": 1.0, "milliseconds": 0.001, "days": 86_400.0, "epoch": 1.0, "epoch_milliseconds": 0.001}


def compute_expiry(
    rules: tuple[ExpiryRule, ...],
    body: Mapping[str, Any],
    sent_at: int,
    variables: Mapping[str, str] = MappingProxyType({}),
    declared: Mapping[str, Variable] = MappingProxyType({}),
) -> tuple[int, str] | None:
    """Compute when a token expires, by the first rule that the response satisfies.

    Parameters
    ----------
    rules
        The profile's rules, in order of preference.
    body
        The decoded body of the token endpoint's response.
    sent_at
        Epoch seconds at which the request was sent.
    variables
        The connection's, one of which a rule's default may name.
    declared
        The profile's variables, with the defaults of those that the connection does not have.

    Returns
    -------
    tuple or None
        Epoch seconds and the name of the rule used, or None when no rule applies. A value that is no number, not
        finite, not positive or beyond :data:`MAX_LIFETIME_SECONDS` does not satisfy its rule.
    """
    for rule in rules:
        expires_at = _apply_rule(rule, body, sent_at, variables, declared)
        if expires_at is not None and sent_at < expires_at <= sent_at + MAX_LIFETIME_SECONDS:
            return expires_at, name_rule(rule)
    return None


def _apply_rule(
    rule: ExpiryRule,
    body: Mapping[str, Any],
    sent_at: int,
    variables: Mapping[str, str],
    declared: Mapping[str, Variable],
) -> int | None:
    if rule.jwt is not None:
        claims = decode_jwt_payload(look_up(body, rule.jwt)) or {}
        return _parse_number(claims.get("exp"), 1.0)
    value = look_up(body, rule.path or "") if rule.default is None else _read_default(rule, variables, declared)
    if rule.format == "iso8601":
        return _parse_iso8601(value)
    seconds = _parse_number(value, _SECONDS_PER_UNIT[rule.format])
    if seconds is None or rule.format.startswith("epoch"):
        return seconds
    return sent_at + seconds


def _parse_number(value: Any, seconds_per_unit: float) -> int | None:
    """Parse a number, or a number in a text, into whole seconds."""
    if isinstance(value, str) and len(value) <= _MAX_NUMBER_CHARACTERS:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if abs(value) > _MAX_NUMBER or not math.isfinite(value):
        return None
    return int(value * seconds_per_unit)


def _parse_iso8601(value: Any) -> int | None:
    try:
        moment = datetime.fromisoformat(value)
        # ISO 8601 leaves a time without an offset undefined; every provider we know means UTC.
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None


def _read_default(rule: ExpiryRule, variables: Mapping[str, str], declared: Mapping[str, Variable]) -> object:
    """Return the rule's default, or the value of the variable that it names."""
    if not isinstance(rule.default, str):
        return rule.default
    name = rule.default.strip("{}")
    return variables.get(name, declared[name].default if name in declared else None)


def name_rule(rule: ExpiryRule) -> str:
    """Return the name of a rule in the record."""
    if rule.default is not None:
        return "default"
    return f"jwt:{rule.jwt}" if rule.jwt is not None else f"{rule.path}:{rule.format}"


def look_up(value: Any, path: str) -> Any:
    """Return the value at a dotted path (``data.0.token``), or None."""
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and _is_index(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _is_index(step: str) -> bool:
    return step.isdecimal() and len(step) <= _MAX_INDEX_DIGITS
