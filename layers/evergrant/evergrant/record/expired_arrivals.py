"""Token sets whose access token had expired when it came, several times in a row: degraded, and reported once. Pure.

The set is used for an assumed lifetime all the same (:mod:`evergrant.oauth.token_expiry`): either the provider states a
wrong lifetime, or its consumers are refused.
"""

from __future__ import annotations

from . import outbox, state_machine
from .connection import EXPIRED_ON_ARRIVAL, Connection, RecordChange, create_event
from .status import EventType, Status


def report_expired_arrivals(connection: Connection, now: int) -> RecordChange:
    """Return what the save of such a token set changes besides."""
    is_known = connection.status is Status.DEGRADED and connection.last_error == EXPIRED_ON_ARRIVAL
    change = state_machine.move(connection.status, Status.DEGRADED).set(
        {
            "last_error": EXPIRED_ON_ARRIVAL,
            "last_error_at": connection.last_error_at if is_known else now,
            "alerted_at": connection.alerted_at if is_known else now,
        }
    )
    if is_known:
        return change
    event = create_event(
        EventType.DEGRADED, connection, now, reason=EXPIRED_ON_ARRIVAL, client=connection.client, alert=True
    )
    return change | outbox.add_events(connection, event)
