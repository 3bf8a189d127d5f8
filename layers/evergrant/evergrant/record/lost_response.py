"""A spend whose answer is not known: when the same refresh token may be sent again, and what the record says meanwhile.

Pure, as transitions are.
"""

from __future__ import annotations

from dataclasses import replace

from ..oauth.error_response import Refusal
from ..profiles.model import HEADLESS_GRANTS, Profile
from . import refresh_schedule
from .connection import Connection, EventType, Sealed, Status
from .failures import UNREADABLE, announce_failure, apply_refusal, count_failure, ignore_client_refusal, worsen_status
from .token_save import NO_ATTEMPT, STATUSES_WITHOUT_GRANT, Changes, schedule_refresh

#: A spend in doubt is not repeated outside the grace before so many seconds are over since it was found to be: by then
#: whoever may still hold its answer has had its turn, be it a worker that stalls or a message that comes back a second
#: time. Since it was found, and not since it was sent: the table may have been down in between.
MIN_REPLAY_DELAY_SECONDS = 900


def apply_lost_response(connection: Connection, profile: Profile, now: int) -> Changes:
    """The answer is lost and the provider may have rotated: the spend marker stays, and says since when."""
    if not _is_single_use(connection, profile):
        return apply_refusal(connection, Refusal("transient", 0, "lost_response"), now)
    return {**count_failure(connection, "lost_response", now), **wait_in_doubt(connection, profile, now)}


def wait_in_doubt(connection: Connection, profile: Profile, now: int) -> Changes:
    """Wait with a spend in doubt until it may be replayed, and say so, and since when; or ask for a person.

    Then it is probed like every grant that needs one, daily, but only once the access token has lapsed: the provider
    may never have acted, and there is nothing left to lose.
    """
    again = compute_replay_at(connection, profile, now)
    found = {"in_doubt_since": connection.in_doubt_since or now}
    if again is None:
        probe = max(refresh_schedule.compute_daily_probe_at(now), connection.expires_at or now)
        return {
            **found,
            **worsen_status(connection, Status.AUTHORIZATION_REQUIRED, now, "lost_response"),
            **schedule_refresh(connection, probe),
        }
    if again == now:
        again = _limit_to_grace(connection, profile, refresh_schedule.compute_backoff_at(connection.failures, now), now)
    # It is the doubt that it waits for now, whatever became of its client.
    blamed_on: Changes = {"last_error": "lost_response"} if connection.status is Status.CLIENT_REFUSED else {}
    degraded = worsen_status(ignore_client_refusal(connection), Status.DEGRADED, now, "lost_response")
    return {**found, **blamed_on, **degraded, **schedule_refresh(connection, again)}


def apply_refusal_in_doubt(connection: Connection, profile: Profile, refusal: Refusal, now: int) -> Changes:
    """A refusal of a replay, while an earlier attempt of the same spend is in doubt.

    Unless it is the grant that is refused, it says nothing of the earlier attempt: the marker stays, and this attempt,
    which the provider has not acted upon, does not count. An answer that may mean either leaves all as it was.
    """
    changes = apply_refusal(connection, refusal, now)
    if refusal.kind == "grant_rejected" or not _is_single_use(connection, profile):
        return changes
    if refusal.kind == "rejected_unknown":
        return {
            **count_failure(connection, refusal.code or refusal.kind, now),
            **wait_in_doubt(connection, profile, now),
        }
    at = max(compute_replay_at(replace(connection, attempt_replays=0), profile, now) or now, changes["refresh_at"])
    kept = {name: value for name, value in changes.items() if name not in NO_ATTEMPT}
    degraded = {} if "status" in kept else worsen_status(connection, Status.DEGRADED, now, "lost_response")  # told once
    return {
        **degraded,
        **kept,
        "attempt_replays": 0,
        "in_doubt_since": connection.in_doubt_since or now,
        **schedule_refresh(connection, _limit_to_grace(connection, profile, at, now)),
    }


def apply_unreadable_response(connection: Connection, profile: Profile, sealed: Sealed, now: int) -> Changes:
    """A success that cannot be read is kept, sealed, and spending stops until somebody mends the profile.

    Where nothing was spent by it, as by a maintenance page before a token that can be asked for afresh, it is a failure
    like others.
    """
    if not _is_single_use(connection, profile):
        return apply_refusal(connection, Refusal("malformed", 200, UNREADABLE), now)
    told: Changes = {}
    if connection.status not in STATUSES_WITHOUT_GRANT:
        # Nothing is tried again by itself, so somebody is told, whatever else was wrong and told before.
        told = {"status": Status.DEGRADED, **announce_failure(EventType.DEGRADED, connection, now, UNREADABLE)}
    return {
        **NO_ATTEMPT,
        **count_failure(connection, UNREADABLE, now),
        **told,
        **schedule_refresh(connection, None),
        "unreadable_response": sealed,
    }


def is_probe_due(connection: Connection, now: int) -> bool:
    """Whether the daily probe of a spend that stayed in doubt is due (see :func:`wait_in_doubt`)."""
    lapsed = connection.expires_at is None or connection.expires_at <= now
    return lapsed and connection.refresh_at is not None and connection.refresh_at <= now


def compute_replay_at(connection: Connection, profile: Profile, now: int, *, forced: bool = False) -> int | None:
    """When a spend in doubt may be repeated with the same refresh token: now, later, or never again (None).

    Inside the provider's grace at once. Outside it, a replay may revoke the whole grant, so it happens once, and
    late: in the last quarter of the access token's life, and with half of what remained at the spend gone, so that
    a provider that was down has time to recover, and a person some time to act if it was the last attempt; and never
    before :data:`MIN_REPLAY_DELAY_SECONDS`, even if the token has lapsed. An operator may force it at any time, but not
    before that either.
    """
    if may_replay(connection, profile, now) or connection.attempt_at is None:
        return now
    settled_at = (now if connection.in_doubt_since is None else connection.in_doubt_since) + MIN_REPLAY_DELAY_SECONDS
    if forced:
        return max(settled_at, now)
    if connection.attempt_replays > 0:
        return settled_at if settled_at > now else None
    life = connection.token_lifetime
    if life is None:
        return max(settled_at, now)
    return max(life.last_quarter_at, (connection.attempt_at + life.expires_at) // 2, settled_at, now)


def may_replay(connection: Connection, profile: Profile, now: int) -> bool:
    """Whether the same refresh token may be sent again without harm: it is not single use, or within the grace."""
    grace = profile.rotation.reuse_grace
    return not _is_single_use(connection, profile) or (grace > 0 and now <= (connection.attempt_at or now) + grace)


def _limit_to_grace(connection: Connection, profile: Profile, at: int, now: int) -> int:
    """``at``, but not after the provider's grace if it is not over yet."""
    ends = (connection.attempt_at or now) + profile.rotation.reuse_grace
    return min(at, ends) if now < ends else at


def _is_single_use(connection: Connection, profile: Profile) -> bool:
    return connection.grant not in HEADLESS_GRANTS and profile.rotation.rotates
