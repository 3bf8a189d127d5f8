"""A refresh attempt in doubt: its response is lost, and the provider may have acted. Pure.

Says when the same refresh token may be sent again, and what the record says meanwhile. A complete response is never
lost: after it no other worker can hold an answer (see :mod:`.refusals`).
"""

from __future__ import annotations

from dataclasses import replace

from ..oauth.error_response import Refusal
from ..profiles.model import Profile
from . import refresh_schedule
from .circuit import Surroundings
from .connection import Connection, RecordChange, RecordFields
from .failures import (
    UNREADABLE,
    Reason,
    announce_failure,
    count_failure,
    note_others,
    require_owner_if_alone,
    worsen_status,
)
from .refresh_schedule import schedule_refresh
from .refusals import apply_refusal, explain
from .retries import compute_retry_at, compute_spared_until, is_single_use, is_within_grace
from .sealed import Sealed
from .state_machine import ignore_client_refusal, move
from .status import STATUSES_WITHOUT_GRANT, EventType, Status
from .token_save import NO_ATTEMPT

#: Outside the grace, a replay waits this long after the doubt was found. By then no worker that stalls and no message
#: that comes back a second time can still hold the response. It counts from the finding, not from the request: the
#: table may have been down in between.
MIN_REPLAY_DELAY_SECONDS = 900
LOST = "lost_response"


def apply_lost_response(
    connection: Connection, profile: Profile, detail: str | None, surroundings: Surroundings, now: int
) -> RecordChange:
    """Keep the attempt's marker: the response is lost, and the provider may have rotated the refresh token."""
    if not is_single_use(connection, profile):
        lost = Refusal("transient", 0, LOST)
        return apply_refusal(connection, profile, lost, surroundings, now).set({"last_detail": detail})
    change = RecordChange(count_failure(connection, Reason(LOST, detail=detail), now))
    change |= note_others(connection, surroundings, now)
    # This response is in flight from now on, even where an earlier one was lost long ago.
    change |= wait_in_doubt(replace(connection, in_doubt_since=None), profile, now, tried_at=now)
    return change | require_owner_if_alone(connection, now)


def wait_in_doubt(connection: Connection, profile: Profile, now: int, *, tried_at: int | None = None) -> RecordChange:
    """Wait until the attempt may be replayed, and say since when; or call for a person.

    Then it is probed daily like every grant that needs one, but only once the access token has expired. ``tried_at`` is
    a request that the record does not show yet.
    """
    again = compute_replay_at(connection, profile, now, tried_at=tried_at)
    found: RecordFields = {"in_doubt_since": connection.in_doubt_since or now}
    if again is None:
        probe = max(refresh_schedule.compute_daily_probe_at(now), connection.expires_at or now)
        change = worsen_status(connection, Status.AUTHORIZATION_REQUIRED, now, Reason(LOST))
        return change.set({**found, **schedule_refresh(connection, probe)})
    if again == now:
        retry_at = compute_retry_at(connection, profile, connection.failures + 1, now)
        again = _limit_to_grace(connection, profile, retry_at, now)
    change = worsen_status(ignore_client_refusal(connection), Status.DEGRADED, now, Reason(LOST))
    if connection.status is Status.CLIENT_REFUSED:
        # From now on it waits for the doubt, and not for the client's circuit.
        change = change.set({"last_error": LOST, "last_status": None, "last_detail": None})
    return change.set({**found, **schedule_refresh(connection, again)})


