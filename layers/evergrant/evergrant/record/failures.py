"""What a failed try changes in the record: the reason, the next try, and the event. Pure."""

from __future__ import annotations

from typing import Any

from ..oauth.error_codes import RefusalKind
from ..oauth.error_response import Refusal
from ..profiles.model import HEADLESS_GRANTS
from ..times import format_rfc3339
from . import outbox, refresh_schedule
from .connection import Connection, RecordChange, RecordFields, create_event
from .refresh_schedule import schedule_refresh
from .state_machine import event_of, ignore_client_refusal, move
from .status import EventType, Status
from .token_save import NO_ATTEMPT

#: A second rejection counts as final only this many seconds after the first.
MIN_SECOND_REJECTION_SECONDS = 600
#: From this many failures in a row on, a connection is degraded.
MAX_QUIET_FAILURES = 3
#: An operator corrects a client within hours, not seconds.
CLIENT_PROBE_SECONDS = 3600
#: The error of a connection whose refresh failed because a service of AWS did.
SERVICE_UNAVAILABLE = "service_unavailable"
#: The error of a connection whose provider's response is kept until a corrected profile can read it.
UNREADABLE = "unreadable_response"
#: The outcome of a request that did not reach the provider: the refresh token is as good as before.
NOT_SENT = Refusal("transient", 0, "not_sent")


def apply_refusal(connection: Connection, refusal: Refusal, now: int) -> RecordChange:
    """Apply a refusal that the provider has certainly not acted upon."""
    kind = classify_refusal(connection, refusal)
    error = refusal.code or kind
    change = RecordChange({**NO_ATTEMPT, **count_failure(connection, error, now)})
    if kind == "client_rejected":
        change |= worsen_status(connection, Status.CLIENT_REFUSED, now, error)
        return change.set(schedule_refresh(connection, now + CLIENT_PROBE_SECONDS))
    if kind in ("grant_rejected", "client_unauthorized", "rejected_unknown"):
        return change | _apply_grant_rejection(connection, now, error)
    failures = connection.failures + 1
    is_malformed = kind == "malformed"
    again = refresh_schedule.compute_backoff_at(
        MAX_QUIET_FAILURES + failures if is_malformed else failures, now, refusal.retry_after
    )
    if is_malformed or failures >= MAX_QUIET_FAILURES or _is_too_late(connection, again, now):
        change |= worsen_status(connection, Status.DEGRADED, now, error)
    return change.set(schedule_refresh(connection, again))


def apply_preparation_failure(connection: Connection, error: str, now: int) -> RecordChange:
    """Apply a failure on our side, before anything was sent."""
    failures = connection.failures + 1
    again = refresh_schedule.compute_backoff_at(failures, now)
    change = RecordChange({**count_failure(connection, error, now), **schedule_refresh(connection, again)})
    if error != SERVICE_UNAVAILABLE or failures >= MAX_QUIET_FAILURES:
        change |= worsen_status(ignore_client_refusal(connection), Status.DEGRADED, now, error)
    return change


def require_authorization(connection: Connection, now: int) -> RecordChange:
    """Call for a person: there is no refresh token, or a pasted key has to be replaced."""
    error = "no_refresh_token"
    if connection.grant == "static":
        error = "key_expired" if (connection.expires_at or 0) <= now else "key_refused"
    change = worsen_status(connection, Status.AUTHORIZATION_REQUIRED, now, error)
    return change.set({"last_error": error, "last_error_at": now, **schedule_refresh(connection, None)})


def alert_when_urgent(connection: Connection, change: RecordChange, now: int) -> RecordChange:
    """Add an alert to the change of a failed try, once, when the current token is about to expire."""
    status = change.status or connection.status
    is_alerted = change.fields.get("alerted_at", connection.alerted_at)
    if not change or status is not Status.DEGRADED or is_alerted:
        return change
    error = change.fields.get("last_error", connection.last_error) or status
    if not (_is_urgent(connection, now) or _is_too_late(connection, change.fields.get("refresh_at"), now)):
        return change
    return change | announce_failure(EventType.DEGRADED, connection, now, error, urgent=True)


