"""A response of the token endpoint, parsed by its profile (RFC 6749 sections 5.1 and 5.2). Pure.

It becomes a token set, a :class:`~evergrant.oauth.error_response.Refusal`, or
:class:`~evergrant.errors.UnreadableResponse`. :mod:`.answer_classes` has the table of what each kind of response means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ..errors import UnreadableResponse
from ..http_messages import HttpResponse
from ..profiles.expiry import compute_expiry, look_up
from ..profiles.model import Profile
from ..profiles.pattern_limits import MAX_VALUE_CHARACTERS
from ..profiles.response_specs import Response
from ..secret import Secret
from ..texts import UNSAFE
from ..times import parse_http_date
from .answer import decode_body, read_answer
from .error_response import Refusal, classify_answer
from .token_expiry import ExpiryEvidence
from .token_set import TokenSet

#: Visible ASCII without a space (RFC 6750 section 2.1 allows even less): some servers put an error there, in words.
_ACCESS_TOKEN = re.compile(r"[!-~]+")
#: Visible ASCII, with spaces inside (RFC 9110 section 5.5): what consumers' headers are made of.
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
#: A captured value is an id or a URL.
_MAX_CAPTURED_CHARACTERS = 2000

_NO_TOKEN = "The provider's response holds no access token where the profile looks for it."  # noqa: S105
_NO_EXPIRY = "Neither the provider's response nor the profile says when the access token expires."
_OTHER_TYPE = "The access token is of another type than Bearer, as which the profile's consumers would send it."
#: What servers call a bearer token beside ``Bearer`` (RFC 6750), in lower case. A profile can name more.
_BEARER_TYPES = frozenset({"bearertoken", "bearer_token", "bearer token", "user"})


class _Texts(NamedTuple):
    """The texts of a token response."""

    access_token: str | None
    refresh_token: str | None
    token_type: str | None
    scope: str | None


def parse_token_response(
    profile: Profile,
    response: HttpResponse,
    sent_at: int,
    previous: TokenSet | None = None,
    variables: Mapping[str, str] | None = None,
) -> TokenSet | Refusal:
    """Parse a response of the token endpoint.

    Parameters
    ----------
    sent_at
        Epoch seconds at which the request was sent.
    previous
        The token set that was refreshed: a refresh token or scope that the response leaves out stays as it was
        (RFC 6749 sections 5.1 and 6). That holds for a provider that rotates too: it gave an access token, and did not
        replace the refresh token.
    variables
        The connection's, over the profile's defaults: a documented lifetime may be one of them.

    Raises
    ------
    UnreadableResponse
        The response is a success that may hold tokens, and no token set can be read from it.
    """
    answer = read_answer(profile, response)
    read: TokenSet | str = _NO_TOKEN
    if answer.is_success and not answer.is_denied:
        answered_at = parse_http_date(response.headers.get("date", ""))
        reader = _Reader(profile, answer.document, sent_at, answered_at, previous, variables or {})
        read = reader.read()
        is_used = isinstance(read, TokenSet) and (answer.code is None or reader.is_complete)
        answer = replace(
            answer, holds_token_set=is_used, may_hold_tokens=answer.may_hold_tokens or reader.has_any_token
        )
        if is_used and isinstance(read, TokenSet):
            return read
    refusal = classify_answer(profile, answer, response, sent_at)
    if refusal is None:
        raise UnreadableResponse(read if isinstance(read, str) else _NO_TOKEN)
    return refusal


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads a token set from the decoded body of a success. Times are epoch seconds."""

    profile: Profile
    document: Any = field(repr=False)
    sent_at: int
    answered_at: int | None
    previous: TokenSet | None
    variables: Mapping[str, str]

    @property
    def is_complete(self) -> bool:
        """Whether there is a new refresh token, or none is to be expected."""
        rotates = self.profile.rotation.rotates and self.profile.refresh is not None
        return not rotates or _read_texts(self.document, self.profile.response).refresh_token is not None

    @property
    def has_any_token(self) -> bool:
        """Whether there is a text where the profile looks for a token."""
        texts = _read_texts(self.document, self.profile.response)
        access_token = (texts.access_token or "").strip()
        return (access_token != "" and " " not in access_token) or texts.refresh_token is not None

    def read(self) -> TokenSet | str:
        """Return the token set, or why there is none."""
        spec, previous = self.profile.response, self.previous
        texts = _read_texts(self.document, spec)
        access_token = texts.access_token
        if not access_token or not _ACCESS_TOKEN.fullmatch(access_token) or access_token == texts.refresh_token:
            return _NO_TOKEN  # a refresh token is never published
        token_type = _choose_token_type(self.profile, texts.token_type)
        if token_type is None:
            return _OTHER_TYPE
        renewed = Secret(texts.refresh_token) if texts.refresh_token else None
        refresh_token = renewed or (previous.refresh_token if previous else None)
        expiry = ExpiryEvidence(
            self.profile,
            self.document,
            access_token,
            self.sent_at,
            self.answered_at,
            self.variables,
            previous,
            is_renewable=refresh_token is not None,
        ).judge()
        if expiry is None:
            return _NO_EXPIRY
        tokens = TokenSet(
            access_token=Secret(access_token),
            issued_at=self.sent_at,
            expires_at=expiry.at,
            expiry_rule=expiry.rule,
            refresh_token=refresh_token,
            refresh_expires_at=self._compute_refresh_expiry(expiry.at, renewed),
            token_type=token_type,
            scope=texts.scope or (previous.scope if previous else None),
            captured=self._capture_values(),
            expiry_doubt=expiry.doubt,
            expired_arrivals=expiry.expired_arrivals,
            is_repeated=previous is not None and previous.access_token == Secret(access_token),
        )
        # What a repeated token has left is no measure for the next one.
        if previous is None or tokens.is_repeated or tokens.credible_lifetime is not None:
            return tokens
        return replace(tokens, lifetime_before=previous.credible_lifetime)

    def _compute_refresh_expiry(self, expires_at: int, renewed: Secret | None) -> int | None:
        """Compute when the refresh token expires; None without one, and where nothing is known."""
        previous, sent_at, profile = self.previous, self.sent_at, self.profile
        before = previous.refresh_expires_at if previous and previous.refresh_token else None
        if not renewed and not (previous and previous.refresh_token):
            return None
        life = profile.rotation.refresh_token_life
        rules = profile.response.refresh_expires
        known = compute_expiry(rules, self.document, sent_at, self.variables, profile.variables, self.answered_at)
        is_endless = known is not None and known.rule.endswith(":never")
        if life == "with_access_token":
            return min(known.at, expires_at) if known else expires_at
        if is_endless:
            return None
        is_fixed = life == "hard" and before is not None and before > sent_at
        is_stated = known is not None and known.rule != "default"
        if is_fixed and not is_stated:
            return before  # the lifetime that the provider documents counts from the authorization
        if known:
            return known.at
        return None if renewed else before

    def _capture_values(self) -> dict[str, str]:
        captured = dict(self.previous.captured) if self.previous else {}
        for name, path in self.profile.response.capture.items():
            value = look_up(self.document, path)
            pattern = self.profile.response.patterns.get(name)
            if is_text_or_integer(value) and is_capturable(str(value), pattern):
                captured[name] = str(value)
        return captured


