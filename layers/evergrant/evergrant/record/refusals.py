"""What a complete response that is no token set changes in the record, kind by kind. Pure.

It changes the connection that received it, and no other. What the responses to other connections say comes as
:class:`.circuit.Surroundings`, which this one's response is part of already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..oauth.error_codes import RefusalKind
from ..oauth.error_response import Refusal
from ..profiles.model import HEADLESS_GRANTS, Profile
from ..times import DAY_SECONDS, HOUR_SECONDS
from . import outbox, refresh_schedule
from .alerts import MAX_LISTED
from .circuit import VAGUE, Answer, Circuit, Surroundings
from .connection import Connection, RecordChange, RecordFields, create_event
from .failures import (
    MAX_ALONE_SECONDS,
    Reason,
    count_failure,
    degrade,
    note_others,
    require_owner_if_alone,
    retry,
    worsen_status,
)
from .refresh_schedule import schedule_refresh
from .retries import compute_retry_at, compute_spared_until, is_single_use, is_within_grace
from .state_machine import ignore_client_refusal
from .status import EventType, Status
from .token_save import NO_ATTEMPT

#: A second rejection counts as final only this many seconds after the first.
MIN_SECOND_REJECTION_SECONDS = 600
#: During an incident, only this many seconds after it began.
INCIDENT_PATIENCE_SECONDS = 2 * HOUR_SECONDS
#: A request that worked before and is called wrong needs the owner so long after expiry, or after the first time.
_MAX_MALFORMED_AFTER_EXPIRY_SECONDS, _MAX_MALFORMED_SECONDS = HOUR_SECONDS, DAY_SECONDS

#: The outcome of a request that did not reach the provider: the refresh token is as good as before.
NOT_SENT = Refusal("transient", 0, "not_sent")


@dataclass(frozen=True, slots=True)
class _Refused:
    """One refusal of one connection, as the rules below look at it."""

    connection: Connection
    profile: Profile
    refusal: Refusal
    surroundings: Surroundings
    now: int

    @property
    def reason(self) -> Reason:
        return explain(self.refusal)

    @property
    def since(self) -> int:
        """The first rejection by this code, without a success since."""
        connection = self.connection
        is_same = connection.rejected_at is not None and connection.rejected_code == self.reason.code
        return (connection.rejected_at or self.now) if is_same else self.now

    @property
    def is_second(self) -> bool:
        """Whether the first rejection by this code is at least ten minutes ago."""
        return self.now - self.since >= MIN_SECOND_REJECTION_SECONDS

    def has_expired_for(self, seconds: int) -> bool:
        expires_at = self.connection.expires_at or self.connection.failing_since or self.now
        return self.now - expires_at >= seconds

    def retry(self) -> RecordFields:
        return retry(self.connection, self.profile, self.surroundings, self.now, self.refusal.retry_after)

    def retry_rejected(self) -> RecordFields:
        """Retry as after every failure, but the second time not before it can count."""
        if self.surroundings.endpoint.is_open:
            return self.retry()
        second_at = self.since + MIN_SECOND_REJECTION_SECONDS
        may_be_others = classify_refusal(self.connection, self.refusal) != "grant_rejected"
        if self.now < second_at and not (may_be_others and self.has_expired_for(0)):
            return schedule_refresh(self.connection, second_at)
        return self.retry()


def explain(refusal: Refusal) -> Reason:
    """Return the reason of a failure as the record keeps it."""
    return Reason(refusal.code or refusal.kind, refusal.status or None, refusal.content_type)


def classify_refusal(connection: Connection, refusal: Refusal) -> RefusalKind:
    """Return the kind of a refusal for this connection. Of a headless grant, the client is all there is to reject."""
    if connection.grant in HEADLESS_GRANTS and refusal.kind in ("grant_rejected", "rejected_unknown"):
        return "client_rejected"
    return refusal.kind


def describe_to_client(connection: Connection, refusal: Refusal) -> Answer | None:
    """Say what a refusal says about the client; None where it says nothing."""
    kind, reason = classify_refusal(connection, refusal), explain(refusal)
    match kind:
        case "client_rejected" | "client_unauthorized":
            return Answer("failed", reason.code, reason.status, reason.detail, refusal.retry_after)
        case "grant_rejected":
            return Answer("answered", refused_code=reason.code)
        case "malformed":
            return Answer("neutral", refused_code=reason.code)
    return None


def describe_to_endpoint(refusal: Refusal) -> Answer:
    """Say what a refusal says about the token endpoint."""
    if refusal.answer_class == "refusal":
        return Answer("answered")
    reason = explain(refusal)
    code = VAGUE if refusal.answer_class == "vague" else reason.code
    return Answer("failed", code, reason.status, reason.detail, refusal.retry_after)


def apply_refusal(
    connection: Connection, profile: Profile, refusal: Refusal, surroundings: Surroundings, now: int
) -> RecordChange:
    """Apply a complete response that is no token set: the attempt is over."""
    refused = _Refused(connection, profile, refusal, surroundings, now)
    change = RecordChange({**NO_ATTEMPT, **count_failure(connection, refused.reason, now)})
    change |= note_others(connection, surroundings, now)
    change |= _RULES[classify_refusal(connection, refusal)](refused)
    if refusal.answer_class not in ("refusal", "vague"):
        change |= require_owner_if_alone(connection, now)
    return change


def _apply_client_refusal(refused: _Refused) -> RecordChange:
    """The client's credentials are refused: no owner can help. One alert for each client."""
    connection, now = refused.connection, refused.now
    is_alert = refused.surroundings.client.is_alert_due(now)
    change = worsen_status(connection, Status.CLIENT_REFUSED, now, refused.reason, is_alert=is_alert)
    again = compute_retry_at(connection, refused.profile, connection.failures + 1, now, refused.refusal.retry_after)
    return change.set({"rejected_at": None, "rejected_code": None, **schedule_refresh(connection, again)})


