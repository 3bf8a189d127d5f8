"""Parses command lines with the parser of ``evergrant`` itself, and runs none of them."""

from __future__ import annotations

import shlex
from typing import Any

import typer

from evergrant_cli.main import app
from evergrant_cli.run import Run


def parse_command(command: str) -> dict[str, Any]:
    """Return the parameters of the verb; fails where there is no such verb, option or argument."""
    program, *arguments = shlex.split(command)
    context: Any = typer.main.get_command(app).make_context(program, arguments, obj=Run("evergrant", None, None))
    while hasattr(context.command, "resolve_command"):
        _, verb, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        context = verb.make_context(verb.name, rest, parent=context)
    return dict(context.params)
