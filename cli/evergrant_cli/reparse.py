"""``evergrant reparse``: an answer that could not be read, read by a mended profile."""

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
    """Read an answer that could not be read once more, by the provider's present profile.

    When a provider answers a refresh with something that is no token set to its
    profile, the answer is kept, sealed, and nothing more is spent. Mend the
    profile, add it, and say this: the connection has that profile from then on.
    If it cannot be read now either, nothing changes. To give the answer up,
    connect the account again.

    [bold]Example[/]
      evergrant provider add acme.toml
      evergrant reparse acme/main
    """
    from .connection_view import build_connection_view

    run = get_run(context)
    before = load_record(run, connection)
    profile = run.deployment.profiles.load_named(before.provider)
    # A shipped one may not be in the table yet, where rotator looks for it.
    content_hash = run.deployment.profiles.keep(profile)
    with run.output.show_busy(f"reading what {connection} was answered …"):
        answer = run.deployment.invoke_rotator({"connection": connection, "reparse": content_hash})
    record = run.deployment.records.get(connection) or before
    if before.unreadable_response is None or record.unreadable_response is not None:
        raise CommandFailed(_explain_failure(record, answer))
    if run.output.as_json:
        run.output.write_document(build_connection_view(record, run.now))
        return
    if record.generation == before.generation:
        run.output.write(
            f"{connection}: by its profile the answer was a refusal. It is tried again by itself.", "yellow"
        )
        return
    left = format_span((record.expires_at or run.now) - run.now)
    run.output.write(
        f"{connection} has the token it was given (generation {record.generation}), good for {left}.", "green"
    )


def find_unreadable(records: Iterable[Connection], provider: str) -> list[str]:
    """The provider's connections that hold an answer which could not be read."""
    return sorted(
        record.name for record in records if record.provider == provider and record.unreadable_response is not None
    )


def _explain_failure(record: Connection, answer: dict[str, object]) -> Problem:
    error = answer.get("error")
    if isinstance(error, dict):
        return Problem.from_error(error)
    return Problem("unreadable_response", f"The answer of {record.name} is not saved yet.", "Say it again in a minute.")
