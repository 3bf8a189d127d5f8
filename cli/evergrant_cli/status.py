"""``evergrant status``: show all connections, or one in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import format_until
from .run import AsJson, Run, get_run

if TYPE_CHECKING:
    from evergrant.record.circuit import Circuit
    from evergrant.record.connection import Connection

    from .health import Health

    Judged = Sequence[tuple[Connection, Health]]

_NEEDS_ACTION_STATUS = 3
_STYLES = ("green", "yellow", "red")


def status(
    context: typer.Context,
    connection: Annotated[
        str | None,
        typer.Argument(metavar="PROVIDER/ACCOUNT", show_default=False, help="One connection. Default: all."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show whether anything is about to break: the first line says.

    The exit status is 0 while everything works or recovers by itself. It is 3 when
    a connection needs action: a grant must be authorized again or is about to end,
    a client is refused, a token has expired, or nothing is refreshed.

    A client that its provider refuses and an endpoint that does not work are shown
    once, with how many connections wait for them.

    [bold]Examples[/]
      evergrant status
      evergrant status keap/main
      evergrant status --json | jq '.connections[] | select(.health != "fine")'
    """
    from evergrant.record.circuit import HOLD_KEY
    from evergrant.record.status import Status

    from .health import Level, summarize_health
    from .hold import build_view, describe
    from .open_circuits import read_circuits
    from .tokens import load_record

    run = get_run(context)
    if connection:
        records = [load_record(run, connection)]
    else:
        records = sorted(run.deployment.records.all(), key=lambda record: record.name)
    circuits = read_circuits(run, records)
    hold = circuits.pop(HOLD_KEY, None)
    judged = [(record, _assess(run, record, circuits)) for record in records]
    shown = [pair for pair in judged if connection or pair[0].status is not Status.DISCONNECTED]
    first = summarize_health([(record.name, health) for record, health in shown])
    if connection and records[0].status is Status.DISCONNECTED:
        first = f"{connection} is disconnected."
    worst = max((health.level for _, health in judged), default=Level.FINE)
    if hold:
        first, worst = describe(hold, run.now), Level.ACT
    if run.output.as_json:
        document = _build_document(first, worst is Level.ACT, judged, circuits, run.now)
        run.output.write_document({**document, "hold": build_view(hold) if hold else None})
    elif connection:
        if hold:
            run.output.write(first, _STYLES[worst])
        _write_one(run, *judged[0], circuits)
    else:
        run.output.write(first, _STYLES[worst])
        _write_all(run, shown, circuits, len(judged) - len(shown))
    if worst is Level.ACT:
        raise typer.Exit(_NEEDS_ACTION_STATUS)


def _assess(run: Run, record: Connection, circuits: Mapping[str, Circuit]) -> Health:
    from evergrant.errors import UnknownProfile

    from .health import Trouble, assess_health
    from .open_circuits import find_incident, find_obstacle

    prolonged = True
    if record.refresh_expires_at is not None:
        try:
            prolonged = run.deployment.profiles.load_pinned(record.profile_hash).rotation.rotates
        except UnknownProfile:
            # Without its profile the connection is not refreshed; the record's last error says so.
            prolonged = False
    trouble = Trouble(find_obstacle(record, circuits), find_incident(record, circuits))
    return assess_health(record, run.now, prolonged=prolonged, trouble=trouble)


def _build_document(
    first: str, needs_action: bool, judged: Judged, circuits: Mapping[str, Circuit], now: int
) -> dict[str, Any]:
    from . import open_circuits
    from .connection_view import build_connection_view

    records = [record for record, _ in judged]
    incidents = map(open_circuits.build_incident_view, circuits.values())
    return {
        "summary": first,
        "needs_action": needs_action,
        "open_circuits": [
            open_circuits.build_held_view(held, now) for held in open_circuits.list_held(circuits, records, now)
        ],
        "incidents": [incident for incident in incidents if incident is not None],
        "connections": [
            {
                **build_connection_view(record, now),
                "held_by": _find_key(record, circuits, now),
                "health": health.level.name.lower(),
                "reason": health.reason,
                "advice": health.advice,
            }
            for record, health in judged
        ],
    }


def _find_key(record: Connection, circuits: Mapping[str, Circuit], now: int) -> str | None:
    """Find the key of the circuit for which a due connection waits."""
    from .open_circuits import find_obstacle, is_due

    obstacle = find_obstacle(record, circuits)
    return obstacle.key if obstacle is not None and is_due(record, now) else None


def _write_all(run: Run, shown: Judged, circuits: Mapping[str, Circuit], hidden: int) -> None:
    from .connection_view import drop_meaningless_times

    now = run.now
    if shown:
        run.output.write()
        run.output.write_table(
            ("connection", "state", "token expires", "next refresh", "refresh token ends"),
            [
                (
                    record.name,
                    str(record.status),
                    format_until(record.expires_at, now),
                    _format_next_refresh(record, circuits, now),
                    format_until(record.refresh_expires_at, now),
                )
                for record in (drop_meaningless_times(record, now) for record, _ in shown)
            ],
        )
    _write_circuits(run, shown, circuits)
    for record, health in shown:
        if health.level and not health.circuit:
            run.output.write()
            _write_health(run, record, health)
    if hidden:
        run.output.write()
        run.output.write(f"Not shown: {hidden} disconnected. --json shows all.", "dim")


