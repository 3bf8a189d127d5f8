"""The scopes that a refresh brings, compared with those that were granted. Pure."""

from __future__ import annotations

from ..oauth.scopes import find_missing_scopes, name_granted_scope, split_scopes
from ..oauth.token_set import TokenSet
from ..profiles.model import HEADLESS_GRANTS, Profile
from .connection import Connection, Events, RecordFields, create_event
from .status import EventType


def compare_scopes(connection: Connection, tokens: TokenSet, profile: Profile) -> RecordFields:
    """Return the record's scopes after a save. The first scopes that the provider names are the measure of all later.

    For sets with a scope: one without has the scope of the set before (RFC 6749 section 6).
    """
    implied = profile.scopes.implied
    if connection.granted_scope is None:
        first: RecordFields = {"granted_scope": name_granted_scope(connection.scope, tokens.scope, implied)}
        if connection.grant in HEADLESS_GRANTS:  # of the others, the consent says what is missing
            first["missing_scope"] = " ".join(find_missing_scopes(connection.scope, tokens.scope, implied)) or None
        return {**first, "lost_scope": None}
    lost = find_missing_scopes(connection.granted_scope, tokens.scope, implied)
    return {"lost_scope": " ".join(lost) or None}


def report_lost_scopes(connection: Connection, lost: str | None, now: int) -> Events:
    """Report the scopes that are lost since the last save, once; no event where there are none."""
    known = set(split_scopes(connection.lost_scope))
    if set(split_scopes(lost)) <= known:
        return {}
    return create_event(EventType.SCOPE_REDUCED, connection, now, lost_scope=lost)
