"""``evergrant import``: take over a token set from another system, without a new consent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .connect import list_client_hosts, plan_authorization
from .output import format_span
from .pasted_tokens import save_token_set
from .problems import CommandFailed, Problem
from .run import AsJson, Name, Run, Var, get_run, is_interactive, parse_variables
from .standard_input import parse_json_object, read_standard_input

if TYPE_CHECKING:
    from evergrant.record.connection import Connection


def import_token_set(
    context: typer.Context,
    connection: Name,
    client: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="The stored client that it was issued to. Default: the provider's name.",
        ),
    ] = None,
    var: Var = None,
    prove: Annotated[bool, typer.Option("--prove", help="Refresh it once, now, to prove that it works.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a grant that is connected and works.")] = False,
    as_json: AsJson = False,
) -> None:
    """Move an existing token here from another system, as JSON on standard input.

    Give it in the form of a token response (RFC 6749): access_token,
    refresh_token, expires_in (seconds from now) or expires_at (RFC 3339 or epoch
    seconds), scope, token_type; refresh_expires_at if you know it.

    Where a refresh changes the refresh token, only one system can keep it. Stop
    the other one first: the script, cron job or connector that refreshed it, or
    an Evergrant stack of another account. Then import the last set that it
    stored with --prove, which refreshes it once.

    The token set is never shown. Without a refresh token the access token is
    served until it expires; then the account must be connected.

    [bold]Examples[/]
      evergrant import keap/main --prove < tokens.json
      vault kv get -field=tokens crm/keap | evergrant import keap/main --prove
    """
    from evergrant.connect.token_import import parse_token_set

    from .connection_view import build_connection_view

    run = get_run(context)
    profile, authorization, _ = plan_authorization(
        run, connection, client, parse_variables(var), "authorization_code", None
    )
    run.deployment.require_client(authorization.client, list_client_hosts(profile, authorization, "authorization_code"))
    if not replace:
        _confirm_replacement(run, connection)
    if is_interactive():
        run.output.write_aside("Paste the token set as JSON (it shows as you paste), then end with Ctrl-D:")
    given = parse_json_object(read_standard_input())
    if given is None:
        raise CommandFailed(
            Problem(
                "invalid_request",
                "Standard input holds no JSON object.",
                'Write {"access_token": "…", "refresh_token": "…", "expires_at": "2027-01-31T00:00:00Z"}.',
            )
        )
    tokens = parse_token_set(profile, given, run.now, authorization.variables, proven=prove)
    if tokens.refresh_token and profile.refresh is None:
        raise CommandFailed(
            Problem("invalid_request", f"{profile.title} has no refresh tokens.", "Leave refresh_token out.")
        )
    record = save_token_set(run, authorization, "authorization_code", profile, tokens, wait=not prove)
    if prove:
        record = _prove(run, record, rotates=profile.rotation.rotates)
    if run.output.as_json:
        run.output.write_document(build_connection_view(record, run.now))
        return
    left = format_span((record.expires_at or run.now) - run.now)
    if tokens.refresh_token is None:
        run.output.write(f"{record.name} is taken over as it is; its token lives for {left}.", "green")
        run.output.write(
            "It has no refresh token: nothing renews it. An alert comes before it expires; then connect the account: "
            f"`evergrant connect {record.name}`.",
            "yellow",
        )
        return
    proven = "was refreshed once, and works" if prove else "is taken over as it is; --prove would have tried it"
    run.output.write(f"{record.name} {proven}. Its token lives for {left} and is refreshed by itself.", "green")
    if profile.rotation.rotates:
        run.output.write(_ONE_HOLDER, "yellow")


#: Said where each refresh changes the refresh token.
_ONE_HOLDER = (
    "Each refresh ends the previous refresh token: the script, cron job or connector that this one comes from must "
    "stop using it now, or the provider may end the whole grant."
)


def _confirm_replacement(run: Run, connection: str) -> None:
    """Ask before a grant that works is replaced. Raises CommandFailed where nothing may be asked."""
    from evergrant.record.status import Status

    current = run.deployment.records.get(connection)
    ended = (Status.AWAITING_AUTHORIZATION, Status.AUTHORIZATION_REQUIRED, Status.DISCONNECTED)
    if current is None or current.sealed is None or current.status in ended:
        return
    question = f"{connection} is connected ({current.status}). Replace its grant with the token set?"
    if run.output.as_json or not is_interactive():
        raise CommandFailed(
            Problem(
                "already_connected",
                f"{connection} is connected ({current.status}), and its grant would be lost.",
                "Give another account another name; to replace the grant, add --replace.",
            )
        )
    if not typer.confirm(question, err=True):
        run.output.write_aside("Nothing was changed.")
        raise typer.Exit(1)


def _prove(run: Run, record: Connection, *, rotates: bool) -> Connection:
    """Refresh the set once. One that does not work stays, and the likely cause is written."""
    from .tokens import refresh_now

    try:
        return refresh_now(run, record)
    except CommandFailed:
        if rotates and not run.output.as_json:
            run.output.write_aside(
                "Most often the other system has refreshed it since: take the last set that it stored.", "yellow"
            )
        raise
