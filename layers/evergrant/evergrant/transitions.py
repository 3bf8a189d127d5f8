"""What a step of the rotation changes in the record. Pure: record in, changes out, ``now`` an argument.

Each function returns ``changes`` as :meth:`evergrant.ports.Records.change` takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from . import ending, notices, outbox, schedule, unpublished
from .connection import Connection, EventType, Sealed, Status, earliest, event
from .dialect import Refusal
from .profile import HEADLESS, FailureKind, Profile
from .settings import Settings
from .times import rfc3339
from .tokens import TokenSet

Changes = dict[str, Any]

#: A second rejection counts as the last word only this many seconds after the first.
SECOND_STRIKE = 600
#: Failures in a row after which a connection is called degraded.
DEGRADED_AFTER = 3
#: A spend in doubt is not repeated outside the grace before so many seconds are over: by then whoever may still hold
#: its answer has had its turn, be it a worker that stalls or a message that comes back a second time.
SETTLED = 900
#: An operator mends a client within hours, not seconds.
CLIENT_PROBE = 3600

#: The error of a connection whose refresh a service of AWS stood in the way of.
SERVICE_UNAVAILABLE = "service_unavailable"
#: The error of a connection whose provider's answer waits to be read.
UNREAD = "unread_answer"

RELEASED: Changes = {"lease_owner": None, "lease_until": None}
NOT_SPENT: Changes = {"spend_id": None, "spend_at": None, "spend_tries": 0}


def due(connection: Connection, at: int | None) -> Changes:
    """Put the connection into the due index at ``at``, or take it out with None."""
    return {"due_at": at, "due_shard": None if at is None else schedule.shard(connection.name)}


def next_at(connection: Connection, at: int | None) -> Changes:
    """The next refresh is meant to happen at ``at``."""
    return {"refresh_at": at, **due(connection, earliest(at, connection.warn_at))}


def directly_readable(connection: Connection, tokens: TokenSet, profile: Profile, settings: Settings) -> bool:
    """Whether the token set gets a ``tokens/`` secret (see :class:`~evergrant.settings.Settings`).

    Not where it could not be refreshed twice the largest consumer cache before it lapses: somebody would send a dead
    token from a cache. A pasted key lapses once, whoever keeps it.
    """
    if not connection.direct_read or tokens.lifetime < settings.direct_read_min_lifetime:
        return False
    if connection.grant == "static":
        return True
    lead = schedule.lead(schedule.Life(tokens.issued_at, tokens.expires_at), profile.rotation, settings.consumer_cache)
    in_time = 2 * settings.consumer_cache <= lead <= tokens.lifetime - profile.rotation.minimum_age
    return in_time and not profile.rotation.old_access_token_revoked


def saved(
    connection: Connection, tokens: TokenSet, sealed: Sealed, profile: Profile, settings: Settings, now: int
) -> Changes:
    """An answer of the provider becomes the next generation, due for publication soon."""
    generation = connection.generation + 1
    life = schedule.Life(tokens.issued_at, tokens.expires_at)
    end = ending.told(connection, tokens)
    ends_at = tokens.refresh_expires_at if end == "moves" else connection.refresh_expires_at
    moves = profile.rotation.refresh_token_life != "hard" and end != "stays"  # noqa: S105
    if ends_at and tokens.issued_at < ends_at < tokens.expires_at and moves:
        # The refresh token dies first, and a refresh moves its end: that sets the time. An end that stays where it is
        # cannot be outrun.
        life = schedule.Life(tokens.issued_at, ends_at)
    refresh_at = schedule.refresh_at(life, profile.rotation, settings.consumer_cache, connection.name, generation)
    if connection.grant == "static":
        refresh_at = tokens.expires_at  # nothing renews it: that is when somebody has to be told
    elif profile.rotation.refresh == "on_demand" and (connection.grant in HEADLESS or tokens.refresh_token):
        refresh_at = schedule.keep_alive_at(life, ends_at, profile.rotation, refresh_at)
    changes: Changes = {
        **NOT_SPENT,
        "status": Status.ACTIVE,
        "generation": generation,
        "sealed": sealed,
        "unread_answer": None,
        "issued_at": tokens.issued_at,
        "expires_at": tokens.expires_at,
        "refresh_expires_at": ends_at,
        "expiry_rule": tokens.expiry_rule,
        "failures": 0,
        "last_error": None,
        "last_error_at": None,
        "rejected_at": None,
        "alerted_at": None,
        "early_refreshes": 0,
        "warn_at": ending.warn_at(connection, profile, end, tokens.issued_at, ends_at),
        "refresh_at": refresh_at,
        # Due soon until it is published, so that a worker that dies now is followed by another.
        **due(connection, now + schedule.TICK),
    }
    if not directly_readable(connection, tokens, profile, settings):
        changes["published_generation"] = generation
    detail = {"generation": generation, "expires_at": rfc3339(tokens.expires_at)}
    if connection.status is Status.AWAITING_AUTHORIZATION:
        events = event(EventType.AUTHORIZED, connection, now, **detail)
    else:
        events = event(EventType.ROTATED, connection, now, **detail)
        lasting = {} if "published_generation" in changes else unpublished.carried_over(connection, now)
        if lasting:
            changes |= lasting
        elif connection.status is not Status.ACTIVE:
            events |= event(EventType.RECOVERED, connection, now, alert=connection.alerted_at is not None)
    return changes | outbox.taken(connection, events)


def blamed(connection: Connection, refusal: Refusal) -> FailureKind:
    """The kind of a refusal, seen for itself. Where the client is the grant there is no other to blame."""
    if connection.grant in HEADLESS and refusal.kind in ("grant_rejected", "rejected_unknown"):
        return "client_rejected"
    return refusal.kind


def unblamed(connection: Connection) -> Connection:
    """The connection as one that its client's refusal no longer holds back: what fails now is news."""
    if connection.status is not Status.CLIENT_REFUSED:
        return connection
    return replace(connection, status=Status.ACTIVE, alerted_at=None)


