"""The files in which other tools keep a token set: find the sets in a text, and name the tool. Pure.

A tool is known by the fields that its file has, and a field by any of its usual names, without regard to case, ``_``
and ``-`` (:mod:`.token_file_shapes`). So an unknown file with the usual names is read too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidRequest
from .token_file_shapes import NAMES, SHAPES
from .token_file_text import decode_text

#: Larger than any token file, so that a wrong one is not read to its end.
MAX_FILE_CHARACTERS = 1_048_576
_MAX_DEPTH = 12
_MAX_LABEL_CHARACTERS = 80
#: Objects whose fields stand beside those of the set: the provider's response as Nango and oauth2client keep it, and
#: the callback's parameters as n8n keeps them.
_BESIDE = ("raw", "token_response", "callbackQueryString")
_LABELS = ("name", "connection_id", "username", "provider", "userId", "id")

_TOKEN_NAMES = frozenset((*NAMES["access_token"], *NAMES["refresh_token"]))


_PLAIN = "a token response"


@dataclass(frozen=True, slots=True)
class FoundSet:
    """A token set in a file.

    ``label`` tells it from the others of the file; ``fields`` are its fields under the file's own names; ``document``
    is all of the file, where the callback's values may be.
    """

    label: str
    title: str
    fields: Mapping[str, Any] = field(repr=False)
    document: Any = field(repr=False, default=None)


def normalize_name(name: str) -> str:
    """Return a field's name without case and separators: ``accesstoken`` for ``access_token`` and ``AccessToken``."""
    return re.sub(r"[\s_.-]", "", name).lower()


def find_name(fields: Mapping[str, Any], wanted: str) -> str | None:
    """Return the name under which the fields hold what ``NAMES`` calls ``wanted``; None if there is no value."""
    by_name = {normalize_name(name): name for name, value in fields.items() if value not in (None, "")}
    return next((by_name[alias] for alias in NAMES[wanted] if alias in by_name), None)


def find_token_sets(text: str) -> list[FoundSet]:
    """Find the token sets in a file.

    Raises
    ------
    InvalidRequest
        The text is too long, or can be read in no form. It names the line and column, and repeats nothing.
    """
    if len(text) > MAX_FILE_CHARACTERS:
        raise InvalidRequest(f"The token set is longer than {MAX_FILE_CHARACTERS} characters.", "Is it the right file?")
    document = decode_text(text)
    found: list[FoundSet] = []
    for one in _find(document, (), ""):
        if all(_name_tokens(one.fields) != _name_tokens(other.fields) for other in found):
            found.append(FoundSet(one.label, one.title, one.fields, document))
    return found


def _find(value: Any, path: tuple[str, ...], label: str) -> Iterator[FoundSet]:
    """Find the token sets in a decoded value, the outermost first."""
    if len(path) > _MAX_DEPTH:
        return
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):  # JSON as a text, in rclone's dump and in secrets
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _find(item, (*path, str(index + 1)), label)
    if not isinstance(value, Mapping):
        return
    label = next((text for name in _LABELS if (text := _as_label(value.get(name)))), label)
    if isinstance(value.get("AccessToken"), Mapping) or isinstance(value.get("RefreshToken"), Mapping):
        yield from _find_in_msal_cache(value)
        return
    fields = _flatten(value)
    if _name_tokens(fields):
        yield FoundSet(label or ".".join(path), _name_shape(fields, path), fields)
        return
    for name, item in value.items():
        yield from _find(item, (*path, name), label if len(path) else (label or _as_label(name) or ""))


def _flatten(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Bring the fields of a set side by side, its own before those of :data:`_BESIDE`."""
    beside: dict[str, Any] = {}
    for name in _BESIDE:
        if isinstance(value.get(name), Mapping):
            beside |= value[name]
    own = {name: item for name, item in value.items() if name not in _BESIDE}
    # Spring Security, OAuth2AuthorizedClient: each token is an object with a tokenValue.
    access, refresh = value.get("accessToken"), value.get("refreshToken")
    if isinstance(access, Mapping) and "tokenValue" in access:
        own |= {**access, "accessToken": access["tokenValue"]}
        own["refreshToken"] = refresh.get("tokenValue") if isinstance(refresh, Mapping) else None
        kind = access.get("tokenType")
        own["tokenType"] = kind.get("value") if isinstance(kind, Mapping) else kind
        own.pop("tokenValue", None)
    return {**beside, **own}


def _name_tokens(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tokens themselves, of an object that holds any."""
    names = (find_name(fields, "access_token"), find_name(fields, "refresh_token"))
    texts = (fields[name] for name in names if name is not None)
    return tuple(text for text in texts if isinstance(text, str) and text.lstrip()[:1] not in ("{", "["))


def _name_shape(fields: Mapping[str, Any], path: tuple[str, ...]) -> str:
    if "oauthTokenData" in path:  # docs.n8n.io, "Export credentials"
        return "a credential of n8n"
    if path and path[-1] == "credentials" and fields.get("type") == "OAUTH2":  # nango.dev/docs, "Get a connection"
        return "a connection of Nango"
    if "tokenType" in fields and "issuedAt" in fields:  # docs.spring.io, "OAuth2AuthorizedClient"
        return "an authorized client of Spring Security"
    names = {normalize_name(name) for name, value in fields.items() if value is not None}
    return next((shape.title for shape in SHAPES if names.issuperset(shape.marks)), _PLAIN)


def _find_in_msal_cache(cache: Mapping[str, Any]) -> Iterator[FoundSet]:
    """Find the sets in MSAL's cache: each access token with the refresh token of its account and client.

    The schema is that of the unified cache (github.com/AzureAD/microsoft-authentication-library-for-python,
    msal/token_cache.py): maps of entries, whose token is ``secret``.
    """

    def list_entries(kind: str) -> list[Mapping[str, Any]]:
        held = cache.get(kind)
        return [one for one in held.values() if isinstance(one, Mapping)] if isinstance(held, Mapping) else []

    def whose(entry: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(str(entry.get(name)) for name in ("home_account_id", "environment", "client_id"))

    names = {str(one.get("home_account_id")): one.get("username") for one in list_entries("Account")}
    refresh_tokens = {whose(one): one for one in list_entries("RefreshToken")}
    accounts = {whose(one) for one in list_entries("AccessToken")}
    entries = [*list_entries("AccessToken"), *(one for key, one in refresh_tokens.items() if key not in accounts)]
    for entry in entries:
        is_access = entry.get("credential_type") != "RefreshToken"
        refresh = refresh_tokens.get(whose(entry), {})
        fields = {
            "access_token": entry.get("secret") if is_access else None,
            "refresh_token": refresh.get("secret"),
            "token_type": entry.get("token_type"),
            "scope": entry.get("target"),
            "expires_on": entry.get("expires_on"),
        }
        said = (names.get(str(entry.get("home_account_id"))), entry.get("realm"), entry.get("target"))
        yield FoundSet(_as_label(" ".join(str(part) for part in said if part)) or "entry", "a cache of MSAL", fields)


def _as_label(value: Any) -> str | None:
    """Return a text or number that tells one set from another; None where it cannot be shown."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text[:_MAX_LABEL_CHARACTERS] if text.isprintable() and text else None
