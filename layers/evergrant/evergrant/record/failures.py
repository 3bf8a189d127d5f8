"""What a failed attempt changes in the record: the reason, the next attempt, and the event. Pure.

:mod:`.refusals` has what each kind of refusal means, and :mod:`.lost_response` what follows a lost one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from ..errors import RecordTampered
from ..profiles.model import HEADLESS_GRANTS, Profile
from ..times import DAY_SECONDS, HOUR_SECONDS, format_rfc3339
from . import outbox, refresh_schedule
from .circuit import ALERT_AGAIN_SECONDS, Circuit, Surroundings
from .connection import FAILS_ALONE, STALE, Connection, RecordChange, RecordFields, create_event
from .refresh_schedule import schedule_refresh
from .retries import LAST_TRY_SECONDS, compute_longest_wait, compute_retry_at
from .state_machine import event_of, ignore_client_refusal, move
from .status import INACTIVE_STATUSES, STATUSES_WITHOUT_GRANT, EventType, Status

#: From this many failures in a row on, a connection is degraded, and may be reported.
MAX_QUIET_FAILURES = 3
#: A degraded connection is reported when its token is this close to its end.
ALERT_BEFORE_EXPIRY_SECONDS = 300
#: Without a valid token for so long, a connection needs a person, for any reason.
MAX_SILENT_SECONDS = DAY_SECONDS
#: A connection that fails alone, while others of its endpoint succeed, needs its owner after so long.
MAX_ALONE_SECONDS = 6 * HOUR_SECONDS
#: The error of a connection whose refresh failed because a service of AWS did.
SERVICE_UNAVAILABLE = "service_unavailable"
#: The error of a connection whose provider's response is kept until a corrected profile can read it.
UNREADABLE = "unreadable_response"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an attempt failed: a code, the HTTP status with it, and a detail (see :class:`.connection.Connection`)."""

    code: str
    status: int | None = None
    detail: str | None = None


def count_failure(connection: Connection, reason: Reason, now: int) -> RecordFields:
    """Count one more failure, with its reason."""
    return {
        "failures": connection.failures + 1,
        "failing_since": connection.failing_since or now,
        **note_reason(reason, now),
    }


def note_reason(reason: Reason, now: int) -> RecordFields:
    """Note the last error, with all that belongs to it and nothing of the one before."""
    return {
        "last_error": reason.code,
        "last_error_at": now,
        "last_status": reason.status,
        "last_detail": reason.detail,
    }


def retry(
    connection: Connection, profile: Profile, surroundings: Surroundings, now: int, retry_after: int | None = None
) -> RecordFields:
    """Plan the next attempt. While the endpoint's circuit is open, the connection is due, and held back."""
    if surroundings.endpoint.is_open:
        return schedule_refresh(connection, now)
    at = compute_retry_at(connection, profile, connection.failures + 1, now, retry_after)
    if connection.alerted_at is not None and connection.expires_at is not None:
        again_at = _compute_alert_again_at(connection.expires_at, connection.alerted_at)
        at = min(at, again_at) if again_at > now else at  # the daily alert comes of an attempt
    return schedule_refresh(connection, at)


def degrade(connection: Connection, now: int, reason: Reason, *, at_once: bool = False) -> RecordChange:
    """Degrade a connection without a valid token, or from its third failure on; ``at_once`` from the first."""
    has_token = connection.expires_at is not None and connection.expires_at > now
    if at_once or not has_token or connection.failures + 1 >= MAX_QUIET_FAILURES:
        return worsen_status(connection, Status.DEGRADED, now, reason)
    return RecordChange()


def apply_preparation_failure(connection: Connection, error: str, now: int) -> RecordChange:
    """Apply a failure on our side, before anything was sent."""
    reason = Reason(error)
    again = refresh_schedule.compute_backoff_at(connection.failures + 1, now)
    ends_at = connection.expires_at
    if ends_at is not None:  # as after a failure of the provider's
        again = min(again, max(ends_at - LAST_TRY_SECONDS, now + compute_longest_wait(now - ends_at)))
    change = RecordChange({**count_failure(connection, reason, now), **schedule_refresh(connection, again)})
    return change | degrade(ignore_client_refusal(connection), now, reason, at_once=error != SERVICE_UNAVAILABLE)


