"""``evergrant import``: take over a token set from another system, without a new consent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .connect import list_client_hosts, plan_authorization
from .output import format_span
from .pasted_tokens import save_token_set
from .problems import CommandFailed, Problem
from .run import AsJson, Name, Run, Var, get_run, is_interactive, parse_pairs, parse_variables
from .standard_input import read_standard_input

if TYPE_CHECKING:
    from evergrant.connect.imported_set import ImportedSet
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
    capture: Annotated[
        list[str] | None,
        typer.Option(
            "--capture",
            metavar="NAME=VALUE",
            show_default=False,
            help="A value that only the callback brings, such as QuickBooks' realm_id; repeat it.",
        ),
    ] = None,
    entry: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default=False, help="Which token set of a file with several: name or number."
        ),
    ] = None,
    prove: Annotated[bool, typer.Option("--prove", help="Refresh it once, now, to prove that it works.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a grant that is connected and works.")] = False,
    as_json: AsJson = False,
) -> None:
    """Move an existing token here from another system, on standard input.

    Give the file as the other system keeps it, or the provider's last token
    response (RFC 6749): access_token, refresh_token, expires_in (seconds from
    now) or expires_at, scope, token_type. A refresh token alone is enough. The
    files of common tools are recognized: Google's libraries, rclone, n8n, Nango,
    MSAL, requests-oauthlib, Auth.js, Laravel Socialite, Airbyte and others.

    Where a refresh changes the refresh token, only one system can keep it. Stop
    the other one first: the script, cron job or connector that refreshed it, or
    an Evergrant stack of another account. Then import the last set that it
    stored with --prove, which refreshes it once.

    The token set is never shown. Without a refresh token the access token is
    served until it expires; then the account must be connected.

    [bold]Examples[/]
      evergrant import keap/main --prove < tokens.json
      vault kv get -field=tokens crm/keap | evergrant import keap/main --prove
      evergrant import quickbooks/main --capture realm_id=9130… --prove < tokens.json
    """
    from evergrant.connect.imported_set import parse_token_set
    from evergrant.oauth.token_file_choice import choose_set

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
    found = choose_set(profile, read_standard_input(typed=is_interactive()), entry)
    imported = parse_token_set(
        profile, found, run.now, authorization.variables, captured=parse_pairs(capture, "--capture"), proven=prove
    )
    tokens = imported.tokens
    if tokens.refresh_token and profile.refresh is None:
        raise CommandFailed(
            Problem("invalid_request", f"{profile.title} has no refresh tokens.", "Leave refresh_token out.")
        )
    record = save_token_set(run, authorization, "authorization_code", profile, tokens, wait=not prove)
    _write_reading(run, imported)
    if prove:
        record = _prove(run, record, rotates=profile.rotation.rotates)
    if run.output.as_json:
        reading = {
            "read_as": imported.title,
            "ignored_fields": list(imported.ignored),
            "remarks": list(imported.remarks),
        }
        run.output.write_document({**build_connection_view(record, run.now), **reading})
        return
    _write_result(run, record, imported, rotates=profile.rotation.rotates, prove=prove)


def _write_reading(run: Run, imported: ImportedSet) -> None:
    """Write what the set was read as, and what of it was not used."""
    if run.output.as_json:
        return
    run.output.write_aside(f"Read as {imported.title}.")
    if imported.ignored:
        run.output.write_aside(f"Ignored: {', '.join(imported.ignored)}.")
    for remark in imported.remarks:
        run.output.write_aside(remark, "yellow")


def _write_result(run: Run, record: Connection, imported: ImportedSet, *, rotates: bool, prove: bool) -> None:
    left = format_span((record.expires_at or run.now) - run.now)
    if imported.tokens.refresh_token is None:
        run.output.write(f"{record.name} is taken over as it is; its token lives for {left}.", "green")
        run.output.write(
            "It has no refresh token: nothing renews it. An alert comes before it expires; then connect the account: "
            f"`evergrant connect {record.name}`.",
            "yellow",
        )
        return
    if not prove and (record.expires_at or 0) <= run.now:
        run.output.write(f"{record.name} is taken over; its first refresh is due now.", "green")
    else:
        proven = "was refreshed once, and works" if prove else "is taken over as it is; --prove would have tried it"
        run.output.write(f"{record.name} {proven}. Its token lives for {left} and is refreshed by itself.", "green")
    if rotates:
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