def classify_refusal(connection: Connection, refusal: Refusal) -> RefusalKind:
    """Return the kind of a refusal for this connection. Of a headless grant, the client is all there is to reject."""
    means_either = ("grant_rejected", "client_unauthorized", "rejected_unknown")
    if connection.grant in HEADLESS_GRANTS and refusal.kind in means_either:
        return "client_rejected"
    return refusal.kind


def says_nothing_of_client(refusal: Refusal) -> bool:
    """Whether a refusal concerns this connection alone: it neither opens nor closes the client's circuit.

    RFC 6749 section 5.2 has ``unauthorized_client`` for a client that was authenticated. Microsoft also answers it
    where one tenant does not know the client. A profile that gives the code another meaning is followed.
    """
    return refusal.kind == "client_unauthorized"


def count_failure(connection: Connection, error: str, now: int) -> RecordFields:
    """Count one more failure, with its code."""
    return {"failures": connection.failures + 1, "last_error": error, "last_error_at": now}


def worsen_status(connection: Connection, status: Status, now: int, error: str) -> RecordChange:
    """Change the status for the worse, with its event; no change where it is as bad already."""
    if _is_as_bad(connection.status, status):
        return RecordChange()
    change = move(connection.status, status)
    event = event_of(connection.status, status)
    return change if event is None else change | announce_failure(event, connection, now, error)


def announce_failure(
    kind: EventType, connection: Connection, now: int, error: str, *, urgent: bool = False
) -> RecordChange:
    """Report a failure as an event. It is an alert where a person has to act, or may have to soon."""
    is_alert = kind is not EventType.DEGRADED or error == UNREADABLE or urgent or _is_urgent(connection, now)
    detail: dict[str, Any] = {"reason": error, "client": connection.client, "alert": is_alert}
    if connection.expires_at is not None:
        detail["expires_at"] = format_rfc3339(connection.expires_at)
    change = outbox.add_events(connection, create_event(kind, connection, now, **detail))
    return change.set({"alerted_at": now if is_alert else None})


def _apply_grant_rejection(connection: Connection, now: int, error: str) -> RecordChange:
    """Degrade at the first rejection; call for a person at the second, at least ten minutes later and unbroken."""
    connection = ignore_client_refusal(connection)  # the provider rejects the grant, so it has accepted the client
    if connection.rejected_at is None:
        again = schedule_refresh(connection, now + MIN_SECOND_REJECTION_SECONDS)
        return worsen_status(connection, Status.DEGRADED, now, error).set({"rejected_at": now, **again})
    final_at = connection.rejected_at + MIN_SECOND_REJECTION_SECONDS
    if now < final_at:
        return RecordChange(schedule_refresh(connection, final_at))
    change = worsen_status(connection, Status.AUTHORIZATION_REQUIRED, now, error)
    return change.set(schedule_refresh(connection, refresh_schedule.compute_daily_probe_at(now)))


_WORSE_THAN_DEGRADED = (Status.AUTHORIZATION_REQUIRED, Status.CLIENT_REFUSED, Status.AWAITING_AUTHORIZATION)


def _is_as_bad(current: Status, status: Status) -> bool:
    return current is status or (status is Status.DEGRADED and current in _WORSE_THAN_DEGRADED)


def _is_too_late(connection: Connection, again: int | None, now: int) -> bool:
    """Whether the current token expires before the next try: Retry-After may ask for a day of patience."""
    return again is not None and connection.expires_at is not None and now < connection.expires_at <= again


def _is_urgent(connection: Connection, now: int) -> bool:
    """Whether the current token is within its last quarter."""
    return connection.token_lifetime is None or now >= connection.token_lifetime.last_quarter_at
