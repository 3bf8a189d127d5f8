"""When a token expires, by the rules of its profile, and the dotted paths by which they name values. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from ..jwt_payload import decode_jwt_payload
from .model import Variable
from .response_specs import ExpiryRule

#: A longer lifetime (100 years) is a provider's mistake, and no date.
MAX_LIFETIME_SECONDS = 100 * 365 * 86_400
#: An earlier moment (September 2001) is no moment: a duration under the name of a date, or an empty date.
MIN_MOMENT = 10**9
#: Beyond this a number is neither a duration nor a time, in any unit.
_MAX_NUMBER = 1e16
_MAX_NUMBER_CHARACTERS = 32

#: A response that seems older than this shows a clock that is wrong, or a cache.
_MAX_CLOCK_SKEW_SECONDS = 300

#: An index with more digits is out of range in any real response.
_MAX_INDEX_DIGITS = 5

_SECONDS_PER_UNIT = {"seconds": 1.0, "milliseconds": 0.001, "days": 86_400.0, "epoch": 1.0, "epoch_milliseconds": 0.001}


class Expiry(NamedTuple):
    """When a token expires, in epoch seconds, and the name of the rule that says so."""

    at: int
    rule: str


def compute_expiry(
    rules: tuple[ExpiryRule, ...],
    body: Any,
    sent_at: int,
    variables: Mapping[str, str] = MappingProxyType({}),
    declared: Mapping[str, Variable] = MappingProxyType({}),
    answered_at: int | None = None,
) -> Expiry | None:
    """Compute when a token expires, by the first rule that the response satisfies.

    A duration of zero or below, and a moment that is past, mean that the token has expired now, at ``sent_at``: a value
    that is present is not absent.

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
    answered_at
        The response's own Date, in epoch seconds: the provider's clock may be wrong.

    Returns
    -------
    Expiry or None
        None when no rule applies. A value that is no number, not finite or beyond :data:`MAX_LIFETIME_SECONDS` does
        not satisfy its rule.
    """
    for rule in rules:
        lifetime = _measure_lifetime(rule, body, sent_at, variables, declared, answered_at)
        is_lifetime = lifetime is not None and lifetime <= MAX_LIFETIME_SECONDS
        if lifetime is None or not is_lifetime or (rule.default is not None and lifetime <= 0):
            continue
        if lifetime <= 0 and rule.zero == "never":
            return Expiry(sent_at + MAX_LIFETIME_SECONDS, f"{name_rule(rule)}:never")
        return Expiry(sent_at + max(lifetime, 0), name_rule(rule))
    return None


def is_overstated(rules: tuple[ExpiryRule, ...], body: Any, sent_at: int) -> bool:
    """Whether the response states a lifetime beyond :data:`MAX_LIFETIME_SECONDS`."""
    stated = (_measure_lifetime(rule, body, sent_at, {}, {}, None) for rule in rules if rule.default is None)
    return any(lifetime is not None and lifetime > MAX_LIFETIME_SECONDS for lifetime in stated)


def measure_jwt(token: object, sent_at: int, answered_at: int | None = None) -> int | None:
    """Return the seconds for which a JWT is still valid, by its own claims; None if they do not say.

    ``exp`` counts from ``iat`` (RFC 7519 section 4.1), since both are by the provider's clock, or from the response's
    Date where that is later: a server may hand out a token that it made before. Where both are long before ``sent_at``,
    either the provider's clock is behind, or a cache has kept the response: then the shorter lifetime counts.
    """
    claims = decode_jwt_payload(token) or {}
    expires_at, issued_at = _parse_moment(claims.get("exp"), 1.0), _parse_moment(claims.get("iat"), 1.0)
    if expires_at is None:
        return None
    if issued_at is None:
        return _count_down(expires_at, sent_at, answered_at)
    made_at = max(issued_at, answered_at or issued_at)
    left, lifetime = expires_at - sent_at, expires_at - made_at
    if lifetime <= 0:
        return left
    is_old = sent_at - made_at > _MAX_CLOCK_SKEW_SECONDS
    return left if is_old and 0 < left < lifetime else lifetime


def _measure_lifetime(
    rule: ExpiryRule,
    body: Any,
    sent_at: int,
    variables: Mapping[str, str],
    declared: Mapping[str, Variable],
    answered_at: int | None,
) -> int | None:
    """Return the lifetime in seconds that a rule finds; not positive if the token has expired."""
    if rule.jwt is not None:
        return measure_jwt(look_up(body, rule.jwt), sent_at, answered_at)
    value = look_up(body, rule.path or "") if rule.default is None else _read_default(rule, variables, declared)
    if rule.format in ("seconds", "milliseconds", "days"):
        return _parse_number(value, _SECONDS_PER_UNIT[rule.format])
    number = _parse_number(value, 1.0)
    if number is not None and number <= 0:
        return 0
    moment = _parse_iso8601(value) if rule.format == "iso8601" else _parse_moment(value, _SECONDS_PER_UNIT[rule.format])
    return None if moment is None else _count_down(moment, sent_at, answered_at)


def _count_down(moment: int, sent_at: int, answered_at: int | None) -> int:
    """Return the seconds until a moment, by our clock or the provider's: the shorter time that is not over."""
    lifetimes = [moment - at for at in (sent_at, answered_at) if at is not None]
    return min((lifetime for lifetime in lifetimes if lifetime > 0), default=0)


def _parse_moment(value: Any, seconds_per_unit: float) -> int | None:
    """Parse Unix time; None if it is before :data:`MIN_MOMENT`."""
    moment = _parse_number(value, seconds_per_unit)
    return None if moment is None or moment < MIN_MOMENT else moment


def _parse_number(value: Any, seconds_per_unit: float) -> int | None:
    """Parse a number, or a number in a text, into whole seconds. A number beyond reason is the largest there is."""
    if isinstance(value, str) and len(value) <= _MAX_NUMBER_CHARACTERS:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return int(max(min(value, _MAX_NUMBER), -_MAX_NUMBER) * seconds_per_unit)


def _parse_iso8601(value: Any) -> int | None:
    try:
        moment = datetime.fromisoformat(value)
        # ISO 8601 leaves a time without an offset undefined; every provider we know means UTC.
        at = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None
    return at if at >= MIN_MOMENT else None


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
