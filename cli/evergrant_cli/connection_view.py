"""How a connection is shown: its JSON, and what to do about its last error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from evergrant.errors import AuthorizationRequired, ClientRefused, EvergrantError, UnknownClient
from evergrant.oauth.error_codes import RefusalKind
from evergrant.profiles.model import HEADLESS_GRANTS
from evergrant.record.connection import UNPUBLISHED, Connection
from evergrant.record.remedies import explain_both_readings, explain_unauthorized_client, find_kind, find_remedy
from evergrant.record.status import Status
from evergrant.times import format_rfc3339

from .codes import describe_last_error, describe_link_problem
from .problems import Problem


def build_connection_view(connection: Connection, now: int) -> dict[str, Any]:
    """Build the JSON of a connection. Times in RFC 3339 UTC, durations in seconds. Nothing in it is secret."""
    shown = drop_meaningless_times(connection, now)
    expires_at = shown.expires_at
    return {
        "connection": connection.name,
        "status": str(connection.status),
        "grant": connection.grant,
        "client": connection.client,
        "generation": connection.generation,
        "expires_at": _format_time(expires_at),
        "expires_in": max(expires_at - now, 0) if expires_at is not None else None,
        "expiry_rule": shown.expiry_rule,
        "expiry_doubt": shown.expiry_doubt,
        "next_refresh_at": _format_time(shown.refresh_at),
        "refresh_token_expires_at": _format_time(shown.refresh_expires_at),
        "failures": None if connection.status is Status.DISCONNECTED else connection.failures,
        "last_error": shown.last_error,
        "last_error_at": _format_time(shown.last_error_at),
        "last_status": shown.last_status,
        "last_detail": shown.last_detail,
        "failing_since": _format_time(shown.failing_since),
        "rejected_at": _format_time(shown.rejected_at),
        "unclear_at": _format_time(shown.unclear_at),
        "variables": dict(connection.variables),
        "scope": connection.scope,
        "granted_scope": shown.granted_scope,
        "missing_scope": shown.lacking_scope,
        "authorization_failure": _build_failure_view(shown),
        "account_known": shown.subject is not None,
        "direct_read": connection.direct_read,
        "created_at": _format_time(connection.created_at),
    }


def drop_meaningless_times(connection: Connection, now: int) -> Connection:
    """Drop from a record what must not be shown.

    A disconnected connection has no token any more, although its tombstone keeps the times of the last one. A time
    that lies decades ahead means "never": a refresh on demand, or a key without an expiry.
    """
    if connection.status is not Status.DISCONNECTED:

        def dated(at: int | None) -> int | None:
            return None if at is None or at > now + _NEVER_SECONDS else at

        return replace(connection, expires_at=dated(connection.expires_at), refresh_at=dated(connection.refresh_at))
    return replace(
        connection,
        issued_at=None,
        expires_at=None,
        expiry_rule=None,
        expiry_doubt=None,
        refresh_expires_at=None,
        refresh_at=None,
        failures=0,
        last_error=None,
        last_error_at=None,
        last_status=None,
        last_detail=None,
        failing_since=None,
        rejected_at=None,
        unclear_at=None,
        subject=None,
        missing_scope=None,
        granted_scope=None,
        lost_scope=None,
        authorization_failure=None,
    )


def _build_failure_view(connection: Connection) -> dict[str, Any] | None:
    failure = connection.authorization_failure
    return None if failure is None else {**failure, "at": _format_time(failure["at"])}


#: 50 years: twice the longest lifetime that a profile can state, and half of what the record writes for "never".
_NEVER_SECONDS = 50 * 365 * 86_400


def _format_time(at: int | None) -> str | None:
    return None if at is None else format_rfc3339(at)


#: What the operator can do about an error code.
_ADVICE = {
    "invalid_client_entry": "Store the client's entry again: `{remedy}`.",
    "lost_response": "It is retried by itself, as soon as a replay can do no harm.",
    "unreadable_response": "The response is kept, sealed. Correct the profile (one of your own: "
    "`evergrant provider add FILE`), then `{remedy}`. To give it up: `evergrant connect {connection}`.",
    "invalid_variable": "Give the variable again: `{remedy} --var NAME=VALUE`.",
    "unknown_profile": "The profile it was connected with is gone from the table: `{remedy}`.",
    "seal_broken": "The sealed token set does not open: `{remedy}`.",
    UNPUBLISHED: "It is retried by itself. Rotator's log names the cause: its permission to write the secret, the "
    "vault key, or the number of the secret's versions.",
}
#: The same for the kinds of refusals.
_ADVICE_BY_KIND: Mapping[RefusalKind | None, str] = {
    "rejected_unknown": "It is retried by itself. To begin anew at once: `evergrant connect {connection}`.",
    "malformed": "If the same request worked before, it is most likely the grant: `evergrant connect {connection}`. If "
    "it never did, correct the profile, or the connection's variables.",
    "grant_rejected": "It is tried once more before it counts as final.",
}
#: Of a request that was not sent, by its reason.
_NOT_SENT_ADVICE = {
    "dns": "Does the name of the host resolve? It may stand in a variable: `evergrant connect {connection} "
    "--var NAME=VALUE`.",
    "address": "Its host must have a public address. If a variable is wrong: `{remedy} --var NAME=VALUE`.",
    "connect": "It is retried by itself. The provider may be down, or its host wrong.",
    "tls": "It is retried by itself. Look at the certificate of the provider's host.",
    "timeout": "It is retried by itself. The provider may be down.",
    "request": "Store the client's entry again: `{remedy}`.",
}
_NOT_SENT_DEFAULT = (
    "Is the host right, does its name resolve, and is it among the hosts of client {client}? `{remedy}` sets them."
)

#: Errors that no retry fixes, or that were retried for too long already.
_ENTRY_ERRORS = frozenset({"unknown_client", "invalid_client_entry"})
NEEDS_ACTION = _ENTRY_ERRORS | {"unreadable_response", "unknown_profile", "seal_broken", UNPUBLISHED}


def find_advice(connection: Connection, *, has_expired: bool = False) -> str:
    """Say what to do about the connection's last error; empty where waiting is enough."""
    error, name, client = connection.last_error or "", connection.name, connection.client
    if error == "unknown_client":
        return UnknownClient(client).hint
    kind = find_kind(error)
    if kind == "client_unauthorized":
        is_headless = connection.grant in HEADLESS_GRANTS
        return explain_unauthorized_client(client) if is_headless else explain_both_readings(name, client)
    remedy = find_remedy(error, name, client, detail=connection.last_detail, has_expired=has_expired)
    if kind == "grant_rejected" and has_expired:
        return f"`{remedy}`. It is tried once more before it counts as final."
    text = _ADVICE.get(error) or _ADVICE_BY_KIND.get(kind, "")
    if error == "not_sent":
        text = _NOT_SENT_ADVICE.get(connection.last_detail or "", _NOT_SENT_DEFAULT)
    return text.format(remedy=remedy, client=client, connection=name)


