"""``evergrant import``: a token set that another system kept until now, without a new consent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .connect import hosts_of, planned
from .output import span
from .pasted_tokens import json_object, keep, standard_input
from .problems import CommandFailed, Problem
from .run import AsJson, Name, Run, Var, interactive, run_of, variables_of

if TYPE_CHECKING:
    from evergrant.record.connection import Connection


def import_set(
    context: typer.Context,
    connection: Name,
    client: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="The stored client it was issued to; else the provider's name.",
        ),
    ] = None,
    var: Var = None,
    prove: Annotated[bool, typer.Option("--prove", help="Refresh it once, now, to see that it works.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of a grant that is connected and alive.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Move an existing token here from another system, as JSON on standard input.

    Give it as the provider's token endpoint answered (RFC 6749): access_token,
    refresh_token, expires_in (seconds from now on) or expires_at (RFC 3339 or
    epoch seconds), scope, token_type; refresh_expires_at if you know it.

    Where a refresh changes the refresh token, only one system can keep it. Stop
    the other one first: the script, cron job or connector that refreshed it, or
    an Evergrant stack of another account. Then import the last set it stored,
    with --prove, which refreshes it once.

    Nothing of it is ever shown. Without a refresh token the access token is
    served until it lapses; then somebody has to connect the account.

    [bold]Examples[/]
      evergrant import keap/main --prove < tokens.json
      vault kv get -field=tokens crm/keap | evergrant import keap/main --prove
    """
    from evergrant.connect.token_import import parse_token_set

    from .connection_view import view

    run = run_of(context)
    profile, authorization, _ = planned(run, connection, client, variables_of(var), "authorization_code", None)
    run.deployment.demand_client(authorization.client, hosts_of(profile, authorization, "authorization_code"))
    if not replace:
        _demand_free(run, connection)
    if interactive():
        run.output.aside("Paste the token set as JSON (it shows as you paste), then end with Ctrl-D:")
    given = json_object(standard_input())
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
    record = keep(run, authorization, "authorization_code", profile, tokens, wait=not prove)
    if prove:
        record = _proven(run, record, rotates=profile.rotation.rotates)
    if run.output.as_json:
        run.output.document(view(record, run.now))
        return
    left = span((record.expires_at or run.now) - run.now)
    if tokens.refresh_token is None:
        run.output.line(f"{record.name} is taken over as it is; its token lives for {left}.", "green")
        run.output.line(
            "It came without a refresh token: nothing renews it. When it is about to lapse you are told, and somebody "
            f"has to connect the account: `evergrant connect {record.name}`.",
            "yellow",
        )
        return
    proven = "was refreshed once, and works" if prove else "is taken over as it is; --prove would have tried it"
    run.output.line(f"{record.name} {proven}. Its token lives for {left} and is refreshed by itself.", "green")
    if profile.rotation.rotates:
        run.output.line(_ONE_HOLDER, "yellow")


#: What becomes of the other holder of a refresh token that changes.
_ONE_HOLDER = (
    "Each refresh ends the refresh token before it: whatever else holds this one (the script, cron job or connector "
    "that it comes from) must stop using it now, or the provider may end the whole grant."
)


def _demand_free(run: Run, connection: str) -> None:
    """A grant that is alive is not overwritten by a slip."""
    from evergrant.record.status import Status

    current = run.deployment.records.get(connection)
    over = (Status.AWAITING_AUTHORIZATION, Status.AUTHORIZATION_REQUIRED, Status.DISCONNECTED)
    if current is None or current.sealed is None or current.status in over:
        return
    question = f"{connection} is connected ({current.status}). Put the token set in the place of its grant?"
    if run.output.as_json or not interactive():
        raise CommandFailed(
            Problem(
                "already_connected",
                f"{connection} is connected ({current.status}), and its grant would be lost.",
                "Take another name for another account; to replace the grant, say --replace.",
            )
        )
    if not typer.confirm(question, err=True):
        run.output.aside("Nothing was changed.")
        raise typer.Exit(1)


def _proven(run: Run, record: Connection, *, rotates: bool) -> Connection:
    """Refresh it once. A set that does not work stays, and what is wrong is said with who else may hold it."""
    from .tokens import refreshed

    try:
        return refreshed(run, record)
    except CommandFailed:
        if rotates and not run.output.as_json:
            run.output.aside(
                "Most often the other system has refreshed it since: take the last set that it stored.", "yellow"
            )
        raise