def _write_circuits(run: Run, shown: Judged, circuits: Mapping[str, Circuit]) -> None:
    """Write what concerns several connections: once for each client or endpoint, not for each connection."""
    from . import open_circuits
    from .health import Level

    for held in open_circuits.list_held(circuits, [record for record, _ in shown], run.now):
        key = held.circuit.key
        worst = max((health.level for _, health in shown if health.circuit == key), default=Level.WATCH)
        run.output.write()
        run.output.write(open_circuits.describe_held(held, run.now), _STYLES[worst])
        run.output.write(f"  → {open_circuits.find_advice(held.circuit)}")
    for circuit in circuits.values():
        if circuit.incident_at is not None:
            run.output.write()
            run.output.write(f"{open_circuits.describe_incident(circuit, run.now)}.", _STYLES[-1])
            run.output.write(f"  → {open_circuits.advise_on_incident(circuit)}")


def _write_health(run: Run, record: Connection, health: Health) -> None:
    run.output.write(f"{record.name}: {health.reason}.", _STYLES[health.level])
    if health.advice:
        run.output.write(f"  → {health.advice}")


def _write_one(run: Run, record: Connection, health: Health, circuits: Mapping[str, Circuit]) -> None:
    from evergrant.times import format_rfc3339

    from .connection_view import drop_meaningless_times

    now = run.now
    record = drop_meaningless_times(record, now)
    if health.level:
        _write_health(run, record, health)
    else:
        run.output.write(f"{record.name} is {record.status}.", _STYLES[0])
    run.output.write()

    def moment(at: int | None) -> str:
        return "" if at is None else f"{format_rfc3339(at)}, {format_until(at, now)}"

    run.output.write_facts(
        [
            ("state", str(record.status)),
            ("grant", record.grant),
            ("client", record.client),
            ("endpoint", record.endpoint or ""),
            ("token expires", moment(record.expires_at)),
            ("expiry", _format_expiry(record)),
            ("next refresh", moment(record.refresh_at)),
            ("held back by", _format_obstacle(record, circuits, now)),
            ("refresh token ends", moment(record.refresh_expires_at)),
            ("last error", _format_error(record, now)),
            ("failures in a row", str(record.failures or "")),
            ("failing since", moment(record.failing_since)),
            ("refused since", moment(record.rejected_at)),
            ("perhaps used", _format_doubt(record, now)),
            (
                "token refreshed",
                f"{format_until(record.issued_at, now)}, generation {record.generation}" if record.issued_at else "",
            ),
            ("revocation", "the provider has not been asked yet" if record.to_revoke else ""),
            ("variables", ", ".join(f"{name}={value}" for name, value in record.variables.items())),
            ("scope", record.scope or ""),
            ("granted", record.granted_scope or ""),
            ("not granted", record.missing_scope or ""),
            ("lost since", record.lost_scope or ""),
            ("failed to connect", _format_authorization_failure(record, now)),
            ("account", "known; another one is refused" if record.subject else ""),
            ("read", "" if record.direct_read else "through getter only"),
            ("created", moment(record.created_at)),
        ]
    )


def _format_expiry(record: Connection) -> str:
    from .codes import describe_expiry_doubt

    doubt = describe_expiry_doubt(record)
    return f"{doubt} (rule: {record.expiry_rule})" if doubt else ""


def _format_error(record: Connection, now: int) -> str:
    from .codes import describe_last_error

    return f"{format_until(record.last_error_at, now)}: {describe_last_error(record)}" if record.last_error else ""


def _format_authorization_failure(record: Connection, now: int) -> str:
    from .codes import describe_link_problem

    failure = record.authorization_failure
    if failure is None:
        return ""
    return f"{format_until(failure['at'], now)}: {describe_link_problem(failure['code'], record.client, failure)}"


def _format_obstacle(record: Connection, circuits: Mapping[str, Circuit], now: int) -> str:
    from .open_circuits import describe_probe, describe_target, find_obstacle, is_due

    obstacle = find_obstacle(record, circuits)
    if obstacle is None or not is_due(record, now):
        return ""
    return f"{describe_target(obstacle)}; {describe_probe(obstacle, now)}"


def _format_doubt(record: Connection, now: int) -> str:
    """Say since when the provider may have used the refresh token."""
    since = record.unclear_at or record.in_doubt_since
    if since is None:
        return ""
    return f"the refresh token, {format_until(since, now)}; it is spared until just before the access token expires"


def _format_next_refresh(record: Connection, circuits: Mapping[str, Circuit], now: int) -> str:
    from .open_circuits import find_obstacle

    if record.is_leased(now):
        return "now"
    if record.refresh_at is not None and record.refresh_at <= now:
        return "held back" if find_obstacle(record, circuits) else "due"
    return format_until(record.refresh_at, now)