def has_failed_by_client(connection: Connection) -> bool:
    """Whether another entry of the client may be all that is needed after the last error."""
    error = connection.last_error
    return error in _ENTRY_ERRORS or find_kind(error) in ("client_rejected", "client_unauthorized")


def describe_variable_fix(connection: str) -> str:
    """Say how to give a variable again: a wrong one sends the client to the wrong host or audience."""
    return f"If it is a variable of the connection that is wrong: `evergrant connect {connection} --var NAME=VALUE`."


def explain_refused_link(code: str, connection: Connection, client: str) -> Problem:
    """Say why a link cannot be used, and what to do before making another one."""
    said = describe_link_problem(code, client)
    first = {
        "unknown_client": f"Store them with `evergrant client set {client}`. Then make",
        "invalid_client_entry": f"Store it again, for all its hosts: `evergrant client set {client}`. Then make",
        "link_invalid": "Make",
    }.get(code, "Correct that, then make")
    return Problem(code, f"{said[0].upper()}{said[1:]}.", f"{first} a new link: `evergrant connect {connection.name}`.")


def explain_failure(connection: Connection, answer: dict[str, Any]) -> Problem:
    """Say why a forced refresh brought no new token set.

    Parameters
    ----------
    connection
        The record as it is after the attempt.
    answer
        Rotator's answer. It may be the old token, which is still served although the refresh failed.
    """
    error = describe_last_error(connection)
    state: EvergrantError | None = None
    if connection.status is Status.CLIENT_REFUSED:
        state = ClientRefused(connection.name, connection.client)
    elif connection.status is Status.AUTHORIZATION_REQUIRED:
        state = AuthorizationRequired(connection.name)
    if state:
        hint = (
            f"{state.hint} {describe_variable_fix(connection.name)}" if isinstance(state, ClientRefused) else state.hint
        )
        return Problem(state.code, f"{state.message} The last error: {error}.", hint)
    if "error" in answer and not connection.last_error:
        return Problem.from_error(answer["error"])
    problem = Problem.from_error(answer.get("error", {}))
    return Problem(
        "temporarily_unavailable" if "error" in answer else "not_refreshed",
        f"{connection.name} could not be refreshed: {error}.",
        find_advice(connection) or ("It is retried by itself." if connection.refresh_at else problem.hint),
        problem.retry_after,
    )
