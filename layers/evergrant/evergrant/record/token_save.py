"""What a step of the rotation changes in the record. Pure: record in, changes out, ``now`` an argument.

Each function returns ``changes`` as :meth:`evergrant.ports.Records.change` takes them. What a try that failed changes
is in :mod:`~evergrant.record.failures`, what a lost answer does in :mod:`~evergrant.record.lost_response`.
"""

from __future__ import annotations

from typing import Any

from ..oauth.token_set import TokenSet
from ..profiles.model import HEADLESS_GRANTS, Profile
from ..settings import Settings
from ..times import TICK_SECONDS, format_rfc3339
from . import alerts, grant_end, outbox, refresh_schedule, unpublished
from .connection import Connection, EventType, Sealed, Status, create_event, find_earliest

Changes = dict[str, Any]
STATUSES_WITHOUT_GRANT = (Status.AUTHORIZATION_REQUIRED, Status.AWAITING_AUTHORIZATION)
RELEASED_LEASE: Changes = {"lease_owner": None, "lease_until": None}
NO_ATTEMPT: Changes = {"attempt_id": None, "attempt_at": None, "attempt_replays": 0, "in_doubt_since": None}


def schedule_due(connection: Connection, at: int | None) -> Changes:
    """Put the connection into the due index at ``at``, or take it out with None."""
    return {"due_at": at, "due_shard": None if at is None else refresh_schedule.choose_shard(connection.name)}


def schedule_refresh(connection: Connection, at: int | None) -> Changes:
    """The next refresh is meant to happen at ``at``."""
    return {"refresh_at": at, **schedule_due(connection, find_earliest(at, connection.warn_at))}


def is_directly_readable(connection: Connection, tokens: TokenSet, profile: Profile, settings: Settings) -> bool:
    """Whether the token set gets a ``tokens/`` secret (see :class:`~evergrant.settings.Settings`).

    Not where it could not be refreshed twice the largest consumer cache before it lapses: somebody would send a dead
    token from a cache. A pasted key lapses once, whoever keeps it.
    """
    if not connection.direct_read or tokens.lifetime < settings.direct_read_min_lifetime:
        return False
    if connection.grant == "static":
        return True
    lead = refresh_schedule.compute_lead(
        refresh_schedule.TokenLifetime(tokens.issued_at, tokens.expires_at), profile.rotation, settings.consumer_cache
    )
    in_time = 2 * settings.consumer_cache <= lead <= tokens.lifetime - profile.rotation.minimum_age
    return in_time and not profile.rotation.old_access_token_revoked


def save_token_set(
    connection: Connection, tokens: TokenSet, sealed: Sealed, profile: Profile, settings: Settings, now: int
) -> Changes:
    """An answer of the provider becomes the next generation, due for publication soon."""
    generation = connection.generation + 1
    life = refresh_schedule.TokenLifetime(tokens.issued_at, tokens.expires_at)
    end = grant_end.classify_end(connection, tokens)
    ends_at = tokens.refresh_expires_at if end == "moves" else connection.refresh_expires_at
    moves = profile.rotation.refresh_token_life != "hard" and end != "stays"  # noqa: S105
    if ends_at and tokens.issued_at < ends_at < tokens.expires_at and moves:
        # The refresh token dies first, and a refresh moves its end: that sets the time. An end that stays where it is
        # cannot be outrun.
        life = refresh_schedule.TokenLifetime(tokens.issued_at, ends_at)
    refresh_at = refresh_schedule.compute_refresh_at(
        life, profile.rotation, settings.consumer_cache, connection.name, generation
    )
    if connection.grant == "static":
        refresh_at = tokens.expires_at  # nothing renews it: that is when somebody has to be told
    elif profile.rotation.refresh == "on_demand" and (connection.grant in HEADLESS_GRANTS or tokens.refresh_token):
        refresh_at = refresh_schedule.compute_keep_alive_at(life, ends_at, profile.rotation, refresh_at)
    changes: Changes = {
        **NO_ATTEMPT,
        "status": Status.ACTIVE,
        "generation": generation,
        "sealed": sealed,
        "unreadable_response": None,
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
        "warn_at": grant_end.compute_warn_at(connection, profile, end, tokens.issued_at, ends_at),
        "refresh_at": refresh_at,
        # Due soon until it is published, so that a worker that dies now is followed by another.
        **schedule_due(connection, now + TICK_SECONDS),
    }
    if not is_directly_readable(connection, tokens, profile, settings):
        changes["published_generation"] = generation
    detail = {"generation": generation, "expires_at": format_rfc3339(tokens.expires_at)}
    if connection.status is Status.AWAITING_AUTHORIZATION:
        events = create_event(EventType.AUTHORIZED, connection, now, **detail)
    else:
        events = create_event(EventType.ROTATED, connection, now, **detail)
        lasting = {} if "published_generation" in changes else unpublished.carry_over(connection, now)
        if lasting:
            changes |= lasting
        elif connection.status is not Status.ACTIVE:
            events |= create_event(EventType.RECOVERED, connection, now, alert=connection.alerted_at is not None)
    return changes | outbox.add_events(connection, events)


def apply_expiry_warning(connection: Connection, now: int) -> Changes:
    """The grant ends soon: somebody is told, unless a person has to authorize again anyway."""
    ends_at = connection.refresh_expires_at
    if ends_at is None or connection.status in STATUSES_WITHOUT_GRANT:
        return {"warn_at": None, **schedule_due(connection, connection.refresh_at)}
    changes = outbox.add_events(
        connection, create_event(EventType.GRANT_EXPIRING, connection, now, ends_at=format_rfc3339(ends_at))
    )
    return deliver_soon(connection, {"warn_at": alerts.compute_next_warning_at(ends_at, now), **changes}, now)


def deliver_soon(connection: Connection, changes: Changes, now: int) -> Changes:
    """A change with an event is due at the next tick, whatever else it is due for: nobody else delivers the event."""
    if not outbox.has_event(changes):
        return changes
    at = changes.get("refresh_at", connection.refresh_at)
    return {
        **changes,
        **schedule_due(
            connection,
            min(at if at is not None else now + TICK_SECONDS, now + TICK_SECONDS),
        ),
    }


def keep_status(changes: Changes) -> Changes:
    """A save for a connection that was paused meanwhile: the set is kept, the state stays.

    It is due all the same: somebody has to deliver its events.
    """
    return {name: value for name, value in changes.items() if name != "status"}
