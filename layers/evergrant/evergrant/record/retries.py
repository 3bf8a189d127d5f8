"""When a connection that failed is tried again. Pure; times and durations in whole seconds.

While the access token lives, the wait doubles up to a quarter of an hour, and the last try comes just before the token
expires. After that, tries are frequent at first: nothing is left to lose, and consumers are without a token.
"""

from __future__ import annotations

import random

from ..oauth.token_set import ASSUMED_EXPIRY_RULES
from ..profiles.model import HEADLESS_GRANTS, Profile
from ..times import DAY_SECONDS, HOUR_SECONDS
from .connection import Connection
from .refresh_schedule import compute_backoff_at, compute_earliest_at

#: The last try of a living token comes so early before its end.
LAST_TRY_SECONDS = 30
#: Between two attempts with a refresh token that is spared.
_MIN_GAP_SECONDS = 5
#: Seconds since the token expired, and how long a wait then is at most; afterwards it is daily.
_WAITS_SINCE_EXPIRY = (
    (HOUR_SECONDS, 50),
    (7 * HOUR_SECONDS, 300),
    (31 * HOUR_SECONDS, HOUR_SECONDS),
)
#: The first failures are followed by a quick retry even where the token expired long ago.
_QUICK_FAILURES = 5
#: What Retry-After may add to that once the token has expired.
_MAX_RETRY_AFTER_EXPIRY_SECONDS = HOUR_SECONDS


def compute_retry_at(
    connection: Connection, profile: Profile, failures: int, now: int, retry_after: int | None = None
) -> int:
    """Compute when to try again after ``failures`` failures in a row, if nothing may have been used up.

    ``Retry-After`` comes first, except that a try is made before the token expires, and again within an hour after.
    """
    at = compute_backoff_at(failures, now, retry_after)
    ends_at = connection.expires_at or connection.failing_since or now
    if now < ends_at - LAST_TRY_SECONDS:
        at = min(at, ends_at - LAST_TRY_SECONDS)
    else:
        longest = now + _jitter(compute_longest_wait(now - ends_at))
        if now < ends_at:  # there is still something to be saved
            longest = min(longest, max((now + ends_at) // 2, now + _MIN_GAP_SECONDS))
        at = min(compute_backoff_at(failures, now), longest) if failures < _QUICK_FAILURES else longest
        at = max(at, now + min(retry_after or 0, _MAX_RETRY_AFTER_EXPIRY_SECONDS))
    # No provider takes a refresh before the minimum age, and a token set is younger only where callers demand it.
    return max(at, compute_earliest_at(connection.issued_at or 0, profile.rotation), now + 1)


def compute_longest_wait(since_expiry: int) -> int:
    """Return the longest wait so many seconds after the token has expired."""
    return next((wait for until, wait in _WAITS_SINCE_EXPIRY if since_expiry < until), DAY_SECONDS)


def _jitter(wait: int) -> int:
    spread = 0.2 if wait < HOUR_SECONDS else 0.03  # a daily alert stays about a day apart
    return int(wait * random.uniform(1 - spread, 1))  # noqa: S311 - jitter, no secret


def compute_end_of_token(connection: Connection) -> int | None:
    """Return from when on the access token is certainly of no use any more; None without a token.

    An expiry that is only a profile's default counts one lifetime later, and what a consumer reports counts at once.
    """
    lifetime = connection.token_lifetime
    if lifetime is None:
        return None
    is_assumed = connection.expiry_rule in ASSUMED_EXPIRY_RULES
    ends_at = lifetime.expires_at + (lifetime.lifetime if is_assumed else 0)
    return ends_at if connection.token_rejected_at is None else min(ends_at, connection.token_rejected_at)


def compute_spared_until(connection: Connection, profile: Profile, since: int, tried_at: int, now: int) -> int:
    """Compute until when a refresh token is spared that the provider may have used.

    Sent once more, it may end the whole grant, and with it an access token that is still good. So it is sent again just
    before that expires, and then as often as any other. Where the refresh token ends with its access token or before,
    waiting gains nothing: it is also sent at half of what remains.

    Parameters
    ----------
    since, tried_at
        The first and the last attempt after which the provider may have used it.
    """
    ends_at = compute_end_of_token(connection)
    if not is_single_use(connection, profile) or ends_at is None or now >= ends_at:
        return now
    refresh_ends_at = connection.refresh_expires_at
    moments = []
    if refresh_ends_at is not None and refresh_ends_at <= ends_at:
        ends_at = refresh_ends_at
        moments.append((since + ends_at) // 2)
    moments += [ends_at - LAST_TRY_SECONDS, ends_at]
    return max(now, next((at for at in sorted(moments) if at >= tried_at + _MIN_GAP_SECONDS), ends_at))


def is_within_grace(profile: Profile, since: int, now: int) -> bool:
    """Whether the provider still accepts again a refresh token that it may have used at ``since``.

    ``now`` is the second that has begun, so the last one is not within the grace as a whole.
    """
    return now < since + profile.rotation.reuse_grace


def is_single_use(connection: Connection, profile: Profile) -> bool:
    """Whether a request may use up a refresh token."""
    return connection.grant not in HEADLESS_GRANTS and profile.rotation.rotates
