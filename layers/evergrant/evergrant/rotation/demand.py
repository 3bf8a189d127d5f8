"""What is wanted of a connection, and what can be had without asking its provider. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..errors import AuthorizationRequired, ClientRefused, Disconnected, Paused, TemporarilyUnavailable
from ..oauth.token_set import TokenSet
from ..record.connection import INACTIVE_STATUSES, UNPUBLISHED, Connection, Status

#: A token younger than this (seconds) is not refreshed again, though it be refused: its refusal has another cause.
MIN_COOLDOWN_SECONDS = 10
#: Each early refresh in a row doubles that, up to an hour or half the token's life: so many of them count.
_MAX_COOLDOWN_SECONDS, MAX_EARLY_REFRESHES = 3600, 9
#: An operator mends a profile within hours (seconds).
_UNREADABLE_RETRY_SECONDS = 3600

Outcome = Literal["rotated", "fresh", "published", "busy", "unpublished", "inactive", "waiting", "no_time", "failed"]


@dataclass(frozen=True, slots=True)
class TokenDemand:
    """What is wanted of a connection.

    ``asked`` says that somebody waits, getter or an operator; else it is the schedule. ``min_ttl`` and ``wait`` are
    in seconds; ``rejected`` is the fingerprint of a token that the provider's API refused. ``woken`` says that what a
    connection failed for may be mended: it need not wait for its next try.
    """

    connection: str
    caller_waits: bool = False
    min_ttl: int = 0
    rejected: str | None = None
    force: bool = False
    wait: float = 0.0
    woken: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """How a pass over a connection ended. ``tokens`` are there when somebody asked."""

    outcome: Outcome
    connection: Connection
    tokens: TokenSet | None = None


def is_refresh_wanted(
    connection: Connection, ask: TokenDemand, tokens: TokenSet | None, minimum_age: int, now: int
) -> bool:
    """Whether the provider is to be asked for another token set. ``minimum_age`` is the provider's, in seconds."""
    if connection.unreadable_response is not None:
        return False  # whatever was spent is in there; another spend would only lose it
    refused = tokens is not None and ask.rejected == tokens.access_token.fingerprint
    if connection.grant == "static":
        # Nothing brings another key; that it lapsed or was refused is written down once.
        return connection.refresh_at is not None and (refused or connection.refresh_at <= now)
    if not ask.caller_waits:
        if connection.refresh_at is None:
            return False
        return connection.refresh_at <= now or (ask.woken and connection.failures > 0)
    if ask.force:
        return tokens is not None or connection.refresh_at is not None
    # Backing off, or waiting for a person: what is left is served, and nothing is hammered. While somebody is at it,
    # what comes of that is waited for.
    waits = connection.refresh_at is None or (connection.refresh_at > now and not connection.is_leased(now))
    failing = connection.failures > 0 and waits
    if tokens is None:
        return connection.refresh_at is not None and not failing
    age, left = now - tokens.issued_at, tokens.expires_at - now
    # More than the tokens live cannot be had: then half a life is fresh enough.
    enough = ask.min_ttl if ask.min_ttl < tokens.lifetime else tokens.lifetime // 2
    if left > 0 and ((left > enough and not refused) or age < _compute_cooldown(connection, tokens, minimum_age)):
        return False
    return not failing


