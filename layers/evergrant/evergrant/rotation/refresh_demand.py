"""What is wanted of a connection, and what can be had without a request to its provider. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..errors import AuthorizationRequired, ClientRefused, Disconnected, Paused, TemporarilyUnavailable
from ..oauth.token_set import TokenSet
from ..record.circuit import Circuit
from ..record.connection import UNPUBLISHED, Connection
from ..record.probes import compute_next_probe_at
from ..record.status import INACTIVE_STATUSES, Status

#: A token younger than this is not refreshed again, even if an API has rejected it: the rejection has another cause.
MIN_COOLDOWN_SECONDS = 10
#: Each early refresh in a row doubles that, up to an hour or half the token's lifetime: so many of them count.
_MAX_COOLDOWN_SECONDS, MAX_EARLY_REFRESHES = 3600, 9
#: When a caller may ask again while an operator holds all refreshes.
HOLD_RETRY_SECONDS = 60
#: An operator corrects a profile within hours.
_UNREADABLE_RETRY_SECONDS = 3600

Outcome = Literal["rotated", "fresh", "published", "busy", "unpublished", "inactive", "waiting", "no_time", "failed"]


@dataclass(frozen=True, slots=True)
class TokenDemand:
    """What is wanted of a connection.

    ``caller_waits`` says that getter or an operator waits for the token; otherwise the schedule wants it fresh.
    ``min_ttl`` and ``wait`` are in seconds; ``rejected`` is the fingerprint of a token that the API rejected.
    ``woken`` says that the reason of the last failure may be gone, so that the next try need not wait.
    ``probe_of`` is the key of the circuit that a probe may pass. ``probe_claim`` is the due date to which the tick
    moved the record when it chose it.
    """

    connection: str
    caller_waits: bool = False
    min_ttl: int = 0
    rejected: str | None = None
    force: bool = False
    wait: float = 0.0
    woken: bool = False
    probe_of: str | None = None
    probe_claim: int | None = None

    def is_probe_of(self, circuit: Circuit, connection: Connection, now: int) -> bool:
        """Whether this probes the circuit in time, and no worker was at the connection since the tick chose it."""
        claim = self.probe_claim
        return self.probe_of == circuit.key and claim is not None and connection.due_at == claim and now < claim

    def is_rejected(self, tokens: TokenSet | None) -> bool:
        """Whether the API rejected the access token of this set."""
        return self.rejected is not None and tokens is not None and self.rejected == tokens.access_token.fingerprint


@dataclass(frozen=True, slots=True)
class Result:
    """How a pass over a connection ended. ``tokens`` are there when a caller waits."""

    outcome: Outcome
    connection: Connection
    tokens: TokenSet | None = None


def is_refresh_wanted(
    connection: Connection, demand: TokenDemand, tokens: TokenSet | None, minimum_age: int, now: int
) -> bool:
    """Whether to ask the provider for another token set. ``minimum_age`` is the provider's, in seconds."""
    if connection.unreadable_response is not None:
        return False  # that response holds the new tokens; another attempt would only lose them
    if connection.grant == "static":
        return _is_key_over(connection, demand, tokens, now)
    if not demand.caller_waits:
        return _is_due(connection, demand, now)
    if demand.force:
        return tokens is not None or connection.refresh_at is not None
    if tokens is None:
        return connection.refresh_at is not None and not _is_backing_off(connection, now)
    if _is_fresh_enough(connection, demand, tokens, minimum_age, now):
        return False
    return not _is_backing_off(connection, now)


def count_early_refreshes(
    connection: Connection, demand: TokenDemand, previous: TokenSet | None, tokens: TokenSet
) -> int:
    """Count the early refreshes in a row, now that ``tokens`` have come of ``demand``."""
    if previous is None or demand.force:
        return 0
    if tokens.access_token == previous.access_token:
        return MAX_EARLY_REFRESHES  # refreshing does not replace the token, however often it is rejected
    if demand.caller_waits and (demand.is_rejected(previous) or _is_early(previous, tokens)):
        return min(connection.early_refreshes + 1, MAX_EARLY_REFRESHES)
    return max(connection.early_refreshes - 1, 0)


def serve_current(
    connection: Connection,
    demand: TokenDemand,
    tokens: TokenSet | None,
    outcome: Outcome,
    now: int,
    held_by: Circuit | None = None,
) -> Result:
    """Serve the current token set. ``held_by`` is the open circuit for which nothing was sent.

    Raises
    ------
    AuthorizationRequired, ClientRefused, Paused, Disconnected, TemporarilyUnavailable
        A caller waits, and there is no valid token.
    """
    if not demand.caller_waits:
        return Result(outcome, connection, tokens)
    is_valid = tokens is not None and tokens.expires_at > now
    if connection.status in INACTIVE_STATUSES:
        if connection.status is Status.DISCONNECTED:
            raise Disconnected(connection.name)
        if demand.force or not is_valid:
            raise Paused(connection.name)
        return Result("inactive", connection, tokens)
    if is_valid and not (_needs_a_person(connection) and demand.is_rejected(tokens)):
        return Result(outcome, connection, tokens)
    if held_by is not None:
        raise _explain_held_back(connection, held_by, now)
    raise _explain_missing_token(connection, now)


