"""Read what Evergrant publishes for a connection: the access token, and how to send it.

The `tokens/` secret and getter's answer have the same fields; both are read here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from ._errors import BY_CODE, EvergrantError, InvalidRequest, TemporarilyUnavailable, UnexpectedAnswer

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}/[A-Za-z0-9][A-Za-z0-9_.@-]{0,99}")
# A secret's ARN ends in a hyphen and six characters, and policies rely on it: no account may end so.
_LIKE_AN_ARN = re.compile(r"-[A-Za-z0-9]{6}\Z")
_CODE = re.compile(r"[a-z_]{1,64}")


def check_name(connection: object) -> None:
    """Raise `InvalidRequest` unless `connection` is a well-formed ``provider/account``."""
    if not isinstance(connection, str) or not _NAME.fullmatch(connection) or _LIKE_AN_ARN.search(connection):
        # The value is not repeated: a token passed by mistake must not end up in a log.
        raise InvalidRequest("That is not the name of a connection.")


def fingerprint(token: str) -> str:
    """Return the first 16 hex digits of the SHA-256 of the token's UTF-8, which names it and reveals nothing."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, eq=False)
class AccessToken:
    """One access token of a connection, and what a call with it needs.

    `repr` and `str` show the fingerprint, never the token.

    Attributes
    ----------
    connection : str
        ``provider/account``.
    value : str
        The token itself.
    expires_at : float
        When it expires, in epoch seconds.
    headers : Mapping[str, str]
        Headers to send as they are; the token is in them.
    required_headers : tuple of str
        Headers that every call must have and only the caller knows, e.g. ``x-user-id``.
    reject_statuses : frozenset of int
        HTTP statuses with which this provider rejects a token.
    captured : Mapping[str, str]
        What the provider sent when the account was connected, e.g. ``instance_url``.
    scope : str
        Granted scope, separated by spaces (RFC 6749 section 3.3).
    missing_scope : str
        What was asked for, or granted before, and is not granted now; mostly empty.
    generation : int
        Counts the connection's token sets; never repeats, a higher one is newer.
    fingerprint : str
        First 16 hex digits of the token's SHA-256.
    warning : str
        What getter reports to be wrong with the connection although this token is valid; mostly empty.
    """

    connection: str
    value: str = field(repr=False)
    expires_at: float
    headers: Mapping[str, str] = field(repr=False)
    required_headers: tuple[str, ...]
    reject_statuses: frozenset[int]
    captured: Mapping[str, str] = field(repr=False)
    scope: str
    generation: int
    fingerprint: str
    warning: str = ""
    missing_scope: str = ""

    def find_missing_headers(self, given: Mapping[str, str]) -> tuple[str, ...]:
        """Return the required headers that `given` lacks or leaves empty; case does not matter."""
        if not self.required_headers:
            return ()
        present = {name.lower() for name, value in given.items() if value}
        return tuple(name for name in self.required_headers if name.lower() not in present)


def read_token(connection: str, text: str | bytes) -> AccessToken:
    """Read a `tokens/` secret or getter's answer.

    Unknown fields are ignored, so that a newer stack may send more; only ``access_token`` and
    ``expires_at`` must be there.

    Raises
    ------
    UnexpectedAnswer
        It is not JSON, is about another connection, or lacks what is needed.
    EvergrantError
        The typed error that the answer carries.
    """
    document = _parse(text)
    if document is None:
        raise UnexpectedAnswer(f"What was read for {connection} is not a JSON object.", connection=connection)
    if "error" in document:
        raise read_error(connection, document["error"])
    if document.get("connection", connection) != connection:
        raise UnexpectedAnswer(f"What was read for {connection} is another connection's.", connection=connection)
    value = document.get("access_token")
    expires_at = _read_time(document.get("expires_at"))
    if not isinstance(value, str) or not value or expires_at is None:
        raise UnexpectedAnswer(
            f"What was read for {connection} lacks a usable access_token or expires_at.", connection=connection
        )
    headers = _read_strings(document.get("headers")) or {"Authorization": f"Bearer {value}"}
    required = document.get("required_headers")
    generation = document.get("generation")
    return AccessToken(
        connection=connection,
        value=value,
        expires_at=expires_at,
        headers=MappingProxyType(headers),
        required_headers=tuple(str(name) for name in required) if isinstance(required, list) else (),
        reject_statuses=_read_statuses(document.get("reject_statuses")),
        captured=MappingProxyType(_read_strings(document.get("captured"))),
        scope=str(document.get("scope") or ""),
        generation=generation if isinstance(generation, int) else 0,
        fingerprint=fingerprint(value),
        warning=_read_warning(document.get("warning")),
        missing_scope=str(document.get("missing_scope") or ""),
    )


def _parse(text: str | bytes) -> dict[str, Any] | None:
    # A function of its own, so that no error is raised while the decoder's is being handled:
    # JSONDecodeError keeps the whole document, token included, and would be chained.
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def read_error(connection: str, said: object) -> EvergrantError:
    """Return the typed error for getter's ``{"code", "message", "hint", "retry_after"}``."""
    said = said if isinstance(said, dict) else {}
    code = said.get("code")
    kind = BY_CODE.get(code) if isinstance(code, str) else None
    message = said.get("message")
    if kind is None:
        named = code if isinstance(code, str) and _CODE.fullmatch(code) else "of an unknown form"
        return UnexpectedAnswer(f"Getter answered for {connection} with an error {named}.", connection=connection)
    hint = said.get("hint")
    text = message if isinstance(message, str) and message else f"{connection}: {kind.code}."
    hint = hint if isinstance(hint, str) and hint else None
    if kind is TemporarilyUnavailable:
        retry_after = _read_seconds(said.get("retry_after"))
        return TemporarilyUnavailable(text, connection=connection, hint=hint, retry_after=retry_after)
    return kind(text, connection=connection, hint=hint)


def _read_warning(said: object) -> str:
    message = said.get("message") if isinstance(said, dict) else None
    return message if isinstance(message, str) else ""


def _read_time(text: object) -> float | None:
    """Read RFC 3339, which must have an offset from UTC."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.timestamp()


def _read_strings(value: object) -> dict[str, str]:
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}


def _read_seconds(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    return None


def _read_statuses(value: object) -> frozenset[int]:
    if not isinstance(value, list):
        return frozenset({401})
    return frozenset(status for status in value if isinstance(status, int))