def _compute_cooldown(connection: Connection, tokens: TokenSet, minimum_age: int) -> int:
    """How old a living token has to be, in seconds, before it is refreshed because somebody asks.

    Whoever is refused for another reason than the token (a missing permission) would have it refreshed for ever; the
    provider is spared, and so is the secret, which takes about a hundred versions a day.
    """
    longest = min(_MAX_COOLDOWN_SECONDS, tokens.lifetime // 2)
    return max(min(MIN_COOLDOWN_SECONDS << connection.early_refreshes, longest), MIN_COOLDOWN_SECONDS, minimum_age)


def count_early_refreshes(connection: Connection, ask: TokenDemand, previous: TokenSet | None, tokens: TokenSet) -> int:
    """What the record counts as early refreshes in a row, once ``tokens`` have come of ``ask``."""
    if previous is None or ask.force:
        return 0
    if tokens.access_token == previous.access_token:
        return MAX_EARLY_REFRESHES  # refreshing does not replace it, however often it is refused
    refused = ask.rejected == previous.access_token.fingerprint
    if ask.caller_waits and (refused or tokens.issued_at - previous.issued_at < previous.lifetime // 2):
        return min(connection.early_refreshes + 1, MAX_EARLY_REFRESHES)
    return max(connection.early_refreshes - 1, 0)


def serve_current(
    connection: Connection, ask: TokenDemand, tokens: TokenSet | None, outcome: Outcome, now: int
) -> Result:
    """What is left of the current token set.

    Raises
    ------
    AuthorizationRequired, ClientRefused, Paused, Disconnected, TemporarilyUnavailable
        When asked, and there is none.
    """
    if not ask.caller_waits:
        return Result(outcome, connection, tokens)
    valid = tokens is not None and tokens.expires_at > now
    if connection.status in INACTIVE_STATUSES:
        if connection.status is Status.DISCONNECTED:
            raise Disconnected(connection.name)
        if ask.force or not valid:
            raise Paused(connection.name)
        return Result("inactive", connection, tokens)
    needs_a_person = connection.status in (Status.AUTHORIZATION_REQUIRED, Status.CLIENT_REFUSED)
    refused = tokens is not None and ask.rejected == tokens.access_token.fingerprint
    if valid and not (needs_a_person and refused):
        return Result(outcome, connection, tokens)
    if connection.status is Status.CLIENT_REFUSED:
        raise ClientRefused(connection.name, connection.client)
    reason = f" ({connection.last_error})" if connection.last_error else ""
    if connection.unreadable_response is not None:
        # It may well be read yet, and is not the account's owner's trouble.
        raise TemporarilyUnavailable(
            f"No valid token of {connection.name} can be had now{reason}.", _UNREADABLE_RETRY_SECONDS
        )
    if needs_a_person or connection.refresh_at is None:
        raise AuthorizationRequired(connection.name)
    raise TemporarilyUnavailable(
        f"No valid token of {connection.name} can be had now{reason}.", max(connection.refresh_at - now, 1)
    )


def build_warning(result: Result, ask: TokenDemand, minimum_age: int, now: int) -> dict[str, Any] | None:
    """What whoever gets this token should know of its connection, in the form of an error; None if all is well.

    ``minimum_age`` is the provider's, in seconds.
    """
    connection, tokens = result.connection, result.tokens
    name = connection.name
    if connection.status is Status.PAUSED:
        return Paused(name).as_dict()
    if connection.status is Status.AUTHORIZATION_REQUIRED:
        return AuthorizationRequired(name).as_dict()
    if connection.status is Status.CLIENT_REFUSED:
        return ClientRefused(name, connection.client).as_dict()
    reason = f" ({connection.last_error})" if connection.last_error else ""
    again = max((connection.refresh_at or now) - now, 1)
    if connection.status is Status.DEGRADED and connection.last_error != UNPUBLISHED:
        return {
            "code": "degraded",
            "message": f"{name} could not be refreshed{reason}; its token is served until it expires.",
            "hint": "See `evergrant status`.",
            **({"retry_after": again} if connection.refresh_at is not None else {}),
        }
    if connection.failures > 0 or result.outcome in ("failed", "busy", "waiting", "no_time"):
        return TemporarilyUnavailable(f"No fresher token of {name} can be had now{reason}.", again).as_dict()
    if tokens is not None and ask.rejected == tokens.access_token.fingerprint:
        return {
            "code": "still_refused",
            "message": f"{name} was refreshed so shortly before that its refused token is kept.",
            "hint": "Its refusal may have another cause: a permission, or the account at the provider.",
            "retry_after": max(tokens.issued_at + _compute_cooldown(connection, tokens, minimum_age) - now, 1),
        }
    return None
