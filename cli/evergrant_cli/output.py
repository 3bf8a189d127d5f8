"""Write what the command prints: one JSON document on standard output, or text, coloured at a terminal only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .problems import Problem

if TYPE_CHECKING:
    from rich.console import Console

#: Wide enough that nothing of a table is folded when a program reads it.
_WIDTH_WHEN_PIPED = 10_000
_GAP = 3


class Output:
    """Writes a command's result and its asides. ``--json`` sets ``as_json``."""

    def __init__(self) -> None:
        self.as_json = False

    @cached_property
    def console(self) -> Console:
        """Standard output."""
        from rich.console import Console

        return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_WHEN_PIPED)

    @cached_property
    def errors(self) -> Console:
        """Standard error, for what is not the command's result."""
        from rich.console import Console

        return Console(highlight=False, stderr=True)

    def write_document(self, document: Mapping[str, Any]) -> None:
        """Write the one JSON document."""
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def write(self, text: str = "", style: str | None = None) -> None:
        """Write a line of the result, neither folded nor read as markup, so that links stay whole."""
        self.console.print(text, style=style, markup=False, soft_wrap=True)

    def write_aside(self, text: str, style: str | None = None) -> None:
        """Write a line that is no part of the result."""
        self.errors.print(text, style=style, markup=False, soft_wrap=True)

    def write_table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table. Cells are plain text; an empty column is left out.

        No cell is cut. On a narrow terminal the header is folded. Where that is not enough, each row becomes a block
        of lines.
        """
        shown = [column for column in range(len(header)) if any(row[column] for row in rows)]
        header = [header[column] for column in shown]
        rows = [[row[column] for column in shown] for row in rows]
        for folded, gap in (([[name] for name in header], _GAP), ([name.split() for name in header], _GAP - 1)):
            widths = [max(map(len, [*names, *cells])) for names, *cells in zip(folded, *rows, strict=True)]
            if sum(widths) + gap * (len(widths) - 1) <= self.console.width:
                self._write_grid(folded, rows, widths, " " * gap)
                return
        for row in rows:
            self.write(row[0], "bold")
            for name, cell in zip(header[1:], row[1:], strict=True):
                if cell:
                    self.write(f"  {name}: {cell}")

    def _write_grid(
        self, header: Sequence[Sequence[str]], rows: Sequence[Sequence[str]], widths: Sequence[int], gap: str
    ) -> None:
        height = max(map(len, header), default=0)
        heads = [[*names, *[""] * (height - len(names))] for names in header]
        for style, lines in (("bold", list(zip(*heads, strict=True))), (None, rows)):
            for cells in lines:
                padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
                self.write(gap.join(padded).rstrip(), style)

    def write_facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Write names and values, one pair a line; a pair without a value is left out."""
        from rich.text import Text

        shown = [(name, value) for name, value in facts if value]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            text = Text.assemble((name.ljust(width), "dim"), " " * _GAP, value)
            self.console.print(text, soft_wrap=True)

    @contextmanager
    def show_busy(self, what: str) -> Iterator[None]:
        """Show at a terminal what the command waits for."""
        if not self.errors.is_terminal:
            yield
            return
        with self.errors.status(what):
            yield

    def write_problem(self, problem: Problem) -> None:
        """Write why the command failed."""
        if self.as_json:
            self.write_document({"error": problem.as_dict()})
            return
        self.write_aside(problem.message, "red")
        if problem.hint:
            self.write_aside(problem.hint)


def format_span(seconds: float) -> str:
    """Format a duration by its two largest units: ``3 h 20 min``, ``44 days``."""
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


def format_until(at: int | None, now: int, past: str = "ago") -> str:
    """Format a moment relative to now: ``in 3 h 20 min``, ``5 min ago``, or nothing."""
    if at is None:
        return ""
    return f"in {format_span(at - now)}" if at > now else f"{format_span(now - at)} {past}"
