"""What the record says of a token set that Secrets Manager does not take. Pure: record in, change out.

Refreshing works meanwhile, so a save alone does not end it. Consumers of the secret hold an older token, which expires
about one lead after the refresh.
"""

from __future__ import annotations

from . import outbox
from .change import RecordChange
from .connection import UNPUBLISHED, Connection, create_event
from .state_machine import move
from .status import EventType, Status

#: Seconds of failed publications after which the operator is alerted: half of the shortest lead.
ALERT_DELAY_SECONDS = 300

_RUNNING = (Status.ACTIVE, Status.DEGRADED)


def apply_publish_failure(connection: Connection, now: int) -> RecordChange:
    """Count one more failed publication: no change, or the alert."""
    is_known = connection.status is Status.DEGRADED and connection.alerted_at is not None
    is_early = now < (connection.issued_at or 0) + ALERT_DELAY_SECONDS
    if is_known or is_early or connection.status not in _RUNNING:
        return RecordChange()
    event = create_event(EventType.DEGRADED, connection, now, reason=UNPUBLISHED, client=connection.client, alert=True)
    change = move(connection.status, Status.DEGRADED).set({"alerted_at": now}) | outbox.add_events(connection, event)
    if not connection.failures:
        change = change.set({"last_error": UNPUBLISHED, "last_error_at": now})
    return change


def carry_over(connection: Connection, now: int) -> RecordChange:
    """Keep the trouble over the save of another token set; no change if the one before was published."""
    waits = connection.direct_read and connection.published_generation != connection.generation
    if not waits or connection.status is not Status.DEGRADED:
        return RecordChange()
    return move(connection.status, Status.DEGRADED).set(
        {"alerted_at": connection.alerted_at, "last_error": UNPUBLISHED, "last_error_at": now}
    )


def apply_publish_success(connection: Connection, now: int) -> RecordChange:
    """Note that the current token set is published."""
    change = RecordChange({"published_generation": connection.generation})
    if connection.last_error != UNPUBLISHED or connection.status not in _RUNNING:
        return change
    alerted = connection.alerted_at is not None
    event = create_event(EventType.RECOVERED, connection, now, alert=alerted)
    change |= move(connection.status, Status.ACTIVE).set(
        {"last_error": None, "last_error_at": None, "alerted_at": None}
    )
    return change | outbox.add_events(connection, event)