def warned(connection: Connection, now: int) -> Changes:
    """The grant ends soon: somebody is told, unless a person has to authorize again anyway."""
    ends_at = connection.refresh_expires_at
    if ends_at is None or connection.status in _NO_GRANT:
        return {"warn_at": None, **due(connection, connection.refresh_at)}
    changes = outbox.taken(connection, event(EventType.GRANT_EXPIRING, connection, now, ends_at=rfc3339(ends_at)))
    return due_soon(connection, {"warn_at": notices.next_warning(ends_at, now), **changes}, now)


def still_failing(connection: Connection, changes: Mapping[str, Any], now: int) -> Changes:
    """``changes`` of a try that failed; somebody is told, once, when the token in hand is about to lapse."""
    status = changes.get("status", connection.status)
    alerted_at = changes.get("alerted_at", connection.alerted_at)
    if not changes or status is not Status.DEGRADED or alerted_at:
        return dict(changes)
    error = changes.get("last_error", connection.last_error) or status
    urgent = _urgent(connection, now) or _too_late(connection, changes.get("refresh_at"), now)
    return {**changes, **_told(EventType.DEGRADED, connection, now, error, urgent=True)} if urgent else dict(changes)


def refused(connection: Connection, refusal: Refusal, now: int) -> Changes:
    """A whole answer of the provider that is no token set, and that it has certainly not acted upon."""
    kind = blamed(connection, refusal)
    error = refusal.code or kind
    if kind == "client_rejected":
        return {
            **NOT_SPENT,
            **_failure(connection, error, now),
            **_status(connection, Status.CLIENT_REFUSED, now, error),
            **next_at(connection, now + CLIENT_PROBE),
        }
    if kind in ("grant_rejected", "rejected_unknown"):
        return {**NOT_SPENT, **_failure(connection, error, now), **_strike(connection, now, error)}
    failures = connection.failures + 1
    changes = {**NOT_SPENT, **_failure(connection, error, now)}
    again = schedule.backoff(DEGRADED_AFTER + failures if kind == "malformed" else failures, now, refusal.retry_after)
    if kind == "malformed" or failures >= DEGRADED_AFTER or _too_late(connection, again, now):
        changes |= _status(connection, Status.DEGRADED, now, error)
    return {**changes, **next_at(connection, again)}


def refused_in_doubt(connection: Connection, profile: Profile, refusal: Refusal, now: int) -> Changes:
    """A refusal of a replay, while an earlier attempt of the same spend is in doubt.

    Unless it is the grant that is refused, it says nothing of the earlier attempt: the marker stays, and this attempt,
    which the provider has not acted upon, does not count. An answer that may mean either leaves all as it was.
    """
    connection = _accounted(connection)
    changes = refused(connection, refusal, now)
    if refusal.kind == "grant_rejected" or not _single_use(connection, profile):
        return changes
    if refusal.kind == "rejected_unknown":
        return {**_failure(connection, refusal.code or refusal.kind, now), **in_doubt(connection, profile, now)}
    at = max(replay_at(replace(connection, spend_tries=0), profile, now) or now, changes["refresh_at"])
    kept = {name: value for name, value in changes.items() if name not in NOT_SPENT}
    return {
        **_status(connection, Status.DEGRADED, now, "lost_answer"),
        **kept,
        "spend_tries": 0,
        **next_at(connection, _within_grace(connection, profile, at, now)),
    }


