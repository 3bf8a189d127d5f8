"""How the command explains itself: names in capitals for what is to be given, and nothing for what is only a switch."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class Verb(TyperCommand):
    """A command whose help leaves out the types that typer shows."""

    def get_params(self, ctx: Any) -> Any:
        return hide_types(super().get_params(ctx))


class Verbs(TyperGroup):
    """A group of :class:`Verb`."""

    def get_params(self, ctx: Any) -> Any:
        return hide_types(super().get_params(ctx))


def hide_types(params: list[Any]) -> list[Any]:
    """The parameters, typer's ``<bool>`` and ``<str>`` gone: a metavar says more, and a switch takes nothing."""
    for param in params:
        if param.param_type_name == "argument":
            param.display_type_rich = _nothing
        elif param.is_flag and param.metavar is None:
            param.metavar = ""
    return params


def _nothing(ctx: Any) -> str:
    return ""
