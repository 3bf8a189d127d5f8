"""A refresh attempt in doubt: its response is lost, and the provider may have acted. Pure.

Says when the same refresh token may be sent again, and what the record says meanwhile.
"""

from __future__ import annotations

from dataclasses import replace

from ..oauth.error_response import Refusal
from ..profiles.model import HEADLESS_GRANTS, Profile
from . import refresh_schedule
from .connection import Connection, RecordChange, RecordFields
from .failures import UNREADABLE, announce_failure, apply_refusal, count_failure, worsen_status
from .refresh_schedule import schedule_refresh
from .sealed import Sealed
from .state_machine import ignore_client_refusal, move
from .status import STATUSES_WITHOUT_GRANT, EventType, Status
from .token_save import NO_ATTEMPT

#: Outside the grace, a replay waits this long after the doubt was found. By then no worker that stalls and no message
#: that comes back a second time can still hold the response. It counts from the finding, not from the request: the
#: table may have been down in between.
MIN_REPLAY_DELAY_SECONDS = 900


def apply_lost_response(connection: Connection, profile: Profile, now: int) -> RecordChange:
    """Keep the attempt's marker: the response is lost, and the provider may have rotated the refresh token."""
    if not _is_single_use(connection, profile):
        return apply_refusal(connection, Refusal("transient", 0, "lost_response"), now)
    return RecordChange(count_failure(connection, "lost_response", now)) | wait_in_doubt(connection, profile, now)


def wait_in_doubt(connection: Connection, profile: Profile, now: int) -> RecordChange:
    """Wait until the attempt may be replayed, and say since when; or call for a person.

    Then it is probed daily like every grant that needs one, but only once the access token has expired: the provider
    may never have acted, and there is nothing left to lose.
    """
    again = compute_replay_at(connection, profile, now)
    found: RecordFields = {"in_doubt_since": connection.in_doubt_since or now}
    if again is None:
        probe = max(refresh_schedule.compute_daily_probe_at(now), connection.expires_at or now)
        change = worsen_status(connection, Status.AUTHORIZATION_REQUIRED, now, "lost_response")
        return change.set({**found, **schedule_refresh(connection, probe)})
    if again == now:
        again = _limit_to_grace(connection, profile, refresh_schedule.compute_backoff_at(connection.failures, now), now)
    change = worsen_status(ignore_client_refusal(connection), Status.DEGRADED, now, "lost_response")
    if connection.status is Status.CLIENT_REFUSED:
        # From now on it waits for the doubt, and not for the client's circuit.
        change = change.set({"last_error": "lost_response"})
    return change.set({**found, **schedule_refresh(connection, again)})


def apply_refusal_in_doubt(connection: Connection, profile: Profile, refusal: Refusal, now: int) -> RecordChange:
    """Apply the refusal of a replay, while an earlier request of the same attempt is in doubt.

    Only the grant's rejection says something about the earlier request. After any other refusal the marker stays, and
    the replay does not count, since the provider has not acted upon it. A rejection that may mean either client or
    grant leaves the doubt as it was.
    """
    change = apply_refusal(connection, refusal, now)
    if refusal.kind in ("grant_rejected", "client_unauthorized") or not _is_single_use(connection, profile):
        return change
    if refusal.kind == "rejected_unknown":
        failure = RecordChange(count_failure(connection, refusal.code or refusal.kind, now))
        return failure | wait_in_doubt(connection, profile, now)
    may_replay_at = compute_replay_at(replace(connection, attempt_replays=0), profile, now) or now
    again = max(may_replay_at, change.fields["refresh_at"] or now)
    if change.status is None:
        change = worsen_status(connection, Status.DEGRADED, now, "lost_response") | change
    return change.without(*NO_ATTEMPT).set(
        {
            "attempt_replays": 0,
            "in_doubt_since": connection.in_doubt_since or now,
            **schedule_refresh(connection, _limit_to_grace(connection, profile, again, now)),
        }
    )


def apply_unreadable_response(connection: Connection, profile: Profile, sealed: Sealed, now: int) -> RecordChange:
    """Keep a success that cannot be read, sealed, and stop refreshing until the operator has corrected the profile.

    Where nothing was used up, as by a maintenance page before a token that can be demanded afresh, it is an ordinary
    failure.
    """
    if not _is_single_use(connection, profile):
        return apply_refusal(connection, Refusal("malformed", 200, UNREADABLE), now)
    change = RecordChange({**NO_ATTEMPT, **count_failure(connection, UNREADABLE, now)})
    if connection.status not in STATUSES_WITHOUT_GRANT:
        # Nothing is tried again by itself, so it is an alert, also after another one.
        change |= move(connection.status, Status.DEGRADED)
        change |= announce_failure(EventType.DEGRADED, connection, now, UNREADABLE)
    return change.set({**schedule_refresh(connection, None), "unreadable_response": sealed})


def is_probe_due(connection: Connection, now: int) -> bool:
    """Whether the daily probe of an attempt that stayed in doubt is due (see :func:`wait_in_doubt`)."""
    is_expired = connection.expires_at is None or connection.expires_at <= now
    return is_expired and connection.refresh_at is not None and connection.refresh_at <= now


def compute_replay_at(connection: Connection, profile: Profile, now: int, *, forced: bool = False) -> int | None:
    """When an attempt in doubt may send the same refresh token again: now, later, or never again (None).

    Within the provider's grace at once. Outside it a replay may revoke the whole grant, so it happens once, and late:
    in the last quarter of the access token's life, and after half of what remained at the attempt. A provider that was
    down has time to recover, and a person some time to act. It never happens before
    :data:`MIN_REPLAY_DELAY_SECONDS`, even if the token has expired. An operator may force it after that.
    """
    if may_replay(connection, profile, now) or connection.attempt_at is None:
        return now
    found_at = now if connection.in_doubt_since is None else connection.in_doubt_since
    allowed_at = found_at + MIN_REPLAY_DELAY_SECONDS
    if forced:
        return max(allowed_at, now)
    if connection.attempt_replays > 0:
        return allowed_at if allowed_at > now else None
    lifetime = connection.token_lifetime
    if lifetime is None:
        return max(allowed_at, now)
    half_remaining_at = (connection.attempt_at + lifetime.expires_at) // 2
    return max(lifetime.last_quarter_at, half_remaining_at, allowed_at, now)


def may_replay(connection: Connection, profile: Profile, now: int) -> bool:
    """Whether the same refresh token may be sent again without harm: it is not single use, or within the grace."""
    grace = profile.rotation.reuse_grace
    return not _is_single_use(connection, profile) or (grace > 0 and now <= (connection.attempt_at or now) + grace)


def _limit_to_grace(connection: Connection, profile: Profile, at: int, now: int) -> int:
    """Return ``at``, but not after the end of the provider's grace, if that is still ahead."""
    ends_at = (connection.attempt_at or now) + profile.rotation.reuse_grace
    return min(at, ends_at) if now < ends_at else at


def _is_single_use(connection: Connection, profile: Profile) -> bool:
    return connection.grant not in HEADLESS_GRANTS and profile.rotation.rotates
