"""Assess the health of connections. Pure: records in, assessments out, ``now`` an argument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from evergrant.record.circuit import Circuit
from evergrant.record.connection import FAILS_ALONE, Connection
from evergrant.record.failures import MAX_SILENT_SECONDS
from evergrant.record.remedies import explain_final_refusal
from evergrant.record.status import Status

from . import open_circuits
from .codes import describe_expiry_doubt, describe_last_error, describe_link_problem
from .connection_view import NEEDS_ACTION, describe_variable_fix, find_advice
from .output import format_span

#: A refresh that is this late did not only wait for its tick: the scheduler does not run.
OVERDUE_SECONDS = 600
#: A grant that ends within this time, and that no refresh prolongs, must be authorized again now.
NOTICE_SECONDS = 7 * 86_400


class Level(IntEnum):
    """What the operator has to do about a connection: nothing, look at it, or act."""

    FINE = 0
    WATCH = 1
    ACT = 2


@dataclass(frozen=True, slots=True)
class Health:
    """The health of one connection: how urgent it is, why, and what to do about it.

    ``circuit`` is the key of the circuit whose own lines say the same for all of its connections, or empty.
    """

    level: Level
    reason: str = ""
    advice: str = ""
    circuit: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What concerns several connections: the open circuit that holds this one back, and the incident it is part of."""

    obstacle: Circuit | None = None
    incident: Circuit | None = None


_FINE = Health(Level.FINE)
_NO_TROUBLE = Trouble()


def assess_health(
    connection: Connection, now: int, *, prolonged: bool = True, trouble: Trouble = _NO_TROUBLE
) -> Health:
    """Assess one connection.

    Parameters
    ----------
    prolonged
        Whether a refresh moves the end of the grant.
    """
    name = connection.name
    match connection.status:
        case Status.DISCONNECTED:
            return _FINE
        case Status.PAUSED:
            return Health(Level.WATCH, "paused: nothing is refreshed", f"evergrant resume {name}")
        case Status.AUTHORIZATION_REQUIRED:
            return _assess_authorization_required(connection, now)
        case Status.CLIENT_REFUSED:
            refused = f"the provider refuses client {connection.client}{_format_error(connection)}"
            why = f"{refused}; {_format_remaining(connection, now)}"
            advice = f"`evergrant client set {connection.client}`. {describe_variable_fix(name)}"
            return Health(
                Level.ACT, why, advice, trouble.obstacle.key if trouble.obstacle and trouble.obstacle.is_client else ""
            )
    if connection.last_error in NEEDS_ACTION:
        return Health(
            Level.ACT,
            f"{describe_last_error(connection)}; {_format_remaining(connection, now)}",
            find_advice(connection),
        )
    if connection.status is Status.AWAITING_AUTHORIZATION and connection.grant in ("authorization_code", "static"):
        return Health(Level.WATCH, f"not authorized yet{_format_link_problem(connection)}", f"evergrant connect {name}")
    return _assess_shared(connection, trouble, now) or _assess_running(connection, now, prolonged)


def _assess_authorization_required(connection: Connection, now: int) -> Health:
    remaining = _format_remaining(connection, now)
    if connection.last_error == FAILS_ALONE:
        advice = (
            "Look whether the account is suspended, limited or moved at the provider. If not: `evergrant connect "
            f"{connection.name}`. It is retried by itself."
        )
        return Health(Level.ACT, f"{describe_last_error(connection)}; {remaining}", advice)
    why = f"it must be authorized again{_format_error(connection)}"
    is_final = connection.rejected_code is not None and connection.rejected_code == connection.last_error
    explanation = explain_final_refusal(connection.last_error) if is_final else ""
    return Health(
        Level.ACT, "; ".join(filter(None, (why, explanation, remaining))), f"evergrant connect {connection.name}"
    )


def _assess_shared(connection: Connection, trouble: Trouble, now: int) -> Health | None:
    """Assess a connection whose trouble is its client's or its endpoint's; None where that is not so."""
    obstacle, incident, remaining = trouble.obstacle, trouble.incident, _format_remaining(connection, now)
    if incident is not None:
        why = (
            f"its grant is one of {len(incident.refusals)} that the provider refuses at once{_format_error(connection)}"
        )
        return Health(Level.ACT, f"{why}; {remaining}", open_circuits.advise_on_incident(incident), incident.key)
    if obstacle is None or not (obstacle.is_client or open_circuits.is_due(connection, now)):
        return None
    waits = "it waits for" if open_circuits.is_due(connection, now) else "its next refresh waits for"
    needs_action = obstacle.is_client or _has_expired(connection, now)
    return Health(
        Level.ACT if needs_action else Level.WATCH,
        f"{waits} {open_circuits.describe_target(obstacle)}; {remaining}",
        open_circuits.find_advice(obstacle),
        obstacle.key,
    )


