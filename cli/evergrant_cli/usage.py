"""Format the help: values are named in capitals, and a switch shows no type."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class Verb(TyperCommand):
    """A command whose help does not show typer's types."""

    def get_params(self, ctx: Any) -> Any:
        return hide_types(super().get_params(ctx))


class Verbs(TyperGroup):
    """A group of :class:`Verb`."""

    def get_params(self, ctx: Any) -> Any:
        return hide_types(super().get_params(ctx))


def hide_types(params: list[Any]) -> list[Any]:
    """Hide typer's ``<bool>`` and ``<str>``: a metavar says more, and a switch takes no value."""
    for param in params:
        if param.param_type_name == "argument":
            param.display_type_rich = _show_nothing
        elif param.is_flag and param.metavar is None:
            param.metavar = ""
    return params


def _show_nothing(ctx: Any) -> str:
    return ""
