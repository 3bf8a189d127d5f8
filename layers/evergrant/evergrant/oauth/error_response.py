"""Error responses of the token endpoint, classified: what ``invalid_grant`` and the others mean (RFC 6749 section 5.2).

The profile's own error rules come first, then the table :data:`_STANDARD_ERRORS`, then the HTTP status alone. Of a
provider's texts only allow-listed error codes are kept. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from ..http_messages import HttpResponse
from ..profiles.expiry import look_up
from ..profiles.model import Profile
from ..profiles.response_specs import ErrorRule, FailureKind

#: What a refusal means: what a profile's rule can say, and three that only the response itself can.
RefusalKind = FailureKind | Literal["client_unauthorized", "not_reached", "unclear"]
#: The classes of responses.
AnswerClass = Literal["token_set", "not_acted_upon", "refusal", "vague", "not_reached", "unclear", "lost"]

#: The class that each kind belongs to.
CLASS_BY_KIND: dict[RefusalKind, AnswerClass] = {
    "transient": "not_acted_upon",
    "rate_limited": "not_acted_upon",
    "not_used": "not_acted_upon",
    "grant_rejected": "refusal",
    "client_rejected": "refusal",
    "client_unauthorized": "refusal",
    "malformed": "refusal",
    "rejected_unknown": "vague",
    "not_reached": "not_reached",
    "unclear": "unclear",
}

#: RFC 6749 sections 4.1.2.1 and 5.2, and HTTP, for responses that no rule of the profile matches.
_STANDARD_ERRORS = (
    ErrorRule(kind="grant_rejected", code="invalid_grant"),
    ErrorRule(kind="client_rejected", code="invalid_client"),
    ErrorRule(kind="transient", code="temporarily_unavailable"),
    ErrorRule(kind="transient", code="server_error"),
    ErrorRule(kind="rate_limited", status=429),
    ErrorRule(kind="malformed", code="invalid_request"),
    ErrorRule(kind="malformed", code="invalid_scope"),
    ErrorRule(kind="malformed", code="unsupported_grant_type"),
    ErrorRule(kind="transient", status=408),
)
_STANDARD_CODES = {rule.code for rule in _STANDARD_ERRORS} | {"access_denied", "unauthorized_client"}
_MAX_RETRY_AFTER_SECONDS = 86_400
#: The media types that are shown. Another one is the provider's own text.
_SHOWN_MEDIA_TYPES = frozenset(
    (
        *("application/json", "application/problem+json", "application/x-www-form-urlencoded", "application/xml"),
        *("application/octet-stream", "application/xhtml+xml", "application/javascript", "application/jwt"),
        *("text/html", "text/plain", "text/xml", "text/json", "text/javascript"),
    )
)
#: A number with more digits is no error code.
_MAX_NUMERIC_CODE = 10**9


@dataclass(frozen=True, slots=True)
class Refusal:
    """A complete response that is no token set, classified.

    Attributes
    ----------
    kind
        What it means. ``client_unauthorized`` is ``unauthorized_client`` without a rule of the profile (RFC 6749
        section 5.2: the client was authenticated). ``not_reached`` comes from something in front of the authorization
        server. After ``unclear`` the provider may have acted on the request.
    code
        The provider's error code if it is allow-listed.
    retry_after
        Seconds that the provider asks us to wait.
    content_type
        The media type alone, for operators.
    rule
        The error rule that matched, as ``errors[0]`` of the profile or ``standard``, None where none did. It helps to
        correct a profile, and does not count when refusals are compared.
    """

    kind: RefusalKind
    status: int
    code: str | None = None
    retry_after: int | None = None
    content_type: str | None = field(default=None, compare=False)
    rule: str | None = field(default=None, compare=False)

    @property
    def answer_class(self) -> AnswerClass:
        """The class of the response."""
        return CLASS_BY_KIND[self.kind]

    @property
    def in_doubt(self) -> bool:
        """Whether the provider may have acted on the request all the same."""
        return self.kind == "unclear"


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
    kind, rule = _choose_kind(profile, error)
    return Refusal(
        kind,
        response.status,
        filter_error_code(profile, error.code),
        _parse_retry_after(response),
        read_media_type(response),
        rule,
    )


def _choose_kind(profile: Profile, error: _ErrorResponse) -> tuple[RefusalKind, str | None]:
    """Return the kind of an error response, and the rule that matched."""
    for index, rule in enumerate(profile.errors):
        if error.matches(rule):
            # The profile gives this response a meaning of its own, even with a 5xx: nothing is in doubt.
            return rule.kind, f"errors[{index}]"
    if error.status >= 500:
        return "unclear", None
    if error.code == "unauthorized_client":
        return "client_unauthorized", "standard"
    for rule in _STANDARD_ERRORS:
        if error.matches(rule):
            return rule.kind, "standard"
    return "rejected_unknown", None


def read_media_type(response: HttpResponse) -> str | None:
    """Return the media type without its parameters if it is a usual one, else ``"other"``; None where none is given."""
    stated = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not stated:
        return None
    return stated if stated in _SHOWN_MEDIA_TYPES else "other"


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
