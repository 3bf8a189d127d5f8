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

    Its token stays readable until it lapses.

    [bold]Example[/]
      evergrant pause keap/main
    """
    from evergrant.connect import operations
    from evergrant.record.status import Status

    run = get_run(context)
    record = _load_connected(run, connection)
    if record.status is Status.PAUSED:
        _write_result(run, record, f"{connection} is paused already. `evergrant resume {connection}` goes on with it.")
        return
    record = operations.pause(run.deployment.records, connection, run.deployment.clock)
    _write_result(run, record, f"{connection} is paused. `evergrant resume {connection}` goes on with it.")


def resume(context: typer.Context, connection: Name, as_json: AsJson = False) -> None:
    """Go on with a paused connection.

    It is refreshed when it would have been, or now if that is past.

    [bold]Example[/]
      evergrant resume keap/main
    """
    from evergrant.connect import operations
    from evergrant.record.status import Status

    run = get_run(context)
    record = _load_connected(run, connection)
    if record.status is not Status.PAUSED:
        _write_result(run, record, f"{connection} is not paused: it is {record.status} already.")
        return
    record = operations.resume(run.deployment.records, connection, run.deployment.clock)
    if record.refresh_at is not None and record.refresh_at <= run.now:
        # The next tick would find it as well; nobody need wait for that.
        run.deployment.queue.send({"connection": connection})
    _write_result(run, record, f"{connection} goes on.")


def _load_connected(run: Run, connection: str) -> Connection:
    """The record. Raises InvalidName, UnknownConnection, Disconnected."""
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
