"""Compare scopes: what connecting again changes, and which scopes were not granted. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..record.connection import Connection

_SEPARATORS = re.compile(r"[\s,]+")
#: These scopes ask for a token or for claims, not for access, and servers often omit them from the granted scope
#: (OpenID Connect Core 1.0 sections 3.1.2.1, 5.4 and 11; the last is Salesforce's name for offline_access).
_PROTOCOL_SCOPES = {"openid", "profile", "email", "address", "phone", "offline_access", "refresh_token"}


@dataclass(frozen=True, slots=True)
class ReconnectChanges:
    """What connecting again changes. ``client`` holds the old and the new client's name, where they differ.

    ``same_account`` says that any other account will be refused.
    """

    client: tuple[str, str] | None
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    new_profile: bool
    same_account: bool


def compare_grants(
    current: Connection, *, client: str, scope: str | None, profile_hash: str, same_account: bool
) -> ReconnectChanges:
    """Return what a new grant with these values would change in a connection that has had one already."""
    before, after = split_scopes(current.scope), split_scopes(scope)
    return ReconnectChanges(
        client=(current.client, client) if current.client != client else None,
        gained=tuple(one for one in after if one not in before),
        lost=tuple(one for one in before if one not in after),
        new_profile=current.profile_hash != profile_hash,
        same_account=same_account,
    )


def split_scopes(scope: str | None) -> tuple[str, ...]:
    """Return the scopes in a text, separated by white space or commas."""
    return tuple(part for part in _SEPARATORS.split(scope or "") if part)


def find_missing_scopes(asked: str | None, granted: str | None) -> tuple[str, ...]:
    """Return the scopes that were asked for and not granted, as they were asked: none of the provider's text is kept.

    Nothing is missing where the provider does not name the granted scope (RFC 6749 section 5.1). Some providers name a
    scope in capitals, or with its resource before it: ``https://graph.microsoft.com/User.Read``.
    """
    named = {scope.casefold() for scope in split_scopes(granted)}
    if not named:
        return ()
    short = {scope.rpartition("/")[2] for scope in named}
    return tuple(
        scope
        for scope in split_scopes(asked)
        if scope not in _PROTOCOL_SCOPES and scope.casefold() not in named and scope.casefold() not in short
    )
