"""``evergrant connect``: at once for a headless grant or a pasted key, else by a link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from .links import connect_by_link, write_connected
from .pasted_tokens import connect_by_key
from .problems import WrongUsage
from .redirect_uris import find_redirect_uri
from .run import AsJson, Name, Run, Var, get_run, parse_variables

if TYPE_CHECKING:
    from evergrant.connect.links import Authorization
    from evergrant.profiles.model import Profile
    from evergrant.record.connection import Connection


_UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86_400}


def _parse_lifetime(text: str) -> int:
    """Parse `90m`, `24h` or `7d` to seconds."""
    from evergrant.connect.links import MAX_TICKET_LIFETIME_SECONDS, MIN_TICKET_LIFETIME_SECONDS

    number, unit = text[:-1], _UNIT_SECONDS.get(text[-1:], 0)
    seconds = int(number) * unit if number.isascii() and number.isdecimal() and len(number) < 7 else 0
    if not MIN_TICKET_LIFETIME_SECONDS <= seconds <= MAX_TICKET_LIFETIME_SECONDS:
        raise typer.BadParameter("write 15m, 24h or 7d; a link is valid for 1m at least, and for 7d at most")
    return seconds


def connect(
    context: typer.Context,
    connection: Name,
    client: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default=False, help="The stored client to use. Default: the provider's name."
        ),
    ] = None,
    var: Var = None,
    grant: Annotated[
        str | None,
        typer.Option(metavar="GRANT", show_default=False, help="One of the profile's grants. Default: its first."),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            metavar="SCOPE",
            show_default=False,
            help="A scope to request instead of the profile's (`provider show`); repeat it.",
        ),
    ] = None,
    direct_read: Annotated[
        bool | None,
        typer.Option(
            "--direct-read/--no-direct-read",
            show_default=False,
            help="Whether consumers may read the token as a secret (the default), or get it from getter only.",
        ),
    ] = None,
    expires_at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", show_default=False, help="When a pasted key expires: 2027-01-31T00:00:00Z, or 2027-01-31."
        ),
    ] = None,
    link_valid: Annotated[
        int,
        typer.Option(
            metavar="TIME",
            parser=_parse_lifetime,
            show_default="15m",
            help="How long the link is valid: 90m, 24h, at most 7d.",
        ),
    ] = "15m",  # type: ignore[assignment]  # typer parses defaults too
    another_account: Annotated[
        bool,
        typer.Option("--another-account", help="Let the link connect another account than the one connected before."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the account is connected.")] = True,
    as_json: AsJson = False,
) -> None:
    """Connect an account, or authorize it again.

    Where a person must consent, this prints a link that works once within 15
    minutes (--link-valid). Open it, or send it to the account's owner (--no-wait
    prints the letter). Ctrl-C leaves the link valid.
    A headless grant needs no person: it is tried at once. With --grant static the
    command asks for a key or a personal access token that you made at the
    provider. Without a terminal, standard input holds it, alone or as
    {"access_token": …}.

    An existing connection keeps its client, variables, grant and scopes unless
    you give others. It works as before until the new grant is saved. Where the
    provider identifies the account, another one than before is refused, unless
    you give --another-account.

    [bold]Examples[/]
      evergrant connect keap/main
      evergrant connect wealthyhood/main --var host=auth.example --var audience=https://api.example
      evergrant connect keap/main --no-wait --link-valid 7d
      evergrant connect zendesk/main --var … --scope read --scope write
      evergrant connect keap/own --grant static --expires-at 2027-01-31
    """
    from evergrant.connect import operator_actions
    from evergrant.connect.mix_up import require_mix_up_defence
    from evergrant.profiles.model import HEADLESS_GRANTS

    run = get_run(context)
    deployment = run.deployment
    profile, authorization, grant = plan_authorization(
        run, connection, client, parse_variables(var), grant, direct_read, scope or ()
    )
    if grant == "static":
        connect_by_key(run, authorization, profile, expires_at, wait=wait)
        return
    if expires_at is not None:
        raise WrongUsage("--expires-at needs --grant static: it is for a pasted key.")
    entry = deployment.require_client(authorization.client, list_client_hosts(profile, authorization, grant))
    if entry and grant == "authorization_code":
        require_mix_up_defence(profile, authorization, entry)
    # The connection pins this profile by its hash, also when a later release ships another.
    deployment.profiles.keep(profile)
    record = operator_actions.begin(deployment.records, authorization, grant, deployment.clock)
    if grant in HEADLESS_GRANTS:
        _connect_headless(run, record)
    else:
        connect_by_link(run, record, authorization, profile.title, link_valid, another_account, wait)


def plan_authorization(
    run: Run,
    connection: str,
    client: str | None,
    variables: dict[str, str],
    grant: str | None,
    direct_read: bool | None,
    scopes: Sequence[str] = (),
) -> tuple[Profile, Authorization, str]:
    """Plan what to authorize: given values first, then those of the connection, then the profile's defaults."""
    from evergrant.connect import operator_actions
    from evergrant.names import split_connection

    deployment = run.deployment
    provider, _ = split_connection(connection)
    profile = deployment.profiles.load_named(provider)
    current = deployment.records.get(connection)
    if current is not None:
        client = client or current.client
        grant = grant or (current.grant if current.grant in profile.grants else None)
        kept = {name: value for name, value in current.variables.items() if name in profile.variables}
        variables = kept | variables
        direct_read = current.direct_read if direct_read is None else direct_read
    authorization, chosen = operator_actions.plan(
        profile,
        connection,
        client=client,
        grant=grant,
        variables=variables,
        scopes=scopes,
        direct_read=direct_read is not False,
    )
    if chosen in ("authorization_code", "login"):
        redirect_uri = find_redirect_uri(deployment, authorization.client, provider, current)
        authorization = replace(authorization, redirect_uri=redirect_uri)
    if not scopes and current is not None and current.grant == chosen and _has_own_scope(run, current):
        authorization = replace(authorization, scope=current.scope)
    return profile, authorization, chosen


def _has_own_scope(run: Run, current: Connection) -> bool:
    """Whether the operator gave the connection another scope than its profile's."""
    from evergrant.errors import UnknownProfile

    try:
        return current.scope != run.deployment.profiles.load_pinned(current.profile_hash).join_scopes(current.grant)
    except UnknownProfile:
        return False


def list_client_hosts(profile: Profile, authorization: Authorization, grant: str) -> list[str]:
    """List the hosts that the client will be sent to."""
    from evergrant.profiles.model import HEADLESS_GRANTS
    from evergrant.profiles.templates import fill_template

    requests = [getattr(profile, grant)] if grant in HEADLESS_GRANTS else [profile.exchange, profile.refresh]
    urls = [request.url for request in requests if request]
    urls += [profile.subject.url] if profile.subject and profile.subject.url and grant not in HEADLESS_GRANTS else []
    hosts = [fill_template(url.split("/", 3)[2], authorization.variables) for url in urls]
    return list(dict.fromkeys(host.lower() for host in hosts if host))


def _connect_headless(run: Run, record: Connection) -> None:
    """Connect with a headless grant: rotator tries it now, and the answer says whether the credentials work."""
    from .connection_view import build_connection_view
    from .tokens import refresh_now

    record = refresh_now(run, record)
    if run.output.as_json:
        run.output.write_document(build_connection_view(record, run.now))
        return
    write_connected(run, record, "The credentials work. ")
