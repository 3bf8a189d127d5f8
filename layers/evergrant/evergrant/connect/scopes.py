"""Compare grants: what connecting again changes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ..oauth.scopes import split_scopes
from ..record.connection import Connection


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
