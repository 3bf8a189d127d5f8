"""What the record says of a token set that consumers cannot be shown. Pure: record in, changes out.

Refreshing works meanwhile, so a save alone does not end it; whoever reads the secret holds an older token, which lapses
about one lead after the refresh.
"""

from __future__ import annotations

from typing import Any

from . import outbox
from .connection import UNPUBLISHED, Connection, EventType, Status, create_event

#: Seconds after which somebody is told, a few tries after the first: half of the shortest lead.
ALERT_DELAY_SECONDS = 300

_RUNNING = (Status.ACTIVE, Status.DEGRADED)


def apply_publish_failure(connection: Connection, now: int) -> dict[str, Any]:
    """One more try to publish has failed: nothing, or what makes it known."""
    known = connection.status is Status.DEGRADED and connection.alerted_at is not None
    if known or connection.status not in _RUNNING or now < (connection.issued_at or 0) + ALERT_DELAY_SECONDS:
        return {}
    alert = create_event(EventType.DEGRADED, connection, now, reason=UNPUBLISHED, client=connection.client, alert=True)
    changes = outbox.add_events(connection, alert)
    if not connection.failures:
        changes |= {"last_error": UNPUBLISHED, "last_error_at": now}
    return {"status": Status.DEGRADED, "alerted_at": now, **changes}


def carry_over(connection: Connection, now: int) -> dict[str, Any]:
    """What the save of another token set leaves of it: nothing, if the one before was published."""
    waits = connection.direct_read and connection.published_generation != connection.generation
    if not waits or connection.status is not Status.DEGRADED:
        return {}
    return {
        "status": Status.DEGRADED,
        "alerted_at": connection.alerted_at,
        "last_error": UNPUBLISHED,
        "last_error_at": now,
    }


def apply_publish_success(connection: Connection, now: int) -> dict[str, Any]:
    """The current token set is published."""
    changes: dict[str, Any] = {"published_generation": connection.generation}
    if connection.last_error != UNPUBLISHED or connection.status not in _RUNNING:
        return changes
    alert = connection.alerted_at is not None
    changes |= {"status": Status.ACTIVE, "last_error": None, "last_error_at": None, "alerted_at": None}
    return changes | outbox.add_events(connection, create_event(EventType.RECOVERED, connection, now, alert=alert))
