"""``evergrant import``: a token set that another system kept until now, without a new consent."""

from __future__ import annotations

from typing import Annotated

import typer

from .by_hand import json_object, keep, standard_input
from .connect import hosts_of, planned
from .output import span
from .problems import CommandFailed, Problem
from .run import AsJson, Name, Var, run_of, variables_of


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
    as_json: AsJson = False,
) -> None:
    """Take over a token set from another system, as JSON on standard input.

    It holds access_token, refresh_token, and expires_at (RFC 3339) or expires_in
    (seconds from now on); refresh_expires_at, token_type and scope if known.

    Where a refresh changes the refresh token, only one system can keep it:
    the other one must stop using it before this one begins.

    [bold]Example[/]
      evergrant import keap/main --prove < tokens.json
    """
    from evergrant.importing import given_set

    from .tokens import refreshed
    from .views import view

    run = run_of(context)
    profile, authorization, _ = planned(run, connection, client, variables_of(var), "authorization_code", None)
    run.deployment.demand_client(authorization.client, hosts_of(profile, authorization, "authorization_code"))
    given = json_object(standard_input())
    if given is None or profile.refresh is None:
        raise CommandFailed(
            Problem(
                "invalid_request",
                f"{profile.title} has no refresh tokens." if given else "Standard input holds no JSON object.",
                "A key that nothing renews is pasted: evergrant connect --grant static."
                if given
                else 'Write {"access_token": "…", "refresh_token": "…", "expires_at": "2027-01-31T00:00:00Z"}.',
            )
        )
    tokens = given_set(profile, given, run.now, authorization.variables, proven=prove)
    record = keep(run, authorization, "authorization_code", profile, tokens, wait=not prove)
    if prove:
        record = refreshed(run, record)
    if run.output.as_json:
        run.output.document(view(record, run.now))
        return
    left = span((record.expires_at or run.now) - run.now)
    proven = "was refreshed once, and works" if prove else "is taken over as it is; --prove would have tried it"
    run.output.line(f"{record.name} {proven}. Its token lives for {left} and is refreshed by itself.", "green")
    if profile.rotation.rotates:
        run.output.line(
            "Each refresh ends the refresh token before it: whatever else holds this one must stop using it now, "
            "or the provider may end the whole grant.",
            "yellow",
        )
