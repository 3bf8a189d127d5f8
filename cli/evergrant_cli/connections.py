"""``evergrant pause`` and ``resume``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from .run import AsJson, Name, Run, get_run
from .tokens import load_record

if TYPE_CHECKING:
    from evergrant.record.connection import Connection


def pause(context: typer.Context, connection: Name, as_json: AsJson = False) -> None:
    """Stop refreshing a connection until it is resumed.

    Its token stays readable until it expires.

    [bold]Example[/]
      evergrant pause keap/main
    """
    from evergrant.connect import operator_actions
    from evergrant.record.status import Status

    run = get_run(context)
    record = _load_connected(run, connection)
    if record.status is Status.PAUSED:
        _write_result(run, record, f"{connection} is paused already. Resume it with `evergrant resume {connection}`.")
        return
    record = operator_actions.pause(run.deployment.records, connection, run.deployment.clock)
    _write_result(run, record, f"{connection} is paused. Resume it with `evergrant resume {connection}`.")


def resume(context: typer.Context, connection: Name, as_json: AsJson = False) -> None:
    """Refresh a paused connection again.

    It is refreshed at its due time, or now if that is past.

    [bold]Example[/]
      evergrant resume keap/main
    """
    from evergrant.connect import operator_actions
    from evergrant.record.status import Status

    run = get_run(context)
    record = _load_connected(run, connection)
    if record.status is not Status.PAUSED:
        _write_result(run, record, f"{connection} is not paused: it is {record.status} already.")
        return
    record = operator_actions.resume(run.deployment.records, connection, run.deployment.clock)
    if record.refresh_at is not None and record.refresh_at <= run.now:
        # The next tick would find it too, but up to a minute later.
        run.deployment.queue.send({"connection": connection})
    _write_result(run, record, f"{connection} is resumed.")


def _load_connected(run: Run, connection: str) -> Connection:
    """Load the record of a connection that is not disconnected. Raises InvalidName, UnknownConnection, Disconnected."""
    from evergrant.errors import Disconnected
    from evergrant.record.status import Status

    record = load_record(run, connection)
    if record.status is Status.DISCONNECTED:
        raise Disconnected(connection)
    return record


def _write_result(run: Run, record: Connection, text: str) -> None:
    from .connection_view import build_connection_view

    if run.output.as_json:
        run.output.write_document(build_connection_view(record, run.now))
    else:
        run.output.write(text, "green")
