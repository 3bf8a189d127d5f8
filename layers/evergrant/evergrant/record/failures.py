"""What a try that failed changes in the record: the reason, the next try, and the event. Pure, as transitions are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..oauth.error_response import Refusal
from ..profiles.model import HEADLESS_GRANTS, FailureKind
from ..times import format_rfc3339
from . import outbox, refresh_schedule
from .connection import Connection, EventType, Status, create_event
from .token_save import NO_ATTEMPT, Changes, schedule_refresh

#: A second rejection counts as the last word only this many seconds after the first.
MIN_SECOND_REJECTION_SECONDS = 600
#: Failures in a row after which a connection is called degraded.
MAX_QUIET_FAILURES = 3
#: An operator mends a client within hours, not seconds.
CLIENT_PROBE_SECONDS = 3600
#: The error of a connection whose refresh a service of AWS stood in the way of.
SERVICE_UNAVAILABLE = "service_unavailable"
#: The error of a connection whose provider's answer waits to be read.
UNREADABLE = "unreadable_response"
#: What a request that never reached the provider comes to: the refresh token is as good as before.
NOT_SENT = Refusal("transient", 0, "not_sent")


def apply_refusal(connection: Connection, refusal: Refusal, now: int) -> Changes:
    """A whole answer of the provider that is no token set, and that it has certainly not acted upon."""
    kind = classify_refusal(connection, refusal)
    error = refusal.code or kind
    if kind == "client_rejected":
        return {
            **NO_ATTEMPT,
            **count_failure(connection, error, now),
            **worsen_status(connection, Status.CLIENT_REFUSED, now, error),
            **schedule_refresh(connection, now + CLIENT_PROBE_SECONDS),
        }
    if kind in ("grant_rejected", "rejected_unknown"):
        return {**NO_ATTEMPT, **count_failure(connection, error, now), **_apply_grant_rejection(connection, now, error)}
    failures = connection.failures + 1
    changes = {**NO_ATTEMPT, **count_failure(connection, error, now)}
    again = refresh_schedule.compute_backoff_at(
        MAX_QUIET_FAILURES + failures if kind == "malformed" else failures, now, refusal.retry_after
    )
    if kind == "malformed" or failures >= MAX_QUIET_FAILURES or _is_too_late(connection, again, now):
        changes |= worsen_status(connection, Status.DEGRADED, now, error)
    return {**changes, **schedule_refresh(connection, again)}


def apply_preparation_failure(connection: Connection, error: str, now: int) -> Changes:
    """Something that a refresh needs is missing or unusable on our side; nothing was sent."""
    failures = connection.failures + 1
    changes = {
        **count_failure(connection, error, now),
        **schedule_refresh(connection, refresh_schedule.compute_backoff_at(failures, now)),
    }
    if error != SERVICE_UNAVAILABLE or failures >= MAX_QUIET_FAILURES:
        changes |= worsen_status(ignore_client_refusal(connection), Status.DEGRADED, now, error)
    return changes


def require_authorization(connection: Connection, now: int) -> Changes:
    """There is nothing to refresh with: a person has to authorize again, or to paste another key."""
    error = "no_refresh_token"
    if connection.grant == "static":
        error = "key_expired" if (connection.expires_at or 0) <= now else "key_refused"
    return {
        "last_error": error,
        "last_error_at": now,
        **worsen_status(connection, Status.AUTHORIZATION_REQUIRED, now, error),
        **schedule_refresh(connection, None),
    }


def alert_when_urgent(connection: Connection, changes: Mapping[str, Any], now: int) -> Changes:
    """``changes`` of a try that failed; somebody is told, once, when the token in hand is about to lapse."""
    status = changes.get("status", connection.status)
    alerted_at = changes.get("alerted_at", connection.alerted_at)
    if not changes or status is not Status.DEGRADED or alerted_at:
        return dict(changes)
    error = changes.get("last_error", connection.last_error) or status
    urgent = _is_urgent(connection, now) or _is_too_late(connection, changes.get("refresh_at"), now)
    return (
        {**changes, **announce_failure(EventType.DEGRADED, connection, now, error, urgent=True)}
        if urgent
        else dict(changes)
    )


def classify_refusal(connection: Connection, refusal: Refusal) -> FailureKind:
    """The kind of a refusal, seen for itself. Where the client is the grant there is no other to blame."""
    if connection.grant in HEADLESS_GRANTS and refusal.kind in ("grant_rejected", "rejected_unknown"):
        return "client_rejected"
    return refusal.kind


def says_nothing_of_client(refusal: Refusal) -> bool:
    """Whether a refusal concerns this connection alone: it neither opens nor closes the client's circuit.

    RFC 6749 section 5.2 has ``unauthorized_client`` for a client that was authenticated. Microsoft also answers it
    where one tenant does not know the client. A profile that gives the code another meaning is followed.
    """
    return refusal.kind == "grant_rejected" and refusal.code == "unauthorized_client"


def ignore_client_refusal(connection: Connection) -> Connection:
    """The connection as one that its client's refusal no longer holds back: what fails now is news."""
    if connection.status is not Status.CLIENT_REFUSED:
        return connection
    return replace(connection, status=Status.ACTIVE, alerted_at=None)


