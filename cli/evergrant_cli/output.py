"""Everything the command prints. JSON: one document on standard output. Else words, coloured only at a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .problems import Problem

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Wide enough that nothing of a table is folded when a program reads it.
_WIDTH_WHEN_PIPED = 240


class Output:
    """Where a command's words go. ``as_json`` is set by ``--json``."""

    def __init__(self) -> None:
        self.as_json = False

    @cached_property
    def console(self) -> Console:
        """Standard output."""
        from rich.console import Console

        return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_WHEN_PIPED)

    @cached_property
    def errors(self) -> Console:
        """Standard error: what is not the command's result."""
        from rich.console import Console

        return Console(highlight=False, stderr=True)

    def document(self, document: Mapping[str, Any]) -> None:
        """The one JSON document."""
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def line(self, text: str = "", style: str | None = None) -> None:
        """A line of the result, never folded and never read as markup: links stay whole."""
        self.console.print(text, style=style, markup=False, soft_wrap=True)

    def aside(self, text: str, style: str | None = None) -> None:
        """A line that is no part of the result."""
        self.errors.print(text, style=style, markup=False, soft_wrap=True)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table; cells are plain text."""
        table = self._table(header=True)
        for name in header:
            table.add_column(name, no_wrap=not self.console.is_terminal)
        for row in rows:
            table.add_row(*map(_plain, row))
        self.console.print(table)

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Names and values, one below the other; those without a value are left out."""
        table = self._table(header=False)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in facts:
            if value:
                table.add_row(name, _plain(value))
        self.console.print(table)

    def fail(self, problem: Problem) -> None:
        """The end of a command that failed."""
        if self.as_json:
            self.document({"error": problem.as_dict()})
            return
        self.aside(problem.message, "red")
        if problem.hint:
            self.aside(problem.hint)

    @staticmethod
    def _table(header: bool) -> Table:
        from rich.table import Table

        return Table(box=None, pad_edge=False, show_header=header, header_style="bold", padding=(0, 3, 0, 0))


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)


def span(seconds: float) -> str:
    """A length of time as people say it, by its two largest units: ``3 h 20 min``, ``44 days``."""
    left = max(int(seconds), 0)
    if left < 60:
        return f"{left} s"
    minutes, hours, days = left // 60, left // 3600, left // 86_400
    if hours < 1:
        return f"{minutes} min" + (f" {left % 60} s" if minutes < 5 and left % 60 else "")
    if days < 1:
        return f"{hours} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    if days < 3:
        return f"{days} d" + (f" {hours % 24} h" if hours % 24 else "")
    return f"{days} days"


def until(at: int | None, now: int, past: str = "ago") -> str:
    """A moment as seen from now: ``in 3 h 20 min``, ``5 min ago``, or nothing."""
    if at is None:
        return ""
    return f"in {span(at - now)}" if at > now else f"{span(now - at)} {past}"
