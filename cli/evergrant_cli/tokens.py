"""``evergrant rotate`` and ``evergrant get``: refresh a connection, get its token."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import format_span
from .problems import CommandFailed, Problem, WrongUsage
from .run import AsJson, Name, Run, get_run

if TYPE_CHECKING:
    from evergrant.record.connection import Connection


def refresh_now(run: Run, before: Connection) -> Connection:
    """Refresh a connection by rotator, and return its record.

    Raises
    ------
    CommandFailed
        The refresh brought no new token set, even if the old one is still served.
    """
    from .connection_view import explain_failure

    deployment = run.deployment
    with run.output.show_busy(f"refreshing {before.name} …"):
        answer = deployment.invoke_rotator({"connection": before.name, "force": True})
    record = deployment.records.get(before.name) or before
    if record.generation > before.generation and "error" not in answer:
        return record
    if "error" in answer and answer["error"].get("code") in (
        "paused",
        "disconnected",
        "unknown_connection",
        "response_pending",
    ):
        raise CommandFailed(Problem.from_error(answer["error"]))
    raise CommandFailed(explain_failure(record, answer))


def load_record(run: Run, connection: str) -> Connection:
    """Load the connection's record. Raises InvalidName, UnknownConnection."""
    from evergrant.errors import UnknownConnection
    from evergrant.names import split_connection

    split_connection(connection)
    record = run.deployment.records.get(connection)
    if record is None:
        raise UnknownConnection(connection)
    return record


def rotate(context: typer.Context, connection: Name, as_json: AsJson = False) -> None:
    """Refresh a connection now, and say whether it worked.

    Tokens stay valid without this. Use it to check a corrected client or
    provider, and after a token leaked.

    Where the provider may have used the refresh token already (a lost response, a
    5xx), nothing is sent while the access token lives and 15 minutes after a loss:
    sent once more, it could end the grant. The command says when to try again.

    [bold]Example[/]
      evergrant rotate keap/main
    """
    from .connection_view import build_connection_view

    run = get_run(context)
    record = load_record(run, connection)
    if record.grant == "static":
        raise CommandFailed(
            Problem(
                "not_refreshable",
                f"{connection} holds a pasted key, which nothing renews.",
                f"Make another at the provider, and paste it: `evergrant connect {connection}`.",
            )
        )
    record = refresh_now(run, record)
    if run.output.as_json:
        run.output.write_document(build_connection_view(record, run.now))
        return
    left = format_span((record.expires_at or run.now) - run.now)
    run.output.write(f"{connection} has a new token (generation {record.generation}); it expires in {left}.", "green")


def get(
    context: typer.Context,
    connection: Name,
    min_ttl: Annotated[
        int,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Refresh first if the token expires sooner; the provider may still give a shorter one.",
        ),
    ] = 60,
    token: Annotated[bool, typer.Option("--token", help="Print the access token and nothing else.")] = False,
    as_json: AsJson = False,
) -> None:
    """Get a connection's valid access token.

    Only --token and --json show the token itself.

    [bold]Examples[/]
      evergrant get keap/main
      curl -H "Authorization: Bearer $(evergrant get keap/main --token)" …
      evergrant get keap/main --json | jq .headers
    """
    from evergrant.names import split_connection

    split_connection(connection)
    run = get_run(context)
    if token and run.output.as_json:
        raise WrongUsage("--token and --json exclude each other; the document holds the token.")
    # From rotator, which reads the record: getter may answer with an older token from its cache.
    answer = run.deployment.invoke_rotator({"connection": connection, "min_ttl": min_ttl})
    if "error" in answer:
        raise CommandFailed(_explain_refusal(connection, answer["error"]))
    if answer["expires_in"] < min_ttl:
        run.output.write_aside(
            f"It expires in {format_span(answer['expires_in'])}, sooner than the {min_ttl} s of --min-ttl.", "yellow"
        )
    if run.output.as_json:
        run.output.write_document(answer)
    elif token:
        typer.echo(answer["access_token"])
    else:
        _write_summary(run, answer)


def _explain_refusal(connection: str, error: dict[str, Any]) -> Problem:
    from .connection_view import describe_variable_fix

    problem = Problem.from_error(error)
    if problem.code == "client_refused":
        return replace(problem, hint=f"{problem.hint} {describe_variable_fix(connection)}".strip())
    return problem


def _write_summary(run: Run, answer: dict[str, object]) -> None:
    from evergrant.secret import fingerprint

    expires_in = answer["expires_in"]
    headers, required, captured = answer.get("headers"), answer.get("required_headers"), answer.get("captured")
    run.output.write_facts(
        [
            ("connection", str(answer["connection"])),
            ("expires", f"{answer['expires_at']}, in {format_span(expires_in if isinstance(expires_in, int) else 0)}"),
            (
                "token",
                f"{answer.get('token_type') or 'Bearer'}, fingerprint {fingerprint(str(answer['access_token']))}",
            ),
            ("scope", str(answer.get("scope") or "")),
            ("generation", str(answer.get("generation", ""))),
            ("headers to send", ", ".join(headers) if isinstance(headers, dict) else ""),
            ("each call adds", ", ".join(required) if isinstance(required, list) else ""),
            ("captured", ", ".join(captured) if isinstance(captured, dict) else ""),
        ]
    )
    run.output.write()
    run.output.write("--token prints the token itself, --json the whole document.", "dim")
