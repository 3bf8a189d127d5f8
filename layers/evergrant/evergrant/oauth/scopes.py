"""Scopes: which of those that were asked for the granted ones do not cover (RFC 6749 section 3.3). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

_SEPARATORS = re.compile(r"[\s,]+")
#: The characters of a scope (RFC 6749 section 3.3).
_SCOPE = re.compile(r"[!#-\[\]-~]+")
#: A longer list of scopes is not kept in the record.
MAX_SCOPE_CHARACTERS = 4000
#: These scopes ask for a token or for claims, not for access, and servers often omit them from the granted scope
#: (OpenID Connect Core 1.0 sections 3.1.2.1, 5.4 and 11; the last is Salesforce's name for offline_access).
_PROTOCOL_SCOPES = {"openid", "profile", "email", "address", "phone", "offline_access", "refresh_token"}

#: What a scope includes, as a profile says it (:class:`~evergrant.profiles.request_specs.Scopes`).
Implied = Mapping[str, Sequence[str]]
NOTHING_IMPLIED: Implied = MappingProxyType({})


def split_scopes(scope: str | None) -> tuple[str, ...]:
    """Return the scopes in a text, separated by white space or commas."""
    return tuple(part for part in _SEPARATORS.split(scope or "") if part)


def find_missing_scopes(asked: str | None, granted: str | None, implied: Implied = NOTHING_IMPLIED) -> tuple[str, ...]:
    """Return the scopes of ``asked`` that ``granted`` does not cover, as they stand in ``asked``.

    Nothing is missing where the provider does not name the granted scope (RFC 6749 section 5.1). Some providers name a
    scope in capitals, or with its resource before it: ``https://graph.microsoft.com/User.Read``. What else a granted
    scope covers, ``implied`` says.
    """
    named = {scope.casefold() for scope in split_scopes(granted)}
    if not named:
        return ()
    covered = named | {scope.rpartition("/")[2] for scope in named}
    covered |= set(_find_implied(covered, implied))
    return tuple(
        scope for scope in split_scopes(asked) if scope not in _PROTOCOL_SCOPES and scope.casefold() not in covered
    )


def name_granted_scope(asked: str | None, granted: str | None, implied: Implied = NOTHING_IMPLIED) -> str | None:
    """Name the granted scopes as the record keeps them, separated by spaces: those of ``asked`` that they cover.

    Where nothing was asked for, they are named as the provider names them, unless one is not valid or they are too
    many. None where there is nothing to name.
    """
    if asked:
        missing = find_missing_scopes(asked, granted, implied)
        return " ".join(scope for scope in split_scopes(asked) if scope not in missing) or None
    text = " ".join(split_scopes(granted))
    is_kept = len(text) <= MAX_SCOPE_CHARACTERS and all(map(_SCOPE.fullmatch, split_scopes(granted)))
    return text if text and is_kept else None


def _find_implied(granted: set[str], implied: Implied) -> Iterator[str]:
    """Find what the granted scopes include, in lower case."""
    for pattern, included in implied.items():
        before, star, after = pattern.casefold().partition("*")
        for scope in granted:
            same = scope[len(before) : len(scope) - len(after)]
            fits = scope.startswith(before) and scope.endswith(after) and len(scope) > len(before) + len(after)
            if fits if star else scope == before:
                yield from (one.casefold().replace("*", same) for one in included)
