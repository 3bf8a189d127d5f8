"""``evergrant reparse``: read an unreadable response again, with the corrected profile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from .output import format_span
from .problems import CommandFailed, Problem
from .run import AsJson, Name, get_run
from .tokens import load_record

if TYPE_CHECKING:
    from evergrant.record.connection import Connection


def reparse(context: typer.Context, connection: Name, as_json: AsJson = False) -> None:
    """Read an unreadable response again, with the provider's current profile.

    A response in which the profile finds no token set is kept, sealed, and nothing
    more is sent to the provider. Correct the profile, add it, and run this: the
    connection uses that profile from then on. If the response is still unreadable,
    nothing changes. To give the response up, connect the account again.

    [bold]Examples[/]
      evergrant provider add acme.toml
      evergrant reparse acme/main
    """
    from .connection_view import build_connection_view

    run = get_run(context)
    before = load_record(run, connection)
    profile = run.deployment.profiles.load_named(before.provider)
    # Rotator reads profiles from the table; a built-in one may not be there yet.
    content_hash = run.deployment.profiles.keep(profile)
    with run.output.show_busy(f"reading the response of {connection} …"):
        answer = run.deployment.invoke_rotator({"connection": connection, "reparse": content_hash})
    record = run.deployment.records.get(connection) or before
    if before.unreadable_response is None or record.unreadable_response is not None:
        raise CommandFailed(_explain_failure(record, answer))
    if run.output.as_json:
        run.output.write_document(build_connection_view(record, run.now))
        return
    if record.generation == before.generation:
        run.output.write(f"{connection}: by its profile the response was a refusal. It is retried by itself.", "yellow")
        return
    left = format_span((record.expires_at or run.now) - run.now)
    run.output.write(
        f"{connection} has the token of the response (generation {record.generation}); it expires in {left}.", "green"
    )


def find_unreadable(records: Iterable[Connection], provider: str) -> list[str]:
    """Find the provider's connections that hold an unreadable response."""
    return sorted(
        record.name for record in records if record.provider == provider and record.unreadable_response is not None
    )


def _explain_failure(record: Connection, answer: dict[str, object]) -> Problem:
    error = answer.get("error")
    if isinstance(error, dict):
        return Problem.from_error(error)
    return Problem("unreadable_response", f"The response of {record.name} is not saved yet.", "Try again in a minute.")