#: What a request that never reached the provider comes to: the refresh token is as good as before.
NOT_SENT = Refusal("transient", 0, "not_sent")


def lost(connection: Connection, profile: Profile, now: int) -> Changes:
    """The answer is lost and the provider may have rotated: the spend marker stays, and says since when."""
    if not _single_use(connection, profile):
        return refused(connection, Refusal("transient", 0, "lost_answer"), now)
    return {**_failure(connection, "lost_answer", now), **in_doubt(_accounted(connection), profile, now)}


def in_doubt(connection: Connection, profile: Profile, now: int) -> Changes:
    """Wait with a spend in doubt until it may be replayed, and say so; or ask for a person.

    Then it is probed like every grant that needs one, daily, but only once the access token has lapsed: the provider
    may never have acted, and there is nothing left to lose.
    """
    again = replay_at(connection, profile, now)
    found: Changes = {"lease_owner": None, "lease_until": now} if connection.lease_owner is not None else {}
    if again is None:
        probe = max(schedule.daily_probe(now), connection.expires_at or now)
        return {
            **_status(connection, Status.AUTHORIZATION_REQUIRED, now, "lost_answer"),
            **next_at(connection, probe),
        }
    if again == now:
        again = _within_grace(connection, profile, schedule.backoff(connection.failures, now), now)
    # It is the doubt that it waits for now, whatever became of its client.
    blamed_on: Changes = {"last_error": "lost_answer"} if connection.status is Status.CLIENT_REFUSED else {}
    degraded = _status(unblamed(connection), Status.DEGRADED, now, "lost_answer")
    return {**found, **blamed_on, **degraded, **next_at(connection, again)}


def probe_due(connection: Connection, now: int) -> bool:
    """Whether the daily probe of a spend that stayed in doubt is due (see :func:`in_doubt`)."""
    lapsed = connection.expires_at is None or connection.expires_at <= now
    return lapsed and connection.refresh_at is not None and connection.refresh_at <= now


def unprepared(connection: Connection, error: str, now: int) -> Changes:
    """Something that a refresh needs is missing or unusable on our side; nothing was sent."""
    failures = connection.failures + 1
    changes = {**_failure(connection, error, now), **next_at(connection, schedule.backoff(failures, now))}
    if error != SERVICE_UNAVAILABLE or failures >= DEGRADED_AFTER:
        changes |= _status(unblamed(connection), Status.DEGRADED, now, error)
    return changes


def must_authorize(connection: Connection, now: int) -> Changes:
    """There is nothing to refresh with: a person has to authorize again, or to paste another key."""
    error = "no_refresh_token"
    if connection.grant == "static":
        error = "key_lapsed" if (connection.expires_at or 0) <= now else "key_refused"
    return {
        "last_error": error,
        "last_error_at": now,
        **_status(connection, Status.AUTHORIZATION_REQUIRED, now, error),
        **next_at(connection, None),
    }


def due_soon(connection: Connection, changes: Changes, now: int) -> Changes:
    """A change with an event is due at the next tick, whatever else it is due for: nobody else delivers the event."""
    if not any(name.startswith("outbox.") for name in changes):
        return changes
    at = changes.get("refresh_at", connection.refresh_at)
    return {**changes, **due(connection, min(at if at is not None else now + schedule.TICK, now + schedule.TICK))}


def keeping_rest(changes: Changes) -> Changes:
    """A save for a connection that was paused meanwhile: the set is kept, the state stays.

    It is due all the same: somebody has to deliver its events.
    """
    return {name: value for name, value in changes.items() if name != "status"}


def unread(connection: Connection, profile: Profile, sealed: Sealed, now: int) -> Changes:
    """A success that cannot be read is kept, sealed, and spending stops until somebody mends the profile.

    Where nothing was spent by it, as by a maintenance page before a token that can be asked for afresh, it is a failure
    like others.
    """
    if not _single_use(connection, profile):
        return refused(connection, Refusal("malformed", 200, UNREAD), now)
    told: Changes = {}
    if connection.status not in _NO_GRANT:
        # Nothing is tried again by itself, so somebody is told, whatever else was wrong and told before.
        told = {"status": Status.DEGRADED, **_told(EventType.DEGRADED, connection, now, UNREAD)}
    return {
        **NOT_SPENT,
        **_failure(connection, UNREAD, now),
        **told,
        **next_at(connection, None),
        "unread_answer": sealed,
    }


