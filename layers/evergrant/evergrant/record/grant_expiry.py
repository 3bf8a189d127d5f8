"""The end of a grant, as the provider reports it with a token set: whether a refresh moves it. Pure."""

from __future__ import annotations

from typing import Literal

from ..oauth.token_set import TokenSet
from .connection import Connection
from .status import Status

#: A fixed end may seem to move by this much, where the provider reports it as seconds from now on.
_MAX_CLOCK_SKEW_SECONDS = 10

GrantEnd = Literal["stays", "moves", "unclear"]


def classify_end(connection: Connection, tokens: TokenSet) -> GrantEnd:
    """Decide whether a refresh has moved the end of its grant.

    A refresh that prolongs the grant moves the end by the time since the last refresh. A fixed end, reported as seconds
    from now on, differs by a second or two. Shortly after a refresh the two look alike.
    """
    before, after = connection.refresh_expires_at, tokens.refresh_expires_at
    if connection.status is Status.AWAITING_AUTHORIZATION or before is None or after is None:
        return "moves"
    apart, since = abs(after - before), tokens.issued_at - (connection.issued_at or tokens.issued_at)
    if apart == 0 or 2 * apart < since:
        return "stays"
    return "unclear" if apart < _MAX_CLOCK_SKEW_SECONDS else "moves"
