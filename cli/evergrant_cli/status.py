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

    [bold]Examples[/]
      evergrant status
      evergrant status keap/main
      evergrant status --json | jq '.connections[] | select(.health != "fine")'
    """
    from evergrant.record.status import Status

    from .health import Level, summarize_health
    from .refused_clients import apply_client_refusal, find_refused_clients
    from .tokens import load_record

    run = get_run(context)
    if connection:
        records = [load_record(run, connection)]
    else:
        records = sorted(run.deployment.records.all(), key=lambda record: record.name)
    refused = find_refused_clients(run, records)
    records = [apply_client_refusal(record, refused) for record in records]
    judged = [(record, _assess(run, record)) for record in records]
    shown = [pair for pair in judged if connection or pair[0].status is not Status.DISCONNECTED]
    first = summarize_health([(record.name, health) for record, health in shown])
    if connection and records[0].status is Status.DISCONNECTED:
        first = f"{connection} is disconnected."
    worst = max((health.level for _, health in judged), default=Level.FINE)
    if run.output.as_json:
        run.output.write_document(_build_document(first, worst is Level.ACT, judged, refused, run.now))
    elif connection:
        _write_one(run, *judged[0])
    else:
        run.output.write(first, _STYLES[worst])
        _write_all(run, shown, refused, len(judged) - len(shown))
    if worst is Level.ACT:
        raise typer.Exit(_NEEDS_ACTION_STATUS)


def _assess(run: Run, record: Connection) -> Health:
    from evergrant.errors import UnknownProfile

    from .health import assess_health

    prolonged = True
    if record.refresh_expires_at is not None:
        try:
            prolonged = run.deployment.profiles.load_pinned(record.profile_hash).rotation.rotates
        except UnknownProfile:
            # Without its profile the connection is not refreshed; the record's last error says so.
            prolonged = False
    return assess_health(record, run.now, prolonged=prolonged)


def _build_document(
    first: str,
    needs_action: bool,
    judged: Sequence[tuple[Connection, Health]],
    refused: Mapping[str, Circuit],
    now: int,
) -> dict[str, Any]:
    from . import refused_clients
    from .connection_view import build_connection_view

    records = [record for record, _ in judged]

    return {
        "summary": first,
        "needs_action": needs_action,
        "refused_clients": [
            refused_clients.build_client_view(circuit, refused_clients.find_affected(circuit, records))
            for circuit in refused.values()
        ],
        "connections": [
            {
                **build_connection_view(record, now),
                "health": health.level.name.lower(),
                "reason": health.reason,
                "advice": health.advice,
            }
            for record, health in judged
        ],
    }


def _write_all(
    run: Run, shown: Sequence[tuple[Connection, Health]], refused: Mapping[str, Circuit], hidden: int
) -> None:
    from evergrant.record.status import Status

    from . import refused_clients
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
                    _format_next_refresh(record, now),
                    format_until(record.refresh_expires_at, now),
                )
                for record in (drop_meaningless_times(record, now) for record, _ in shown)
            ],
        )
    for circuit in refused.values():
        # Once for the client, not for each of its connections.
        waiting = refused_clients.find_affected(circuit, [record for record, _ in shown])
        run.output.write()
        run.output.write(f"{circuit.client}: {refused_clients.describe_refusal(circuit, waiting, now)}.", _STYLES[-1])
        run.output.write(f"  → evergrant client set {circuit.client}")
    for record, health in shown:
        if health.level and not (record.status is Status.CLIENT_REFUSED and record.client in refused):
            run.output.write()
            _write_health(run, record, health)
    if hidden:
        run.output.write()
        run.output.write(f"Not shown: {hidden} disconnected. --json shows all.", "dim")


def _write_health(run: Run, record: Connection, health: Health) -> None:
    run.output.write(f"{record.name}: {health.reason}.", _STYLES[health.level])
    if health.advice:
        run.output.write(f"  → {health.advice}")


def _write_one(run: Run, record: Connection, health: Health) -> None:
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
            ("token expires", moment(record.expires_at)),
            ("next refresh", moment(record.refresh_at)),
            ("refresh token ends", moment(record.refresh_expires_at)),
            ("last error", _format_error(record, now)),
            ("failures in a row", str(record.failures or "")),
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


def _format_error(record: Connection, now: int) -> str:
    from .codes import describe_code

    return f"{format_until(record.last_error_at, now)}: {describe_code(record.last_error)}" if record.last_error else ""


def _format_authorization_failure(record: Connection, now: int) -> str:
    from .codes import describe_link_problem

    failure = record.authorization_failure
    if failure is None:
        return ""
    return f"{format_until(failure['at'], now)}: {describe_link_problem(failure['code'], record.client, failure)}"


def _format_next_refresh(record: Connection, now: int) -> str:
    if record.is_leased(now):
        return "now"
    if record.refresh_at is not None and record.refresh_at <= now:
        return "due"
    return format_until(record.refresh_at, now)
