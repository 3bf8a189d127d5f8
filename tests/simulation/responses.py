"""What a provider says, in the form in which its profile is read: token sets, errors, and pages of something else."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from evergrant.http_messages import HttpResponse
from evergrant.profiles.model import Profile
from evergrant.profiles.response_specs import ExpiryRule
from evergrant.times import format_rfc3339

_UNITS = {"seconds": 1, "milliseconds": 1000, "days": 1 / 86_400, "epoch": 1, "epoch_milliseconds": 1000}
PAGE = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Please wait.</body></html>"


def build_token_response(
    profile: Profile,
    access_token: str,
    refresh_token: str | None,
    sent_at: float,
    lifetime: int,
    refresh_lifetime: float | None = None,
) -> HttpResponse:
    """Build a complete token response.

    Parameters
    ----------
    sent_at
        The time by the provider's clock (epoch seconds).
    lifetime, refresh_lifetime
        In seconds; said where the profile has a field for it.
    """
    spec = profile.response
    body: dict[str, Any] = {}
    _put(body, spec.access_token[0], access_token)
    _put(body, spec.token_type[0], "bearer")
    if refresh_token is not None:
        _put(body, spec.refresh_token[0], refresh_token)
    if spec.success_when:
        _put(body, spec.success_when.path, spec.success_when.equals)
    for name, path in spec.capture.items():
        _put(body, path, f"{name}-1")
    _put_expiry(body, spec.expires, sent_at, lifetime)
    if refresh_lifetime is not None:
        _put_expiry(body, spec.refresh_expires, sent_at, int(refresh_lifetime))
    return answer(200, body, sent_at)


def build_error(profile: Profile, status: int, code: str, sent_at: float, **headers: str) -> HttpResponse:
    """Build an error response, where the profile looks for its code."""
    body: dict[str, Any] = {}
    _put(body, profile.response.error[0], code)
    if profile.response.success_when:
        _put(body, profile.response.success_when.path, False)
    return answer(status, body, sent_at, **headers)


def answer(status: int, body: Mapping[str, Any] | bytes, sent_at: float, **headers: str) -> HttpResponse:
    """Build a response; bytes are a page of HTML, or nothing."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "text/html" if isinstance(body, bytes) else "application/json"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, {"content-type": kind, "date": format_date(sent_at), **named}, raw)


def build_jwt(claims: Mapping[str, Any]) -> str:
    """Build a JWT without a signature: what is read of it is its payload."""
    parts = ({"alg": "none"}, claims)
    encoded = (urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return ".".join((*encoded, "c2ln"))


_dates: dict[int, str] = {}


def format_date(at: float) -> str:
    """Format epoch seconds as HTTP does (RFC 9110 section 5.6.7)."""
    minute = int(at) // 60
    known = _dates.get(minute)
    if known is None:
        _dates.clear()
        known = _dates[minute] = format_datetime(datetime.fromtimestamp(minute * 60, UTC), usegmt=True)
    return f"{known[:-6]}{int(at) % 60:02d} GMT"


def _put_expiry(body: dict[str, Any], rules: tuple[ExpiryRule, ...], sent_at: float, lifetime: int) -> None:
    """Say the lifetime by the first rule that reads a field."""
    rule = next((rule for rule in rules if rule.path is not None), None)
    if rule is None or rule.path is None:
        return
    if rule.format == "iso8601":
        _put(body, rule.path, format_rfc3339(int(sent_at) + lifetime))
        return
    starts_at = int(sent_at) if rule.format.startswith("epoch") else 0
    _put(body, rule.path, int((starts_at + lifetime) * _UNITS[rule.format]))


def _put(body: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at a dotted path."""
    *steps, last = path.split(".")
    for step in steps:
        body = body.setdefault(step, {})
    body[last] = value
