"""What saving and publishing a token set change in the record. Pure: record in, change out, ``now`` an argument.

Refreshing works while Secrets Manager refuses a token set, so a save alone does not end that trouble. Consumers of the
secret hold an older token, which expires about one lead after the refresh.
"""

from __future__ import annotations

from ..errors import EvergrantError
from ..oauth.token_request import choose_phase, find_endpoint
from ..oauth.token_set import MAX_EXPIRED_ARRIVALS, TokenLifetime, TokenSet
from ..profiles.model import HEADLESS_GRANTS, Profile
from ..settings import Settings
from ..times import TICK_SECONDS, format_rfc3339
from . import expired_arrivals, expiry_warning, granted_scope, outbox, refresh_schedule, state_machine
from .connection import UNPUBLISHED, Connection, Events, RecordChange, RecordFields, create_event, find_earliest
from .refresh_schedule import schedule_due
from .sealed import Sealed
from .status import EventType, Status

RELEASED_LEASE: RecordFields = {"lease_owner": None, "lease_until": None}
NO_ATTEMPT: RecordFields = {"attempt_id": None, "attempt_at": None, "attempt_replays": 0, "in_doubt_since": None}
#: The record of a connection that last succeeded.
NO_FAILURE: RecordFields = {
    "failures": 0,
    "failing_since": None,
    "alone_since": None,
    "last_error": None,
    "last_error_at": None,
    "last_status": None,
    "last_detail": None,
    "rejected_at": None,
    "rejected_code": None,
    "unclear_at": None,
    "token_rejected_at": None,
}
#: Seconds of failed publications after which the operator is alerted: half of the shortest lead.
ALERT_DELAY_SECONDS = 300

_RUNNING = (Status.ACTIVE, Status.DEGRADED)


def is_directly_readable(connection: Connection, tokens: TokenSet, profile: Profile, settings: Settings) -> bool:
    """Whether the token set gets a ``tokens/`` secret (see :class:`~evergrant.settings.Settings`).

    It gets none where it could not be refreshed twice the largest consumer cache before it expires: a consumer would
    send an expired token from its cache. A pasted key expires once, so its cache makes no difference.
    """
    lifetime = tokens.lifetime
    if not connection.direct_read or lifetime < settings.direct_read_min_lifetime:
        return False
    if connection.grant == "static":
        return True
    lead = refresh_schedule.compute_lead(lifetime, profile.rotation, settings.consumer_cache)
    is_in_time = 2 * settings.consumer_cache <= lead <= lifetime - profile.rotation.minimum_age
    return is_in_time and not profile.rotation.old_access_token_revoked


def save_token_set(
    connection: Connection, tokens: TokenSet, sealed: Sealed, profile: Profile, settings: Settings, now: int
) -> RecordChange:
    """Make a token response the next generation, due for publication soon."""
    generation = connection.generation + 1
    end = expiry_warning.classify_end(connection, tokens)
    ends_at = tokens.refresh_expires_at if end == "moves" else connection.refresh_expires_at
    fields: RecordFields = {
        **NO_ATTEMPT,
        "endpoint": _find_endpoint(connection, tokens, profile, settings),
        "generation": generation,
        "sealed": sealed,
        "unreadable_response": None,
        "issued_at": tokens.issued_at,
        "expires_at": tokens.expires_at,
        "refresh_expires_at": ends_at,
        "expiry_rule": tokens.expiry_rule,
        "expiry_doubt": tokens.expiry_doubt,
        **NO_FAILURE,
        "alerted_at": None,
        "early_refreshes": 0,
        "warn_at": expiry_warning.compute_warn_at(connection, profile, end, tokens.issued_at, ends_at),
        "refresh_at": _compute_refresh_at(connection, tokens, profile, settings, ends_at, is_fixed=end == "stays"),
        # Due soon until it is published, so that a worker that dies now is followed by another.
        **schedule_due(connection, now + TICK_SECONDS),
    }
    scopes = granted_scope.compare_scopes(connection, tokens, profile) if tokens.scope else RecordFields()
    change = state_machine.move(connection.status, Status.ACTIVE).set({**fields, **scopes})
    if is_directly_readable(connection, tokens, profile, settings):
        still_unpublished = carry_over(connection, now)
    else:
        change = change.set({"published_generation": generation})
        still_unpublished = RecordChange()
    trouble = still_unpublished
    if tokens.expired_arrivals >= MAX_EXPIRED_ARRIVALS:
        trouble |= expired_arrivals.report_expired_arrivals(connection, now)
    events = _report_save(connection, tokens, generation, now, is_recovered=not trouble)
    if scopes.get("lost_scope"):
        events = {**events, **granted_scope.report_lost_scopes(connection, scopes.get("lost_scope"), now)}
    return change | trouble | outbox.add_events(connection, events)