def apply_tampered_record(connection: Connection, field: str, now: int) -> RecordChange:
    """Apply a failure because the record does not say what its tokens were issued for: an alert, the first time."""
    reason = Reason(RecordTampered.code, detail=field)
    again = None
    if connection.status not in INACTIVE_STATUSES:
        again = refresh_schedule.compute_backoff_at(connection.failures + 1, now)
    change = RecordChange({**count_failure(connection, reason, now), **schedule_refresh(connection, again)})
    if connection.last_error == RecordTampered.code:
        return change
    if connection.status not in (*STATUSES_WITHOUT_GRANT, *INACTIVE_STATUSES):
        change |= move(connection.status, Status.DEGRADED)
    return change | announce_failure(EventType.DEGRADED, connection, now, reason, is_alert=True)


def require_authorization(connection: Connection, now: int) -> RecordChange:
    """Call for a person: there is no refresh token, or a pasted key has to be replaced."""
    error = "no_refresh_token"
    if connection.grant == "static":
        error = "key_expired" if (connection.expires_at or 0) <= now else "key_refused"
    change = worsen_status(connection, Status.AUTHORIZATION_REQUIRED, now, Reason(error))
    return change.set({**note_reason(Reason(error), now), **schedule_refresh(connection, None)})


def require_authorization_of_stale(connection: Connection, now: int) -> RecordChange:
    """Call for the owner of a connection whose record is older than what was published from it.

    Its refresh token has been used since. Sent once more, it may end the grant: it is never sent again.
    """
    change = worsen_status(connection, Status.AUTHORIZATION_REQUIRED, now, Reason(STALE))
    return change.set({**note_reason(Reason(STALE), now), **schedule_refresh(connection, None)})


def note_others(connection: Connection, surroundings: Surroundings, now: int) -> RecordChange:
    """Note since when others of the endpoint have succeeded while this connection fails."""
    succeeded_at = surroundings.endpoint.accepted_at
    if connection.alone_since is not None or succeeded_at is None or connection.failing_since is None:
        return RecordChange()
    return RecordChange({"alone_since": now} if succeeded_at > connection.failing_since else {})


def require_owner_if_alone(connection: Connection, now: int) -> RecordChange:
    """Call for the owner of a connection that has failed alone for long enough after its token expired."""
    if connection.alone_since is None or not connection.generation or connection.status is Status.CLIENT_REFUSED:
        return RecordChange()
    if connection.grant in HEADLESS_GRANTS:
        return RecordChange()  # there is no owner who could authorize it again
    if now - max(connection.alone_since, connection.expires_at or 0) < MAX_ALONE_SECONDS:
        return RecordChange()
    reason = Reason(FAILS_ALONE, connection.last_status, connection.last_detail)
    change = worsen_status(connection, Status.AUTHORIZATION_REQUIRED, now, reason)
    return change.set({"last_error": FAILS_ALONE})


def alert_when_due(
    connection: Connection, change: RecordChange, surroundings: Surroundings | None, now: int
) -> tuple[RecordChange, Circuit | None]:
    """Add an alert to the change of a failed attempt where it is time for one.

    A degraded connection is reported once its token is about to expire, and again each day that it has no token; one
    connection for each client or endpoint.

    Returns
    -------
    tuple
        The change, and the circuit of the client or endpoint whose trouble it reports.
    """
    status = change.status or connection.status
    circuit = _choose_reported(surroundings, connection, status, change)
    if status not in (Status.DEGRADED, Status.CLIENT_REFUSED) or not change:
        return change, None
    if change.fields.get("alerted_at"):
        return change, circuit
    if surroundings is None and status is Status.CLIENT_REFUSED:
        return change, None  # whether the operator knows of it, the client's circuit says
    if not _is_alert_due(connection, change, now, is_known=circuit is not None and circuit.has_failed_probe):
        return change, None
    if circuit is not None and not circuit.is_alert_due(now):
        return change, None
    kind = EventType.CLIENT_REFUSED if status is Status.CLIENT_REFUSED else EventType.DEGRADED
    seen = replace(connection, **cast(dict[str, Any], change.fields))
    reason = Reason(seen.last_error or status, seen.last_status, seen.last_detail)
    others = {key: body for key, body in change.events.items() if body is None or body["type"] != kind}
    alert = announce_failure(kind, connection, now, reason, is_alert=True, circuit=circuit)
    return RecordChange(change.fields, others) | alert, circuit


