"""Refusals: responses of the token endpoint that are no token set, classified (RFC 6749 section 5.2). Pure.

The profile's own error rules come first, then the table of :mod:`.answer_classes`. Of a provider's texts only
allow-listed error codes are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..http_messages import HttpResponse
from ..profiles.model import Profile
from .answer import Answer
from .answer_classes import CLASS_BY_KIND, AnswerClass, AnswerRow, find_row
from .error_codes import REGISTERED_ERRORS, RefusalKind
from .retry_after import parse_retry_after

#: The media types that are shown. Another one is the provider's own text.
_SHOWN_MEDIA_TYPES = frozenset(
    (
        *("application/json", "application/problem+json", "application/x-www-form-urlencoded", "application/xml"),
        *("application/octet-stream", "application/xhtml+xml", "application/javascript", "application/jwt"),
        *("text/html", "text/plain", "text/xml", "text/json", "text/javascript"),
    )
)


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
        Seconds that the provider asks us to wait, bounded by the profile.
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


def classify_answer(profile: Profile, answer: Answer, response: HttpResponse, now: int) -> Refusal | None:
    """Classify a response from which no token set was read. None: it may hold tokens, and is to be kept."""
    kind, rule = _choose_kind(profile, answer)
    if kind is None:
        return None
    return Refusal(
        kind,
        response.status,
        answer.code,
        parse_retry_after(response, now, profile.rotation.max_retry_after),
        read_media_type(response),
        rule,
    )


def read_media_type(response: HttpResponse) -> str | None:
    """Return the media type without its parameters if it is a usual one, else ``"other"``; None where none is given."""
    stated = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not stated:
        return None
    return stated if stated in _SHOWN_MEDIA_TYPES else "other"


def _choose_kind(profile: Profile, answer: Answer) -> tuple[RefusalKind | None, str | None]:
    """Return the kind of a refusal, and the rule that matched."""
    for index, rule in enumerate(profile.errors):
        if answer.matches(rule):
            # The profile gives this response a meaning of its own, even with a 5xx: nothing is in doubt.
            return rule.kind, f"errors[{index}]"
    row = find_row(answer)
    if row.answer_class == "refusal":
        registered = REGISTERED_ERRORS.get((answer.code or "").lower())
        return registered or "rejected_unknown", "standard" if registered else None
    return _choose_kind_without_code(row, answer)


def _choose_kind_without_code(row: AnswerRow, answer: Answer) -> tuple[RefusalKind | None, str | None]:
    match row.answer_class:
        case "not_acted_upon":
            return "rate_limited" if answer.status == 429 else "transient", "standard"
        case "vague":
            return "rejected_unknown", None
        case "not_reached":
            return "not_reached", None
        case "unclear":
            return "unclear", None
        case _:
            return None, None