def build_warning(result: Result, demand: TokenDemand, minimum_age: int, now: int) -> dict[str, Any] | None:
    """Build the warning that goes with a served token, in the form of an error; None if all is well.

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
    reason = _reason_of(connection)
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
    if tokens is not None and demand.is_rejected(tokens):
        return {
            "code": "still_refused",
            "message": f"{name} was refreshed so shortly before that its rejected token is kept.",
            "hint": "The rejection may have another cause: a permission, or the account at the provider.",
            "retry_after": max(tokens.issued_at + _compute_cooldown(connection, tokens, minimum_age) - now, 1),
        }
    return None


def _is_early(previous: TokenSet, tokens: TokenSet) -> bool:
    """Whether the previous token set had more than half of its lifetime left."""
    return tokens.issued_at - previous.issued_at < previous.lifetime // 2


def _is_key_over(connection: Connection, demand: TokenDemand, tokens: TokenSet | None, now: int) -> bool:
    """Whether a pasted key is to be recorded as expired or rejected, once: nothing renews it."""
    return connection.refresh_at is not None and (demand.is_rejected(tokens) or connection.refresh_at <= now)


def _is_due(connection: Connection, demand: TokenDemand, now: int) -> bool:
    if connection.refresh_at is None:
        return False
    return connection.refresh_at <= now or (demand.woken and connection.failures > 0)


def _is_backing_off(connection: Connection, now: int) -> bool:
    """Whether the connection waits after a failure, or for a person, and no worker refreshes it just now."""
    is_waiting = connection.refresh_at is None or (connection.refresh_at > now and not connection.is_leased(now))
    return connection.failures > 0 and is_waiting


def _is_fresh_enough(connection: Connection, demand: TokenDemand, tokens: TokenSet, minimum_age: int, now: int) -> bool:
    age, left = now - tokens.issued_at, tokens.expires_at - now
    # A longer lifetime than the tokens have cannot be had: then half of it is enough.
    enough = demand.min_ttl if demand.min_ttl < tokens.lifetime else tokens.lifetime // 2
    is_good = left > enough and not demand.is_rejected(tokens)
    return left > 0 and (is_good or age < _compute_cooldown(connection, tokens, minimum_age))


def _compute_cooldown(connection: Connection, tokens: TokenSet, minimum_age: int) -> int:
    """Compute how old a valid token has to be, in seconds, before a caller's demand refreshes it.

    A caller that is rejected for another reason than the token, such as a missing permission, would have it refreshed
    for ever. The cooldown spares the provider, and the secret, which takes about a hundred versions a day.
    """
    longest = min(_MAX_COOLDOWN_SECONDS, tokens.lifetime // 2)
    return max(min(MIN_COOLDOWN_SECONDS << connection.early_refreshes, longest), MIN_COOLDOWN_SECONDS, minimum_age)


def _needs_a_person(connection: Connection) -> bool:
    return connection.status in (Status.AUTHORIZATION_REQUIRED, Status.CLIENT_REFUSED)


def _explain_held_back(connection: Connection, circuit: Circuit, now: int) -> ClientRefused | TemporarilyUnavailable:
    """Return the error for a caller whose connection an open circuit holds back."""
    if circuit.is_hold:
        return TemporarilyUnavailable(
            f"No valid token of {connection.name} can be had now: an operator holds all refreshes.", HOLD_RETRY_SECONDS
        )
    if circuit.is_client:
        return ClientRefused(connection.name, connection.client)
    message = f"No valid token of {connection.name} can be had now: {circuit.name} does not work ({circuit.code})."
    return TemporarilyUnavailable(message, max(compute_next_probe_at(circuit, now) - now, 1))


def _explain_missing_token(
    connection: Connection, now: int
) -> ClientRefused | AuthorizationRequired | TemporarilyUnavailable:
    """Return the error for a caller that cannot have a valid token."""
    if connection.status is Status.CLIENT_REFUSED:
        return ClientRefused(connection.name, connection.client)
    message = f"No valid token of {connection.name} can be had now{_reason_of(connection)}."
    if connection.unreadable_response is not None:
        # The response may be read yet, and is nothing that the account's owner can help.
        return TemporarilyUnavailable(message, _UNREADABLE_RETRY_SECONDS)
    if _needs_a_person(connection) or connection.refresh_at is None:
        return AuthorizationRequired(connection.name)
    return TemporarilyUnavailable(message, max(connection.refresh_at - now, 1))


def _reason_of(connection: Connection) -> str:
    return f" ({connection.last_error})" if connection.last_error else ""