def _compute_alert_again_at(ends_at: int, alerted_at: int) -> int:
    return max(ends_at + MAX_SILENT_SECONDS, alerted_at + ALERT_AGAIN_SECONDS)


def _is_alert_due(connection: Connection, change: RecordChange, now: int, *, is_known: bool) -> bool:
    """Whether it is time for the connection's first alert, or for its daily one."""
    ends_at = connection.expires_at or connection.failing_since or now
    alerted_at = change.fields.get("alerted_at", connection.alerted_at)
    if alerted_at is not None:
        return now >= _compute_alert_again_at(ends_at, alerted_at)
    has_failed_enough = is_known or change.fields.get("failures", connection.failures) >= MAX_QUIET_FAILURES
    return has_failed_enough and now >= ends_at - ALERT_BEFORE_EXPIRY_SECONDS


def _choose_reported(
    surroundings: Surroundings | None, connection: Connection, status: Status, change: RecordChange
) -> Circuit | None:
    """Choose the circuit for which one alert is enough: the client's, or the endpoint's; None: this connection's own.

    A refusal of this connection's own grant or request concerns no other.
    """
    if surroundings is None:
        return None
    if status is Status.CLIENT_REFUSED or surroundings.client.incident_at is not None:
        return surroundings.client
    is_rejected = change.fields.get("rejected_code") is not None
    has_endpoint_failed = connection.name in surroundings.endpoint.failures
    return surroundings.endpoint if has_endpoint_failed or not is_rejected else None


def worsen_status(
    connection: Connection, status: Status, now: int, reason: Reason, *, is_alert: bool | None = None
) -> RecordChange:
    """Change the status for the worse, with its event; no change where it is as bad already.

    ``is_alert`` says whether a person has to act: by default, where the connection is not only degraded.
    """
    if _is_as_bad(connection.status, status):
        return RecordChange()
    change = move(connection.status, status)
    event = event_of(connection.status, status)
    if event is None:
        return change
    if is_alert is None:
        is_alert = event is not EventType.DEGRADED or reason.code == UNREADABLE
    return change | announce_failure(event, connection, now, reason, is_alert=is_alert)


def announce_failure(
    kind: EventType,
    connection: Connection,
    now: int,
    reason: Reason,
    *,
    is_alert: bool,
    circuit: Circuit | None = None,
) -> RecordChange:
    """Report a failure as an event."""
    detail: dict[str, Any] = {"reason": reason.code, "client": connection.client, "alert": is_alert}
    if connection.grant in HEADLESS_GRANTS:
        detail["grant"] = connection.grant
    if connection.expires_at is not None:
        detail["expires_at"] = format_rfc3339(connection.expires_at)
    if connection.endpoint:
        detail["endpoint"] = connection.endpoint
    if reason.status:
        detail["http_status"] = reason.status
    if reason.detail:
        detail["http_detail"] = reason.detail
    if circuit and circuit.is_open:
        detail["open_since"] = format_rfc3339(circuit.opened_at or now)
    change = outbox.add_events(connection, create_event(kind, connection, now, **detail))
    return change.set({"alerted_at": now if is_alert else None})


_WORSE_THAN_DEGRADED = (Status.AUTHORIZATION_REQUIRED, Status.CLIENT_REFUSED, Status.AWAITING_AUTHORIZATION)


def _is_as_bad(current: Status, status: Status) -> bool:
    return current is status or (status is Status.DEGRADED and current in _WORSE_THAN_DEGRADED)
