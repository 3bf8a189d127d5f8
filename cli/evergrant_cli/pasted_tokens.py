"""Connect with a pasted key or token set. It comes from a hidden prompt or standard input, and is never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from .output import format_span
from .problems import CommandFailed, Problem
from .run import Run, is_interactive
from .standard_input import parse_json_object, read_standard_input

if TYPE_CHECKING:
    from evergrant.connect.links import Authorization
    from evergrant.oauth.token_set import TokenSet
    from evergrant.profiles.model import Profile
    from evergrant.record.connection import Connection


def connect_by_key(
    run: Run, authorization: Authorization, profile: Profile, expires_at: str | None, *, wait: bool
) -> None:
    """Connect with ``--grant static``: the pasted key becomes the connection's token."""
    from evergrant.connect.token_import import parse_expiry, parse_pasted_key
    from evergrant.entered_secret import trim_secret

    from .connection_view import build_connection_view

    # Check the arguments before asking for the key.
    at = None if expires_at is None else parse_expiry(expires_at)
    entered, key_expires_at = _read_key(authorization.connection, profile)
    key, removed = trim_secret(entered)
    if removed:
        run.output.write_aside(f"The key had {removed} around it, which was removed.", "yellow")
    if at is None and key_expires_at is not None:
        at = parse_expiry(key_expires_at)
    tokens = parse_pasted_key(profile, key, run.now, at)
    record = save_token_set(run, authorization, "static", profile, tokens, wait=wait)
    if run.output.as_json:
        run.output.write_document(build_connection_view(record, run.now))
        return
    end = "Its expiry is not known: you get an alert when the provider's API refuses it."
    if tokens.refresh_expires_at is not None:
        left = format_span(tokens.expires_at - run.now)
        end = f"The key expires in {left}, and nothing renews it: paste another before then."
    run.output.write(f"{record.name} is connected. {end}", "green")
    run.output.write(f"Read it with `evergrant get {record.name}`, or from a function with evergrant_client.")


def save_token_set(
    run: Run, authorization: Authorization, grant: str, profile: Profile, tokens: TokenSet, *, wait: bool
) -> Connection:
    """Save a token set as the connection's next generation; with ``wait``, return once it is published."""
    from evergrant.connect.token_import import TokenImport

    from .link_progress import wait_until_published

    deployment = run.deployment
    importing = TokenImport(
        deployment.records, deployment.seal, deployment.queue, deployment.clock, deployment.settings
    )
    deployment.profiles.keep(profile)
    client = None if grant == "static" else deployment.vault.client(authorization.client)
    record = importing.keep(authorization, grant, profile, tokens, client)
    if not wait:
        return record
    with run.output.show_busy("publishing the token …"):
        return wait_until_published(deployment.records, deployment.clock, record)


def _read_key(connection: str, profile: Profile) -> tuple[str, str | None]:
    """Read the key, and its expiry if that came with it."""
    if is_interactive():
        if profile.static:
            typer.echo(f"{profile.title}: {profile.static.describe}", err=True)
        typed: str = typer.prompt(f"Key for {connection} (not shown)", hide_input=True, err=True)
        return typed, None
    text = read_standard_input()
    if not text.startswith("{"):
        return text, None
    given = parse_json_object(text) or {}
    key, expires_at = given.get("access_token"), given.get("expires_at")
    if (
        not isinstance(key, str)
        or not isinstance(expires_at, str | None)
        or given.keys() - {"access_token", "expires_at"}
    ):
        raise CommandFailed(
            Problem(
                "invalid_request",
                "Standard input holds no key.",
                'Write the key alone, or {"access_token": "…", "expires_at": "2027-01-31T00:00:00Z"}.',
            )
        )
    return key, expires_at
