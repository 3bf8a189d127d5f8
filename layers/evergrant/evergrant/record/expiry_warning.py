"""The end of a grant: whether a refresh moves it, and the warnings 30, 7 and 1 days before. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..oauth.token_set import TokenSet
from ..profiles.model import Profile
from ..times import DAY_SECONDS, format_rfc3339
from . import outbox
from .connection import Connection, RecordChange, create_event
from .refresh_schedule import deliver_soon, schedule_due
from .status import STATUSES_WITHOUT_GRANT, EventType, Status

#: Days before the end of a grant on which its owner is warned.
WARNING_DAYS = (30, 7, 1)
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


def compute_warn_at(
    connection: Connection, profile: Profile, end: GrantEnd, issued_at: int, ends_at: int | None
) -> int | None:
    """When to warn that the grant ends: only where rotation does not move the end by itself."""
    if end == "unclear":
        return connection.warn_at
    is_fixed = connection.grant == "static" or profile.rotation.refresh_token_life == "hard"  # noqa: S105
    if ends_at is None or (end == "moves" and not is_fixed):
        return None
    return (connection.warn_at if end == "stays" else None) or compute_first_warning_at(issued_at, ends_at)


def compute_first_warning_at(issued_at: int, ends_at: int) -> int | None:
    """When the first warning is due; only warnings in the second half of the grant's lifetime count."""
    return _compute_warning_at(ends_at, (days for days in WARNING_DAYS if 2 * days * DAY_SECONDS < ends_at - issued_at))


def compute_next_warning_at(ends_at: int, now: int) -> int | None:
    """When the next warning after ``now`` is due."""
    return _compute_warning_at(ends_at, (days for days in WARNING_DAYS if ends_at - days * DAY_SECONDS > now))


def warn_of_expiry(connection: Connection, now: int) -> RecordChange:
    """Warn that the grant ends soon, unless a person has to authorize again anyway."""
    ends_at = connection.refresh_expires_at
    if ends_at is None or connection.status in STATUSES_WITHOUT_GRANT:
        return RecordChange({"warn_at": None, **schedule_due(connection, connection.refresh_at)})
    event = create_event(EventType.GRANT_EXPIRING, connection, now, ends_at=format_rfc3339(ends_at))
    change = RecordChange({"warn_at": compute_next_warning_at(ends_at, now)}) | outbox.add_events(connection, event)
    return deliver_soon(connection, change, now)


def _compute_warning_at(ends_at: int, days: Iterable[int]) -> int | None:
    earliest = max(days, default=None)
    return None if earliest is None else ends_at - earliest * DAY_SECONDS