def replay_at(connection: Connection, profile: Profile, now: int, *, forced: bool = False) -> int | None:
    """When a spend in doubt may be repeated with the same refresh token: now, later, or never again (None).

    Inside the provider's grace at once. Outside it, a replay may revoke the whole grant, so it happens once, and
    late: in the last quarter of the access token's life, and with half of what remained at the spend gone, so that
    a provider that was down has time to recover, and a person some time to act if it was the last attempt; and never
    before :data:`SETTLED`, even if the token has lapsed. An operator may force it at any time, but not
    before that either.
    """
    if may_replay(connection, profile, now) or connection.spend_at is None:
        return now
    settled_at = _settled_at(connection, now)
    if forced:
        return max(settled_at, now)
    if connection.spend_tries > 0:
        return settled_at if connection.lease_until is not None and settled_at > now else None
    life = connection.life
    if life is None:
        return max(settled_at, now)
    return max(life.last_quarter_at, (connection.spend_at + life.expires_at) // 2, settled_at, now)


def _settled_at(connection: Connection, now: int) -> int:
    """When nobody holds an answer of this spend any more.

    A try that was never accounted for left its lease behind. Whoever finds it takes its owner off (:func:`in_doubt`),
    and it is from then on that time counts: until then the table may have been down, with the answer in the queue.
    """
    if connection.lease_owner is not None:
        return now + SETTLED
    return max(connection.spend_at or 0, connection.lease_until or 0) + SETTLED


def _accounted(connection: Connection) -> Connection:
    """The record as it is once the worker that has the lease wrote down what came of its try."""
    return replace(connection, lease_owner=None, lease_until=None)


def may_replay(connection: Connection, profile: Profile, now: int) -> bool:
    """Whether the same refresh token may be sent again without harm: it is not single use, or within the grace."""
    grace = profile.rotation.reuse_grace
    return not _single_use(connection, profile) or (grace > 0 and now <= (connection.spend_at or now) + grace)


def _within_grace(connection: Connection, profile: Profile, at: int, now: int) -> int:
    """``at``, but not after the provider's grace if it is not over yet."""
    ends = (connection.spend_at or now) + profile.rotation.reuse_grace
    return min(at, ends) if now < ends else at


def _single_use(connection: Connection, profile: Profile) -> bool:
    return connection.grant not in HEADLESS and profile.rotation.rotates


def _failure(connection: Connection, error: str, now: int) -> Changes:
    return {"failures": connection.failures + 1, "last_error": error, "last_error_at": now}


def _strike(connection: Connection, now: int, error: str) -> Changes:
    """One rejection degrades; a second one, at least ten minutes later and unbroken, needs a person."""
    connection = unblamed(connection)  # it is the grant now: the client was accepted
    if connection.rejected_at is None:
        again = next_at(connection, now + SECOND_STRIKE)
        return {"rejected_at": now, **_status(connection, Status.DEGRADED, now, error), **again}
    if now < connection.rejected_at + SECOND_STRIKE:
        return next_at(connection, connection.rejected_at + SECOND_STRIKE)
    return {
        **_status(connection, Status.AUTHORIZATION_REQUIRED, now, error),
        **next_at(connection, schedule.daily_probe(now)),
    }


_EVENT_OF = {
    Status.DEGRADED: EventType.DEGRADED,
    Status.AUTHORIZATION_REQUIRED: EventType.AUTHORIZATION_REQUIRED,
    Status.CLIENT_REFUSED: EventType.CLIENT_REFUSED,
}
_NO_GRANT = (Status.AUTHORIZATION_REQUIRED, Status.AWAITING_AUTHORIZATION)
_WORSE_THAN_DEGRADED = (Status.AUTHORIZATION_REQUIRED, Status.CLIENT_REFUSED, Status.AWAITING_AUTHORIZATION)


def _status(connection: Connection, status: Status, now: int, error: str) -> Changes:
    if connection.status is status or (status is Status.DEGRADED and connection.status in _WORSE_THAN_DEGRADED):
        return {}
    return {"status": status, **_told(_EVENT_OF[status], connection, now, error)}


def _told(kind: EventType, connection: Connection, now: int, error: str, *, urgent: bool = False) -> Changes:
    """A change for the worse, as an event. It is an alert where somebody has to act, or may have to soon."""
    alert = kind is not EventType.DEGRADED or error == UNREAD or urgent or _urgent(connection, now)
    detail: dict[str, Any] = {"reason": error, "client": connection.client, "alert": alert}
    if connection.expires_at is not None:
        detail["expires_at"] = rfc3339(connection.expires_at)
    events = outbox.taken(connection, event(kind, connection, now, **detail))
    return {**events, "alerted_at": now if alert else None}


def _too_late(connection: Connection, again: int | None, now: int) -> bool:
    """Whether a living token lapses before the next try: a provider may ask for a day's patience (Retry-After)."""
    return again is not None and connection.expires_at is not None and now < connection.expires_at <= again


def _urgent(connection: Connection, now: int) -> bool:
    """Whether the token in hand is within its last quarter."""
    return connection.life is None or now >= connection.life.last_quarter_at