def _apply_grant_rejection(connection: Connection, now: int, error: str) -> Changes:
    """One rejection degrades; a second one, at least ten minutes later and unbroken, needs a person."""
    connection = ignore_client_refusal(connection)  # it is the grant now: the client was accepted
    if connection.rejected_at is None:
        again = schedule_refresh(connection, now + MIN_SECOND_REJECTION_SECONDS)
        return {"rejected_at": now, **worsen_status(connection, Status.DEGRADED, now, error), **again}
    if now < connection.rejected_at + MIN_SECOND_REJECTION_SECONDS:
        return schedule_refresh(connection, connection.rejected_at + MIN_SECOND_REJECTION_SECONDS)
    return {
        **worsen_status(connection, Status.AUTHORIZATION_REQUIRED, now, error),
        **schedule_refresh(connection, refresh_schedule.compute_daily_probe_at(now)),
    }


def count_failure(connection: Connection, error: str, now: int) -> Changes:
    """One more failure, and its code."""
    return {"failures": connection.failures + 1, "last_error": error, "last_error_at": now}


_EVENT_OF = {
    Status.DEGRADED: EventType.DEGRADED,
    Status.AUTHORIZATION_REQUIRED: EventType.AUTHORIZATION_REQUIRED,
    Status.CLIENT_REFUSED: EventType.CLIENT_REFUSED,
}
_WORSE_THAN_DEGRADED = (Status.AUTHORIZATION_REQUIRED, Status.CLIENT_REFUSED, Status.AWAITING_AUTHORIZATION)


def worsen_status(connection: Connection, status: Status, now: int, error: str) -> Changes:
    """A change of status for the worse, with its event; nothing where it is as bad already."""
    if connection.status is status or (status is Status.DEGRADED and connection.status in _WORSE_THAN_DEGRADED):
        return {}
    return {"status": status, **announce_failure(_EVENT_OF[status], connection, now, error)}


def announce_failure(kind: EventType, connection: Connection, now: int, error: str, *, urgent: bool = False) -> Changes:
    """A change for the worse, as an event. It is an alert where somebody has to act, or may have to soon."""
    alert = kind is not EventType.DEGRADED or error == UNREADABLE or urgent or _is_urgent(connection, now)
    detail: dict[str, Any] = {"reason": error, "client": connection.client, "alert": alert}
    if connection.expires_at is not None:
        detail["expires_at"] = format_rfc3339(connection.expires_at)
    events = outbox.add_events(connection, create_event(kind, connection, now, **detail))
    return {**events, "alerted_at": now if alert else None}


def _is_too_late(connection: Connection, again: int | None, now: int) -> bool:
    """Whether a living token lapses before the next try: a provider may ask for a day's patience (Retry-After)."""
    return again is not None and connection.expires_at is not None and now < connection.expires_at <= again


def _is_urgent(connection: Connection, now: int) -> bool:
    """Whether the token in hand is within its last quarter."""
    return connection.token_lifetime is None or now >= connection.token_lifetime.last_quarter_at