def _find_endpoint(connection: Connection, tokens: TokenSet, profile: Profile, settings: Settings) -> str | None:
    """Find the token endpoint of the next refresh, by which its circuit is found. A save never fails for it."""
    phase = choose_phase(profile, connection.grant, tokens)
    try:
        return find_endpoint(profile, phase, connection.variables, loopback=settings.allow_loopback) or None
    except EvergrantError:
        return None  # the next refresh says which variable is wrong


def _compute_refresh_at(
    connection: Connection,
    tokens: TokenSet,
    profile: Profile,
    settings: Settings,
    ends_at: int | None,
    *,
    is_fixed: bool,
) -> int:
    """When to refresh the token set; ``is_fixed`` says that a refresh does not move the grant's end, ``ends_at``."""
    if connection.grant == "static":
        return tokens.expires_at  # nothing renews a pasted key: at its end the operator is alerted
    lifetime = TokenLifetime(tokens.issued_at, tokens.expires_at)
    moves = profile.rotation.refresh_token_life != "hard" and not is_fixed  # noqa: S105
    if ends_at and tokens.issued_at < ends_at < tokens.expires_at and moves:
        # The refresh token expires first, and a refresh moves its end: that sets the time. No refresh outruns an end
        # that stays where it is.
        lifetime = TokenLifetime(tokens.issued_at, ends_at)
    refresh_at = refresh_schedule.compute_refresh_at(
        lifetime, profile.rotation, settings.consumer_cache, connection.name, connection.generation + 1
    )
    is_renewable = connection.grant in HEADLESS_GRANTS or tokens.refresh_token is not None
    if profile.rotation.refresh == "on_demand" and is_renewable:
        return refresh_schedule.compute_keep_alive_at(lifetime, ends_at, profile.rotation, refresh_at)
    if tokens.is_repeated:
        over_at = find_earliest(
            *(at for at in (connection.expires_at, tokens.expires_at) if (at or 0) > tokens.issued_at)
        )
        end = TokenLifetime(tokens.issued_at, over_at or tokens.issued_at + 1)
        if ends_at is None or end.expires_at < ends_at:
            return refresh_schedule.compute_repeated_refresh_at(
                end, profile.rotation, settings.consumer_cache, refresh_at
            )
    return refresh_at


def _report_save(connection: Connection, tokens: TokenSet, generation: int, now: int, *, is_recovered: bool) -> Events:
    """Report the save, and the change of status where there is one."""
    event = state_machine.event_of(connection.status, Status.ACTIVE)
    detail = {"generation": generation, "expires_at": format_rfc3339(tokens.expires_at)}
    if event is EventType.AUTHORIZED:
        return create_event(event, connection, now, **detail)
    events = create_event(EventType.ROTATED, connection, now, **detail)
    if event is not None and is_recovered:
        alerted = connection.alerted_at is not None
        return {**events, **create_event(event, connection, now, alert=alerted)}
    return events


def apply_publish_failure(connection: Connection, now: int, detail: str | None = None) -> RecordChange:
    """Count one more failed publication: no change, or the alert. With a ``detail``, no later one can succeed."""
    is_known = connection.status is Status.DEGRADED and connection.alerted_at is not None
    is_early = detail is None and now < (connection.issued_at or 0) + ALERT_DELAY_SECONDS
    if is_known or is_early or connection.status not in _RUNNING:
        return RecordChange()
    said = {"reason": UNPUBLISHED, "client": connection.client, "alert": True}
    said |= {"http_detail": detail} if detail else {}
    event = create_event(EventType.DEGRADED, connection, now, **said)
    change = state_machine.move(connection.status, Status.DEGRADED).set({"alerted_at": now}) | outbox.add_events(
        connection, event
    )
    if not connection.failures:
        change = change.set({"last_error": UNPUBLISHED, "last_error_at": now, "last_detail": detail})
    return change


def carry_over(connection: Connection, now: int) -> RecordChange:
    """Keep the trouble over the save of another token set; no change if the one before was published."""
    waits = connection.direct_read and connection.published_generation != connection.generation
    if not waits or connection.status is not Status.DEGRADED:
        return RecordChange()
    return state_machine.move(connection.status, Status.DEGRADED).set(
        {"alerted_at": connection.alerted_at, "last_error": UNPUBLISHED, "last_error_at": now}
    )


def apply_publish_success(connection: Connection, now: int) -> RecordChange:
    """Note that the current token set is published."""
    change = RecordChange({"published_generation": connection.generation})
    if connection.last_error != UNPUBLISHED or connection.status not in _RUNNING:
        return change
    alerted = connection.alerted_at is not None
    event = create_event(EventType.RECOVERED, connection, now, alert=alerted)
    change |= state_machine.move(connection.status, Status.ACTIVE).set(
        {"last_error": None, "last_error_at": None, "last_detail": None, "alerted_at": None}
    )
    return change | outbox.add_events(connection, event)
