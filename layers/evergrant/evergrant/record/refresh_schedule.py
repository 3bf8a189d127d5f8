"""When to refresh, when to try again, and when a record is due. Pure; times and durations in whole seconds."""

from __future__ import annotations

import random
from hashlib import sha256

from ..oauth.token_set import TokenLifetime
from ..profiles.expiry import MAX_LIFETIME_SECONDS
from ..profiles.model import Rotation
from ..times import DAY_SECONDS, TICK_SECONDS
from .connection import Connection, RecordChange, RecordFields, find_earliest

#: Refresh at least this early, lifetime permitting.
MIN_LEAD_SECONDS = 600
BACKOFF_BASE_SECONDS, MAX_BACKOFF_SECONDS = 5, 900
_MINIMUM_AGE_MARGIN_SECONDS = 3
#: The due index is spread over this many partitions.
SHARD_COUNT = 8


def compute_lead(lifetime: int, rotation: Rotation, consumer_cache: int) -> int:
    """Return how long before its end a token set is refreshed at the latest (seconds)."""
    return min(max(rotation.lead, MIN_LEAD_SECONDS, 2 * consumer_cache), lifetime // 2)


def compute_refresh_at(
    life: TokenLifetime, rotation: Rotation, consumer_cache: int, connection: str, generation: int
) -> int:
    """Compute when a token set is to be refreshed.

    ``expires_at - lead - jitter``, with the lead bounded by half the lifetime, so that a short-lived token is not
    always about to expire, and never before the provider's minimum age.

    Parameters
    ----------
    consumer_cache
        The longest time (seconds) that a consumer keeps a token without reading it again.
    """
    lifetime = life.lifetime
    ahead = compute_lead(lifetime, rotation, consumer_cache)
    # A tenth of the lifetime at most, and never so much that it doubles the lead.
    spread = min(lifetime // 10, ahead // 2)
    at = life.expires_at - ahead - _share(f"{connection}:{generation}", spread)
    return max(at, compute_earliest_at(life.issued_at, rotation))


def compute_earliest_at(issued_at: int, rotation: Rotation) -> int:
    """Compute from when on the provider takes a refresh. It counts from its response, which came after our request."""
    return issued_at + rotation.minimum_age + (_MINIMUM_AGE_MARGIN_SECONDS if rotation.minimum_age else 0)


def compute_repeated_refresh_at(life: TokenLifetime, rotation: Rotation, consumer_cache: int, regular: int) -> int:
    """Compute when to refresh a token set whose access token is that of the set before.

    Its server issues another one only when this one has expired, or shortly before. Where a whole lead is left, the
    next try is at its usual time; later than that it is exactly at the end: each try in between would bring the same
    token again.

    Parameters
    ----------
    life
        Until the end of the access token by the earlier or the present statement, whichever is sooner.
    regular
        When it would be refreshed if it were a new token.
    """
    is_lead_whole = compute_lead(life.lifetime, rotation, consumer_cache) < life.lifetime // 2
    at = min(regular, life.expires_at) if is_lead_whole else life.expires_at
    return max(at, life.issued_at + rotation.minimum_age)


def compute_keep_alive_at(life: TokenLifetime, ends_at: int | None, rotation: Rotation, regular: int) -> int:
    """Compute when to refresh a connection that no consumer reads, where refreshes happen on demand.

    Parameters
    ----------
    ends_at
        When the refresh token expires, if that is known.
    regular
        When it would be refreshed if it always were.

    Returns
    -------
    int
        In time for a refresh token that expires with its access token, or when it is idle: then a tenth of its
        lifetime before, but at most a week. Else a hundred years ahead: waiting for a demand loses nothing.
    """
    if rotation.refresh_token_life == "with_access_token":  # noqa: S105
        return regular
    if rotation.refresh_token_life == "idle" and ends_at is not None:  # noqa: S105
        lead = max(min((ends_at - life.issued_at) // 10, 7 * DAY_SECONDS), life.expires_at - regular)
        return max(ends_at - lead, life.issued_at + (ends_at - life.issued_at) // 2)
    return life.issued_at + MAX_LIFETIME_SECONDS


def compute_backoff_at(failures: int, now: int, retry_after: int | None = None) -> int:
    """Compute when to try again after ``failures`` failures in a row: exponential backoff with full jitter.

    The wait doubles up to a cap, which is jittered too, so that retries do not arrive as a thundering herd.
    """
    cap = MAX_BACKOFF_SECONDS * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, no secret
    wait = random.uniform(1, min(BACKOFF_BASE_SECONDS * 2.0 ** min(failures, 12), cap))  # noqa: S311
    return now + max(int(wait), retry_after or 0)


def compute_daily_probe_at(now: int) -> int:
    """Compute when to probe a grant that needs a person: some providers recover. About a day ahead, with jitter."""
    return now + int(DAY_SECONDS * random.uniform(0.875, 1.125))  # noqa: S311


def compute_claim_until(due_at: int, now: int, expires_at: int | None) -> int:
    """Compute to when a claim moves the due date, so that a lost message is made good in time.

    Two minutes, but at most a quarter of what remains of the token's life, and never less than 15 seconds.
    """
    remaining = max(expires_at - now, 0) if expires_at is not None else 480
    return max(due_at, now) + max(min(120, remaining // 4), 15)


def choose_shard(connection: str) -> str:
    """Return the shard of the due index that a connection belongs to."""
    return str(_share(connection, SHARD_COUNT - 1))


def _share(key: str, most: int) -> int:
    """Return a number from 0 to ``most``, the same for the same key, evenly spread over keys."""
    return int.from_bytes(sha256(key.encode()).digest()[:8], "big") % (most + 1)


def schedule_due(connection: Connection, at: int | None) -> RecordFields:
    """Put the connection into the due index at ``at`` (epoch seconds), or take it out with None."""
    return {"due_at": at, "due_shard": None if at is None else choose_shard(connection.name)}


def schedule_refresh(connection: Connection, at: int | None) -> RecordFields:
    """Plan the next refresh for ``at`` (epoch seconds); None: there is none."""
    return {"refresh_at": at, **schedule_due(connection, find_earliest(at, connection.warn_at))}


def deliver_soon(connection: Connection, change: RecordChange, now: int) -> RecordChange:
    """Make a change that carries events due at the next tick: the next pass delivers them."""
    if not change.events:
        return change
    refresh_at = change.fields.get("refresh_at", connection.refresh_at)
    next_tick = now + TICK_SECONDS
    return change.set(schedule_due(connection, next_tick if refresh_at is None else min(refresh_at, next_tick)))