def _apply_unauthorized_client(refused: _Refused) -> RecordChange:
    """RFC 6749 section 5.2: the client was authenticated. Whether it is the grant's fault, other connections show."""
    connection, client = refused.connection, refused.surroundings.client
    if client.is_open:
        return _apply_client_refusal(refused)
    has_others_accepted = client.accepted_at is not None and client.accepted_at > refused.since
    if connection.grant not in HEADLESS_GRANTS and has_others_accepted:
        return _apply_grant_rejection(refused)
    change = degrade(ignore_client_refusal(connection), refused.now, refused.reason, at_once=True)
    return change.set({**_remember(refused), **refused.retry_rejected()})


def _apply_grant_rejection(refused: _Refused) -> RecordChange:
    """Degrade at the first rejection; call for a person at the second, at least ten minutes later and unbroken."""
    # The provider rejects the grant, so it has accepted the client.
    connection, now = ignore_client_refusal(refused.connection), refused.now
    incident_at = refused.surroundings.client.incident_at
    if incident_at is not None and now < incident_at + INCIDENT_PATIENCE_SECONDS:
        change = degrade(connection, now, refused.reason, at_once=True)
        return change.set({**_remember(refused), **schedule_refresh(connection, now + MIN_SECOND_REJECTION_SECONDS)})
    if not refused.is_second:
        change = degrade(connection, now, refused.reason, at_once=True)
        return change.set({**_remember(refused), **refused.retry_rejected()})
    return _require_owner(refused)


def _apply_vague(refused: _Refused) -> RecordChange:
    """A refusal without a reason is the grant's where the endpoint answered another connection properly in between."""
    connection, endpoint = ignore_client_refusal(refused.connection), refused.surroundings.endpoint
    if refused.is_second and connection.generation:
        others_answered = endpoint.answered_at is not None and endpoint.answered_at > refused.since
        is_alone = not endpoint.has_others_failing(connection.name)
        if others_answered or (is_alone and refused.has_expired_for(MAX_ALONE_SECONDS)):
            return _require_owner(refused)
    change = degrade(connection, refused.now, refused.reason, at_once=True)
    return change.set({**_remember(refused), **refused.retry_rejected()})