def _assess_running(connection: Connection, now: int, prolonged: bool) -> Health:
    if _is_overdue(connection, now):
        late = format_span(now - (connection.refresh_at or now))
        why = f"its refresh is {late} late; {_format_remaining(connection, now)}"
        return Health(Level.ACT, why, "Check the scheduler: its log, and the stack's alarms.")
    if _is_silent(connection, now):
        span = format_span(now - (connection.expires_at or connection.failing_since or now))
        why = f"it has had no valid token for {span}{_format_error(connection)}"
        advice = find_advice(connection, has_expired=True)
        return Health(Level.ACT, why, advice if "evergrant" in advice else _advise_on_silence(connection))
    if _has_expired_unreplaced(connection, now):
        why = f"its token has expired and could not be replaced{_format_error(connection)}"
        return Health(Level.ACT, why, find_advice(connection, has_expired=True))
    if connection.failures:
        times = "once" if connection.failures == 1 else f"{connection.failures} times in a row"
        why = f"{describe_last_error(connection)}, {times}; {_format_remaining(connection, now)}; retried by itself"
        return Health(Level.WATCH, why, find_advice(connection))
    if doubt := describe_expiry_doubt(connection):
        return Health(
            Level.WATCH, doubt, f"Correct the expiry rules of its profile: `evergrant status {connection.name}`."
        )
    end = connection.refresh_expires_at
    if end is not None and end - now < NOTICE_SECONDS and not (prolonged and _is_before(connection.refresh_at, end)):
        why = f"its grant ends in {format_span(end - now)}, and only a new authorization prolongs it"
        return Health(Level.ACT, why, f"evergrant connect {connection.name}")
    if connection.lost_scope:
        why = f"its token has fewer scopes than were granted; it lacks {connection.lost_scope}"
        return Health(Level.WATCH, why, f"evergrant connect {connection.name}")
    if connection.missing_scope:
        why = f"not everything that was asked for was granted; missing: {connection.missing_scope}"
        return Health(Level.WATCH, why, f"evergrant connect {connection.name}")
    return _FINE


def _is_overdue(connection: Connection, now: int) -> bool:
    if connection.refresh_at is None or connection.is_leased(now):
        return False
    return now - connection.refresh_at > OVERDUE_SECONDS


def _has_expired(connection: Connection, now: int) -> bool:
    return connection.expires_at is not None and connection.expires_at <= now


def _is_silent(connection: Connection, now: int) -> bool:
    """Whether the connection has failed without a valid token for a day: that needs a person, for any reason."""
    since = connection.expires_at or connection.failing_since
    return connection.failures > 0 and since is not None and now - since >= MAX_SILENT_SECONDS


def _advise_on_silence(connection: Connection) -> str:
    name = connection.name
    return (
        f"Look at the provider's status page, and at the account there. `evergrant rotate {name}` tries at once; "
        f"`evergrant connect {name}` begins anew."
    )


def _has_expired_unreplaced(connection: Connection, now: int) -> bool:
    """Whether the token has expired although a refresh was due: one on demand may wait until a consumer asks."""
    if not _has_expired(connection, now) or connection.refresh_at is None:
        return False
    return connection.failures > 0 or connection.refresh_at <= now


def summarize_health(judged: Sequence[tuple[str, Health]]) -> str:
    """Say in one line whether anything is about to break."""
    if not judged:
        return "There are no connections yet. Make one: evergrant connect PROVIDER/ACCOUNT"
    acts = [name for name, health in judged if health.level is Level.ACT]
    watched = [name for name, health in judged if health.level is Level.WATCH]
    if acts:
        needs = "needs" if len(acts) == 1 else "need"
        return f"{len(acts)} of {_count_connections(len(judged))} {needs} action: {_join_names(acts)}."
    if watched:
        return f"Nothing needs action now. Keep an eye on {_join_names(watched)}."
    return f"Nothing is about to break: {_count_connections(len(judged))} kept alive."


def _format_error(connection: Connection) -> str:
    return f": {describe_last_error(connection)}" if connection.last_error else ""


def _format_link_problem(connection: Connection) -> str:
    failure = connection.authorization_failure
    if failure is None:
        return ""
    return f"; {describe_link_problem(failure['code'], connection.client, failure)}"


def _format_remaining(connection: Connection, now: int) -> str:
    if connection.expires_at is None:
        return "there is no token"
    left = connection.expires_at - now
    return (
        f"its token is good for {format_span(left)} yet" if left > 0 else f"its token expired {format_span(-left)} ago"
    )


def _is_before(at: int | None, end: int) -> bool:
    return at is not None and at < end


def _count_connections(number: int) -> str:
    return "1 connection" if number == 1 else f"{number} connections"


def _join_names(names: Sequence[str], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