def apply_refusal_in_doubt(
    connection: Connection, profile: Profile, refusal: Refusal, surroundings: Surroundings, now: int
) -> RecordChange:
    """Apply the refusal of a replay, while an earlier request of the same attempt is in doubt.

    A rejection of the grant ends the attempt. After any other refusal the marker stays while the earlier response may
    still be in flight, and the replay counts only if the provider may have acted upon it. Later the attempt is over,
    and its outcome unclear, except where reuse may end more than this grant.
    """
    change = apply_refusal(connection, profile, refusal, surroundings, now)
    if refusal.kind == "grant_rejected" or not is_single_use(connection, profile):
        return change
    found_at = connection.in_doubt_since or now
    if now >= found_at + MIN_REPLAY_DELAY_SECONDS and not _ends_whole_permission(profile):
        since = connection.attempt_at or now
        spared_until = compute_spared_until(connection, profile, since, now, now)
        at = max(change.fields["refresh_at"] or now, spared_until)
        return change.set({"unclear_at": since, **schedule_refresh(connection, at)})
    counted = connection if refusal.in_doubt else replace(connection, attempt_replays=0)
    waiting = RecordChange(count_failure(connection, explain(refusal), now))
    waiting |= wait_in_doubt(counted, profile, now, tried_at=now)
    again = max(now + (refusal.retry_after or 0), waiting.fields["refresh_at"] or now)
    return waiting.set(
        {
            "attempt_replays": counted.attempt_replays,
            **schedule_refresh(connection, _limit_to_grace(connection, profile, again, now)),
        }
    )


def apply_unreadable_response(
    connection: Connection, profile: Profile, sealed: Sealed, surroundings: Surroundings, now: int
) -> RecordChange:
    """Keep a success that cannot be read, sealed, and stop refreshing until the operator has corrected the profile.

    Where nothing was used up, as before a token that can be demanded afresh, it is an ordinary failure.
    """
    if not is_single_use(connection, profile):
        return apply_refusal(connection, profile, Refusal("malformed", 200, UNREADABLE), surroundings, now)
    change = RecordChange({**NO_ATTEMPT, **count_failure(connection, Reason(UNREADABLE, 200), now)})
    if connection.status not in STATUSES_WITHOUT_GRANT:
        # Nothing is tried again by itself, so it is an alert, also after another one.
        change |= move(connection.status, Status.DEGRADED)
        change |= announce_failure(EventType.DEGRADED, connection, now, Reason(UNREADABLE, 200), is_alert=True)
    return change.set({**schedule_refresh(connection, None), "unreadable_response": sealed})


def is_probe_due(connection: Connection, now: int) -> bool:
    """Whether the daily probe of an attempt that stayed in doubt is due (see :func:`wait_in_doubt`).

    A worker that was killed while it probed leaves no date for the next probe.
    """
    is_planned = connection.status is Status.AUTHORIZATION_REQUIRED and connection.in_doubt_since is not None
    is_expired = connection.expires_at is None or connection.expires_at <= now
    return is_planned and is_expired and connection.refresh_at is not None and connection.refresh_at <= now


def compute_replay_at(connection: Connection, profile: Profile, now: int, *, tried_at: int | None = None) -> int | None:
    """When an attempt in doubt may send the same refresh token again: now, later, or never again (None).

    Within the provider's grace at once. Outside it, never while another worker may still hold the response, and then
    when a refresh token is no longer spared. Where a revocation ends all that the account has granted to this client,
    the grants of other connections are at stake too: there it happens once.
    """
    if may_replay(connection, profile, now) or connection.attempt_at is None:
        return now
    found_at = now if connection.in_doubt_since is None else connection.in_doubt_since
    allowed_at = found_at + MIN_REPLAY_DELAY_SECONDS
    if connection.attempt_replays > 0 and _ends_whole_permission(profile):
        is_over = tried_at or allowed_at <= now or connection.status is Status.AUTHORIZATION_REQUIRED
        return None if is_over else allowed_at
    # A worker that was killed while it replayed has left nothing but the doubt.
    last_tried_at = tried_at or max(found_at, connection.last_error_at or 0)
    return max(allowed_at, compute_spared_until(connection, profile, connection.attempt_at, last_tried_at, now), now)


def may_replay(connection: Connection, profile: Profile, now: int) -> bool:
    """Whether the same refresh token may be sent again without harm: it is not single use, or within the grace."""
    return not is_single_use(connection, profile) or is_within_grace(profile, connection.attempt_at or now, now)


def _ends_whole_permission(profile: Profile) -> bool:
    return profile.revoke is not None and profile.revoke.scope == "grant"


def _limit_to_grace(connection: Connection, profile: Profile, at: int, now: int) -> int:
    """Return ``at``, but not after the last second of the provider's grace, if that is still ahead."""
    ends_at = (connection.attempt_at or now) + profile.rotation.reuse_grace - 1
    return min(at, ends_at) if now < ends_at else at
