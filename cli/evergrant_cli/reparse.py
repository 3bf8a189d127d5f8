"""``evergrant reparse``: an answer that could not be read, read by a mended profile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from .output import span
from .problems import CommandFailed, Problem
from .run import AsJson, Name, run_of
from .tokens import record_of

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
    from .connection_view import view

    run = run_of(context)
    before = record_of(run, connection)
    profile = run.deployment.profiles.load_named(before.provider)
    # A shipped one may not be in the table yet, where rotator looks for it.
    content_hash = run.deployment.profiles.keep(profile)
    with run.output.busy(f"reading what {connection} was answered …"):
        answer = run.deployment.ask_rotator({"connection": connection, "reparse": content_hash})
    record = run.deployment.records.get(connection) or before
    if before.unreadable_response is None or record.unreadable_response is not None:
        raise CommandFailed(_failure(record, answer))
    if run.output.as_json:
        run.output.document(view(record, run.now))
        return
    if record.generation == before.generation:
        run.output.line(
            f"{connection}: by its profile the answer was a refusal. It is tried again by itself.", "yellow"
        )
        return
    left = span((record.expires_at or run.now) - run.now)
    run.output.line(
        f"{connection} has the token it was given (generation {record.generation}), good for {left}.", "green"
    )


def holding(records: Iterable[Connection], provider: str) -> list[str]:
    """The provider's connections that hold an answer which could not be read."""
    return sorted(
        record.name for record in records if record.provider == provider and record.unreadable_response is not None
    )


def _failure(record: Connection, answer: dict[str, object]) -> Problem:
    error = answer.get("error")
    if isinstance(error, dict):
        return Problem.of_answer(error)
    return Problem("unreadable_response", f"The answer of {record.name} is not saved yet.", "Say it again in a minute.")
