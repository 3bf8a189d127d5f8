"""``evergrant rotate`` and ``evergrant get``: a new token, and the current one."""

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
    """Have rotator refresh a connection now, and return its record.

    Raises
    ------
    CommandFailed
        No new token set came. That an old one is still served does not count.
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
    """The connection's record. Raises InvalidName, UnknownConnection."""
    from evergrant.errors import UnknownConnection
    from evergrant.names import split_connection

    split_connection(connection)
    record = run.deployment.records.get(connection)
    if record is None:
        raise UnknownConnection(connection)
    return record


def rotate(context: typer.Context, connection: Name, as_json: AsJson = False) -> None:
    """Refresh a connection now, and say whether it worked.

    Nobody need do this for tokens to stay valid. It is for finding out whether
    a mended client or provider works, and after a token leaked.

    Where the last answer was lost it sends the same refresh token once more,
    a quarter of an hour later at the earliest. A provider that used the token
    may then end the grant, and somebody has to connect the account again. By
    itself Evergrant would wait with that for the end of the token's life.

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
    run.output.write(f"{connection} has a new token (generation {record.generation}), good for {left}.", "green")


def get(
    context: typer.Context,
    connection: Name,
    min_ttl: Annotated[
        int,
        typer.Option(metavar="SECONDS", min=0, help="Refresh first if it has less left; a provider may not give more."),
    ] = 60,
    token: Annotated[bool, typer.Option("--token", help="Print the access token and nothing else.")] = False,
    as_json: AsJson = False,
) -> None:
    """Get a connection's valid access token.

    The token itself is shown only when asked for, by --token or --json.

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
    # Of rotator, which reads the record itself: getter may answer from memory, with the token before this one.
    answer = run.deployment.invoke_rotator({"connection": connection, "min_ttl": min_ttl})
    if "error" in answer:
        raise CommandFailed(_explain_refusal(connection, answer["error"]))
    if answer["expires_in"] < min_ttl:
        run.output.write_aside(
            f"It is good for {format_span(answer['expires_in'])} only, less than the {min_ttl} s asked.", "yellow"
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
    run.output.write("The token itself: --token. The whole document: --json.", "dim")
