"""The end of a grant that is told with a token set: whether a refresh moves it, and when to warn of it. Pure."""

from __future__ import annotations

from typing import Literal

from ..oauth.token_set import TokenSet
from ..profiles.model import Profile
from . import alerts
from .connection import Connection, Status

#: By so many seconds the end of a grant may seem to move that stays, where it is told as seconds from now on.
_MAX_CLOCK_SKEW_SECONDS = 10

End = Literal["stays", "moves", "unclear"]


def classify_end(connection: Connection, tokens: TokenSet) -> End:
    """What a refresh did to the end of its grant, which may be told as seconds from now on.

    A refresh that prolongs the grant moves its end by the time since the last one. An end that stays is told a second
    or two apart; shortly after a refresh that looks like the other.
    """
    before, after = connection.refresh_expires_at, tokens.refresh_expires_at
    if connection.status is Status.AWAITING_AUTHORIZATION or before is None or after is None:
        return "moves"
    apart, since = abs(after - before), tokens.issued_at - (connection.issued_at or tokens.issued_at)
    if apart == 0 or 2 * apart < since:
        return "stays"
    return "unclear" if apart < _MAX_CLOCK_SKEW_SECONDS else "moves"


def compute_warn_at(
    connection: Connection, profile: Profile, end: End, issued_at: int, ends_at: int | None
) -> int | None:
    """When to warn that the grant ends: only where rotation does not move the end by itself."""
    if end == "unclear":
        return connection.warn_at
    hard = connection.grant == "static" or profile.rotation.refresh_token_life == "hard"  # noqa: S105
    if ends_at is None or (end == "moves" and not hard):
        return None
    return (connection.warn_at if end == "stays" else None) or alerts.compute_first_warning_at(issued_at, ends_at)
