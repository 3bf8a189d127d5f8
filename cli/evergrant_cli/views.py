"""A connection as it is shown, and why its last refresh did not bring a token."""

from __future__ import annotations

from typing import Any

from evergrant.connection import Connection, Status
from evergrant.errors import AuthorizationRequired, ClientRefused, EvergrantError, UnknownClient
from evergrant.times import rfc3339

from .problems import Problem


def view(connection: Connection, now: int) -> dict[str, Any]:
    """The JSON of a connection. Times in RFC 3339 UTC, durations in seconds. Nothing in it is secret."""
    expires_at = connection.expires_at
    return {
        "connection": connection.name,
        "status": str(connection.status),
        "grant": connection.grant,
        "client": connection.client,
        "generation": connection.generation,
        "expires_at": _time(expires_at),
        "expires_in": max(expires_at - now, 0) if expires_at is not None else None,
        "next_refresh_at": _time(connection.refresh_at),
        "refresh_token_expires_at": _time(connection.refresh_expires_at),
        "failures": connection.failures,
        "last_error": connection.last_error,
        "last_error_at": _time(connection.last_error_at),
        "variables": dict(connection.variables),
        "scope": connection.scope,
        "direct_read": connection.direct_read,
        "created_at": _time(connection.created_at),
    }


def _time(at: int | None) -> str | None:
    return None if at is None else rfc3339(at)


#: What the operator can do about an error code that is ours; a provider's own code speaks for itself.
_ADVICE = {
    "invalid_client_entry": "Write the client's entry anew: `evergrant client set {client}`.",
    "not_sent": "Is the host right, does its name resolve, and is it among the hosts of client {client}? "
    "`evergrant client set {client}` sets them.",
    "lost_answer": "The provider did not answer in time. It is asked again by itself.",
    "unread_answer": "The provider's answer fits its profile no longer; it is kept, sealed. Mend the profile.",
    "unknown_profile": "The profile it was connected with is gone from the table: `evergrant connect {connection}`.",
    "seal_broken": "The sealed token set does not open: `evergrant connect {connection}`.",
}

#: Errors that no repetition cures.
CLIENT_ERRORS = frozenset({"unknown_client", "invalid_client_entry"})
NEEDS_SOMEBODY = CLIENT_ERRORS | {"unread_answer", "unknown_profile", "seal_broken"}


def advice(connection: Connection) -> str:
    """What to do about the connection's last error, empty when there is nothing to do but wait."""
    if connection.last_error == "unknown_client":
        return UnknownClient(connection.client).hint
    text = _ADVICE.get(connection.last_error or "", "")
    return text.format(client=connection.client, connection=connection.name)


def failure(connection: Connection, answer: dict[str, Any]) -> Problem:
    """Why a forced refresh brought no new token set.

    Parameters
    ----------
    connection
        The record as it is after the attempt.
    answer
        What rotator said. It may be the old token, which is still served although the refresh failed.
    """
    error = connection.last_error or "no reason is recorded"
    state: EvergrantError | None = None
    if connection.status is Status.CLIENT_REFUSED:
        state = ClientRefused(connection.name, connection.client)
    elif connection.status is Status.AUTHORIZATION_REQUIRED:
        state = AuthorizationRequired(connection.name)
    if state:
        return Problem(state.code, f"{state.message} It said: {error}.", state.hint)
    if "error" in answer and not connection.last_error:
        return Problem.of_answer(answer["error"])
    problem = Problem.of_answer(answer.get("error", {}))
    return Problem(
        "temporarily_unavailable" if "error" in answer else "not_refreshed",
        f"{connection.name} could not be refreshed: {error}.",
        advice(connection) or ("It is tried again by itself." if connection.refresh_at else problem.hint),
        problem.retry_after,
    )
