"""What a person consents to: what connecting again will change, and what of it was granted in the end. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..record.connection import Connection

_BETWEEN = re.compile(r"[\s,]+")
#: They ask for a token or for claims, not for access, and servers often leave them out of what they say was granted
#: (OpenID Connect Core 1.0 sections 3.1.2.1, 5.4 and 11; the last is Salesforce's word for offline_access).
_OF_THE_PROTOCOL = {"openid", "profile", "email", "address", "phone", "offline_access", "refresh_token"}


@dataclass(frozen=True, slots=True)
class ReconnectChanges:
    """What connecting again changes. ``client`` is the old and the new one's name, where they differ.

    ``same_account`` says that another account than before will be refused.
    """

    client: tuple[str, str] | None
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    new_profile: bool
    same_account: bool


def compare_grants(
    current: Connection, *, client: str, scope: str | None, profile_hash: str, same_account: bool
) -> ReconnectChanges:
    """What a grant would change that is asked for with these, in a connection that has had one already."""
    before, after = split_scopes(current.scope), split_scopes(scope)
    return ReconnectChanges(
        client=(current.client, client) if current.client != client else None,
        gained=tuple(one for one in after if one not in before),
        lost=tuple(one for one in before if one not in after),
        new_profile=current.profile_hash != profile_hash,
        same_account=same_account,
    )


def split_scopes(scope: str | None) -> tuple[str, ...]:
    """The scopes in a text, whatever stands between them."""
    return tuple(part for part in _BETWEEN.split(scope or "") if part)


def find_missing_scopes(asked: str | None, granted: str | None) -> tuple[str, ...]:
    """The scopes that were asked for and not granted, in our own words: of the provider's nothing is kept.

    Nothing is missing where the provider does not say what it granted (RFC 6749 section 5.1). Some say a scope in
    capitals, or with its resource before it: ``https://graph.microsoft.com/User.Read``.
    """
    said = {scope.casefold() for scope in split_scopes(granted)}
    if not said:
        return ()
    short = {scope.rpartition("/")[2] for scope in said}
    return tuple(
        scope
        for scope in split_scopes(asked)
        if scope not in _OF_THE_PROTOCOL and scope.casefold() not in said and scope.casefold() not in short
    )
