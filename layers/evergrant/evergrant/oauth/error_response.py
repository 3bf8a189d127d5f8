"""Error responses of the token endpoint, classified: what ``invalid_grant`` and the others mean (RFC 6749 section 5.2).

The profile's own error rules come first, then the table :data:`_STANDARD_ERRORS`, then the HTTP status alone. Of a
provider's texts only allow-listed error codes are kept. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from ..http_messages import HttpResponse
from ..profiles.expiry import look_up
from ..profiles.model import Profile
from ..profiles.response_specs import ErrorRule, FailureKind

#: RFC 6749 sections 4.1.2.1 and 5.2, and HTTP, for responses that no rule of the profile matches.
_STANDARD_ERRORS = (
    ErrorRule(kind="grant_rejected", code="invalid_grant"),
    ErrorRule(kind="client_rejected", code="invalid_client"),
    # Exact Online, Atlassian and Microsoft send it for one grant or one tenant of a client that works elsewhere.
    ErrorRule(kind="grant_rejected", code="unauthorized_client"),
    ErrorRule(kind="transient", code="temporarily_unavailable"),
    ErrorRule(kind="transient", code="server_error"),
    ErrorRule(kind="rate_limited", status=429),
    ErrorRule(kind="malformed", code="invalid_request"),
    ErrorRule(kind="malformed", code="invalid_scope"),
    ErrorRule(kind="malformed", code="unsupported_grant_type"),
    ErrorRule(kind="transient", status=408),
)
_STANDARD_CODES = {rule.code for rule in _STANDARD_ERRORS} | {"access_denied"}
_MAX_RETRY_AFTER_SECONDS = 86_400
#: A number with more digits is no error code.
_MAX_NUMERIC_CODE = 10**9


@dataclass(frozen=True, slots=True)
class Refusal:
    """A classified error response.

    Attributes
    ----------
    code
        The provider's error code if it is allow-listed.
    retry_after
        Seconds that the provider asks us to wait.
    in_doubt
        Whether the provider may have acted on the request all the same.
    rule
        The error rule that matched, as ``errors[0]`` of the profile or ``standard``, None where none did. It helps to
        correct a profile, and does not count when refusals are compared.
    """

    kind: FailureKind
    status: int
    code: str | None = None
    retry_after: int | None = None
    in_doubt: bool = False
    rule: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class _ErrorResponse:
    """What error rules look at."""

    status: int
    code: str | None
    descriptions: tuple[Any, ...]
    is_empty: bool

    def matches(self, rule: ErrorRule) -> bool:
        """Whether every condition of the rule holds."""
        return (
            rule.status in (None, self.status)
            and rule.code in (None, self.code)
            and (rule.description is None or rule.description in self.descriptions)
            and (self.is_empty or not rule.empty)
        )


def classify_error_response(profile: Profile, response: HttpResponse, body: Any) -> Refusal:
    """Classify a response that is no success, by the first rule that matches.

    Parameters
    ----------
    body
        The decoded body.
    """
    error = _ErrorResponse(
        status=response.status,
        code=_read_code(body, profile.response.error),
        descriptions=tuple(look_up(body, path) for path in profile.response.error_description),
        is_empty=not response.body.strip(),
    )
    shown_code = filter_error_code(profile, error.code)
    retry_after = _parse_retry_after(response)
    is_server_error = response.status >= 500
    for index, rule in enumerate(profile.errors):
        if error.matches(rule):
            # The profile gives this response a meaning of its own, even with a 5xx: nothing is in doubt.
            return Refusal(rule.kind, response.status, shown_code, retry_after, False, f"errors[{index}]")
    for rule in _STANDARD_ERRORS:
        if error.matches(rule):
            return Refusal(rule.kind, response.status, shown_code, retry_after, is_server_error, "standard")
    kind: FailureKind = "transient" if is_server_error else "rejected_unknown"
    return Refusal(kind, response.status, shown_code, retry_after, is_server_error)


def filter_error_code(profile: Profile, code: str | None) -> str | None:
    """Return an error code if it is allow-listed, by a standard or by the profile; else None."""
    return code if code in _STANDARD_CODES | {rule.code for rule in profile.errors} else None


def _read_code(body: Any, paths: tuple[str, ...]) -> str | None:
    """Read the error code: a text, or a whole number. Some servers send an object there, which is no code."""
    for path in paths:
        value = look_up(body, path)
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAX_NUMERIC_CODE:
            return str(value)
    return None


def _parse_retry_after(response: HttpResponse) -> int | None:
    """Parse Retry-After (RFC 9110 section 10.2.3) into seconds, bounded; a date counts from the response's own Date."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal() and len(value) < 10:
        return min(int(value), _MAX_RETRY_AFTER_SECONDS)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(response.headers.get("date", ""))
        return min(max(int(wait.total_seconds()), 0), _MAX_RETRY_AFTER_SECONDS)
    except (TypeError, ValueError, OverflowError):
        return None