def _apply_malformed(refused: _Refused) -> RecordChange:
    """A request that is called wrong, and worked before, is the grant's where others of the client are accepted."""
    connection, client = ignore_client_refusal(refused.connection), refused.surroundings.client
    has_others_accepted = client.accepted_at is not None and client.accepted_at > refused.since
    has_lasted = refused.now - refused.since >= _MAX_MALFORMED_SECONDS or (
        refused.is_second and refused.has_expired_for(_MAX_MALFORMED_AFTER_EXPIRY_SECONDS)
    )
    if connection.generation and connection.grant not in HEADLESS_GRANTS and has_others_accepted and has_lasted:
        return _require_owner(refused)
    change = degrade(connection, refused.now, refused.reason, at_once=True)
    return change.set({**_remember(refused), **refused.retry()})


def _apply_transient(refused: _Refused) -> RecordChange:
    """Nothing was used up: retried."""
    connection = ignore_client_refusal(refused.connection)
    again = refused.retry()
    expires_at = connection.expires_at
    is_too_late = expires_at is not None and refused.now < expires_at <= (again["refresh_at"] or 0)
    at_once = is_too_late or refused.surroundings.endpoint.has_failed_probe
    return degrade(connection, refused.now, refused.reason, at_once=at_once).set(again)


def _apply_unclear(refused: _Refused) -> RecordChange:
    """The provider may have used the refresh token; it is spared while the access token lives."""
    connection, now = ignore_client_refusal(refused.connection), refused.now
    if not is_single_use(connection, refused.profile):
        return _apply_transient(refused)
    since = connection.unclear_at or now
    again = refused.retry()
    if not is_within_grace(refused.profile, since, now):
        spared_until = compute_spared_until(connection, refused.profile, since, now, now)
        again = schedule_refresh(connection, spared_until) if spared_until > now else again
    at_once = refused.surroundings.endpoint.has_failed_probe
    return degrade(connection, now, refused.reason, at_once=at_once).set({"unclear_at": since, **again})


_RULES: Mapping[RefusalKind, Callable[[_Refused], RecordChange]] = {
    "transient": _apply_transient,
    "rate_limited": _apply_transient,
    "not_used": _apply_transient,
    "not_reached": _apply_transient,
    "unclear": _apply_unclear,
    "grant_rejected": _apply_grant_rejection,
    "client_rejected": _apply_client_refusal,
    "client_unauthorized": _apply_unauthorized_client,
    "rejected_unknown": _apply_vague,
    "malformed": _apply_malformed,
}


def _remember(refused: _Refused) -> RecordFields:
    """Remember since when the connection has been rejected by this code."""
    return {"rejected_at": refused.since, "rejected_code": refused.reason.code}


def _require_owner(refused: _Refused) -> RecordChange:
    """Call for the owner; a probe a day follows, since some providers recover."""
    connection = ignore_client_refusal(refused.connection)
    change = worsen_status(connection, Status.AUTHORIZATION_REQUIRED, refused.now, refused.reason)
    probe_at = refresh_schedule.compute_daily_probe_at(refused.now)
    return change.set({**_remember(refused), **schedule_refresh(connection, probe_at)})


def announce_incident(connection: Connection, client: Circuit, now: int) -> RecordChange:
    """Report that many grants of one client are refused at once: the operator's trouble, and no owner's yet."""
    refused = sorted(client.refusals)
    reason = client.refusals[connection.name].code if connection.name in client.refusals else None
    detail = {"reason": reason, "client": connection.client, "alert": True, "connections": refused[:MAX_LISTED]}
    return outbox.add_events(connection, create_event(EventType.GRANTS_REFUSED, connection, now, **detail))
