"""The entry of a client as an operator gives it: read from the terminal or standard input, and trimmed with a word."""

from __future__ import annotations

from typing import Any

import typer

from .problems import CommandFailed, Problem
from .run import Run, is_interactive
from .standard_input import describe_json_error, parse_json_object, read_standard_input


def read_entry(name: str, client_id: str | None) -> dict[str, Any]:
    """Read the entry that the operator gives. No error repeats any of it."""
    if is_interactive():
        client_id = client_id or typer.prompt(f"Client id of {name}", err=True)
        secret = typer.prompt("Client secret (not shown)", hide_input=True, err=True)
        return {"client_id": client_id, "client_secrets": [secret]}
    text = read_standard_input()
    if client_id is None:
        entry = parse_json_object(text)
        if entry is not None:
            return entry
        raise CommandFailed(
            Problem(
                "invalid_client_entry",
                f"Standard input holds no JSON object{_locate(text)}.",
                'Write {"client_id": "…", "client_secrets": ["…"]}, or give --client-id and the secret alone.',
            )
        )
    secrets = [line for line in text.splitlines() if line.strip()]
    if not secrets:
        raise CommandFailed(Problem("invalid_client_entry", "Standard input holds no secret.", "One secret a line."))
    return {"client_id": client_id, "client_secrets": secrets}


def _locate(text: str) -> str:
    place = describe_json_error(text)
    return f" ({place})" if place else ""


def trim_entry(run: Run, entry: dict[str, Any]) -> dict[str, Any]:
    """Trim what was entered by mistake around the id and the secrets, and say so.

    A password may begin or end with a space or a quote: of a log-in's credentials, line breaks alone are trimmed.
    """
    from evergrant.entered_secret import trim_secret

    said: dict[str, str] = {}

    def trim(place: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        trimmed, removed = trim_secret(value, is_token=False)
        if removed:
            said[place] = removed
        return trimmed

    def trim_breaks(place: str, value: Any) -> Any:
        if not isinstance(value, str) or value.strip("\r\n") == value:
            return value
        said[place] = "a line break"
        return value.strip("\r\n")

    trimmed = dict(entry)
    if "client_id" in entry:
        trimmed["client_id"] = trim("client_id", entry["client_id"])
    secrets = entry.get("client_secrets")
    if isinstance(secrets, list):
        trimmed["client_secrets"] = [trim(f"client_secrets[{place}]", one) for place, one in enumerate(secrets)]
    credentials = entry.get("credentials")
    if isinstance(credentials, dict):
        trimmed["credentials"] = {key: trim_breaks(f"credentials.{key}", one) for key, one in credentials.items()}
    for place, removed in said.items():
        run.output.write_aside(f"{place} had {removed} around it, which was removed.", "yellow")
    return trimmed