def _choose_token_type(profile: Profile, stated: str | None) -> str | None:
    """Return the type under which consumers send a token; None if the profile's headers would send another as Bearer.

    A client must not use a token of a type that it does not understand (RFC 6749 section 7.1). Many servers leave the
    type out: then it is Bearer.
    """
    if stated is None or not _HEADER_VALUE.fullmatch(stated):
        return "Bearer"
    lower = stated.lower()
    if lower == "bearer":
        return stated
    if lower in _BEARER_TYPES or lower in (name.lower() for name in profile.response.bearer_types):
        return "Bearer"
    return None if any("bearer" in template.lower() for template in profile.consumer.headers.values()) else stated


def _read_texts(body: Any, spec: Response) -> _Texts:
    """Read the texts of a token response: of each, the first one at its paths that is not blank and can be sent on.

    The scope may also be a list of texts, which are joined by spaces.
    """
    found: list[str | None] = []
    for paths in (spec.access_token, spec.refresh_token, spec.token_type, spec.scope):
        text = None
        for path in paths:
            value = look_up(body, path)
            if paths is spec.scope and isinstance(value, list) and all(isinstance(part, str) for part in value):
                value = " ".join(value)
            if isinstance(value, str) and value.strip() and not UNSAFE.search(value):
                text = value
                break
        found.append(text)
    return _Texts(*found)


def read_value(response: HttpResponse, path: str) -> str | None:
    """Return the text or whole number at a path as text; None if there is none that can be sent on."""
    value = look_up(decode_body(response), path)
    if not is_text_or_integer(value):
        return None
    return text if (text := str(value)).strip() and not UNSAFE.search(text) else None


def is_text_or_integer(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def is_capturable(value: str, pattern: str | None = None) -> bool:
    """Whether a captured value can be kept and sent to consumers, and matches the profile's pattern for it."""
    if not value or len(value) > _MAX_CAPTURED_CHARACTERS or UNSAFE.search(value):
        return False
    return pattern is None or (len(value) <= MAX_VALUE_CHARACTERS and re.fullmatch(pattern, value) is not None)
