"""A complete response of the token endpoint, as its classification looks at it: what its body is and what it names.

Pure. Nothing here is kept: of a provider's texts only allow-listed error codes survive.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from ..http_messages import HttpResponse
from ..profiles.expiry import look_up
from ..profiles.model import Profile
from ..profiles.response_specs import ErrorRule
from .error_codes import REGISTERED_ERRORS

#: A number with more digits is no error code.
_MAX_NUMERIC_CODE = 10**9
#: A form: names and values without spaces or markup.
_FORM = re.compile(r"[\w.%+*~-]+=[^\s<>&]*(?:&[\w.%+*~-]+=[^\s<>&]*)*")
_PAGE_MARKS = ("<!doctype html", "<html", "<head", "<body")
#: Names of fields under which servers hand out tokens, and of fields that only describe one.
_TOKEN_NAME = re.compile(r"token|jwt|bearer|session|credential|secret|api_?key", re.IGNORECASE)
_TOKEN_DETAIL = re.compile(r"(?:type|expir\w*|url|uri|endpoint|state)$", re.IGNORECASE)
#: A JWT, or another opaque text of the length of a token.
_TOKEN_VALUE = re.compile(r"[\w-]{10,}\.[\w-]{10,}\.[\w-]*|[\w.~+/=-]{40,}")
#: How many values of a body are looked at, and how deep.
_MAX_VALUES, _MAX_DEPTH = 1000, 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What error rules and the table of classes look at.

    Attributes
    ----------
    document
        The decoded body: JSON or a form. None where it is neither.
    code
        The error code in its registered spelling, or as the profile spells it; None where no such code is named.
    codes
        All that is named at the profile's paths of error codes, in lower case.
    is_denied
        Whether the profile's ``success_when`` says that a 2xx is no success.
    holds_token_set
        Whether a token set was read from it which is to be used.
    """

    status: int
    document: Any = field(repr=False)
    code: str | None
    codes: frozenset[str] = field(repr=False)
    descriptions: tuple[Any, ...] = field(repr=False)
    is_empty: bool
    is_document: bool
    is_denied: bool
    has_retry_after: bool
    may_hold_tokens: bool
    holds_token_set: bool = False

    @property
    def is_success(self) -> bool:
        """Whether the status is a success."""
        return 200 <= self.status < 300

    @property
    def is_client_error(self) -> bool:
        """Whether the status blames the request (RFC 9110 section 15.5)."""
        return 400 <= self.status < 500

    def matches(self, rule: ErrorRule) -> bool:
        """Whether every condition of a profile's rule holds. Codes compare without regard to case."""
        return (
            rule.status in (None, self.status)
            and (rule.code is None or rule.code.lower() in self.codes)
            and (rule.description is None or rule.description in self.descriptions)
            and (rule.description_contains is None or self._describes(rule.description_contains))
            and (self.is_empty or not rule.empty)
        )

    def _describes(self, part: str) -> bool:
        texts = (text for text in self.descriptions if isinstance(text, str))
        return any(part.lower() in text.lower() for text in texts)


def read_answer(profile: Profile, response: HttpResponse) -> Answer:
    """Look at a response as the profile says."""
    spec = profile.response
    document = decode_body(response)
    codes = tuple(_list_codes(document, spec.error))
    known = (filter_error_code(profile, code) for code in codes)
    return Answer(
        status=response.status,
        document=document,
        code=next((code for code in known if code is not None), None),
        codes=frozenset(code.lower() for code in codes),
        descriptions=tuple(look_up(document, path) for path in spec.error_description),
        is_empty=not response.body.strip(),
        is_document=document is not None,
        is_denied=200 <= response.status < 300 and _is_denied(profile, document),
        has_retry_after="retry-after" in response.headers,
        may_hold_tokens=_may_hold_tokens(response, document),
    )


def filter_error_code(profile: Profile, code: str | None) -> str | None:
    """Return an error code if it is allow-listed, by a standard or by the profile; else None.

    It is compared without regard to case, and returned in the spelling of the profile, else of the standard.
    """
    if code is None:
        return None
    lower = code.strip().lower()
    named = (rule.code for rule in profile.errors if rule.code is not None)
    own = next((known for known in named if known.lower() == lower), None)
    return own or (lower if lower in REGISTERED_ERRORS else None)


def decode_body(response: HttpResponse) -> Any:
    """Decode the body as JSON, else as a form; None when it is neither. The content type is not asked: many lie.

    Nor is a content coding that is still named: some servers name one and send the plain body.
    """
    text = response.text().strip().removeprefix("\ufeff")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return dict(parse_qsl(text)) if _FORM.fullmatch(text) else None


def _list_codes(document: Any, paths: tuple[str, ...]) -> Iterator[str]:
    """List the error codes: texts and whole numbers. Some servers send an object there, which is no code."""
    for path in paths:
        value = look_up(document, path)
        if isinstance(value, str) and value.strip():
            yield value.strip()
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAX_NUMERIC_CODE:
            yield str(value)


def _is_denied(profile: Profile, document: Any) -> bool:
    """Whether the profile's condition of a success does not hold."""
    condition = profile.response.success_when
    if condition is None or document is None:
        return False
    value = look_up(document, condition.path)
    # In Python, 1 equals True.
    return value != condition.equals or isinstance(value, bool) is not isinstance(condition.equals, bool)


def _may_hold_tokens(response: HttpResponse, document: Any) -> bool:
    """Whether tokens may be somewhere in a body: then it is kept, and otherwise there is nothing to keep."""
    if not response.body.strip():
        return False
    if document is None and "content-encoding" in response.headers:
        return True
    if document is not None:
        return any(_may_be_token(name, value) for name, value in _walk(document))
    text = response.text().strip().removeprefix("\ufeff")
    begin = text[:500].lower()
    if begin.startswith("<") and any(mark in begin for mark in _PAGE_MARKS):
        return False  # a page, whose scripts may name anything
    is_binary = text.count("\ufffd") > len(text) // 10 and len(text) > 16
    return is_binary or bool(_TOKEN_NAME.search(text) or _TOKEN_VALUE.search(text))


def _may_be_token(name: str, value: Any) -> bool:
    if not isinstance(value, str) or not value.strip() or " " in value.strip():
        return False  # no token has a space in it; a line break may be a mistake of its sender's
    is_named = bool(_TOKEN_NAME.search(name)) and not _TOKEN_DETAIL.search(name)
    return is_named or bool(_TOKEN_VALUE.fullmatch(value.strip()))


def _walk(document: Any) -> Iterator[tuple[str, Any]]:
    """List the values of a document that are no containers, each with the name of the field that it is below."""
    pending: list[tuple[str, Any, int]] = [("", document, 0)]
    for _ in range(_MAX_VALUES):
        if not pending:
            return
        name, value, depth = pending.pop()
        if isinstance(value, Mapping) and depth < _MAX_DEPTH:
            pending += [(f"{name} {key}"[-200:], item, depth + 1) for key, item in value.items()]
        elif isinstance(value, list) and depth < _MAX_DEPTH:
            pending += [(name, item, depth + 1) for item in value]
        else:
            yield name, value
