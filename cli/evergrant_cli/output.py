"""Everything the command prints. JSON: one document on standard output. Else words, coloured only at a terminal."""

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

    def write_document(self, document: Mapping[str, Any]) -> None:
        """The one JSON document."""
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def write(self, text: str = "", style: str | None = None) -> None:
        """A line of the result, never folded and never read as markup: links stay whole."""
        self.console.print(text, style=style, markup=False, soft_wrap=True)

    def write_aside(self, text: str, style: str | None = None) -> None:
        """A line that is no part of the result."""
        self.errors.print(text, style=style, markup=False, soft_wrap=True)

    def write_table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table; cells are plain text, and columns without any are left out.

        No cell is ever cut. Where the terminal is too narrow the header is folded, and where that is not enough each
        row is a block of lines.
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
        """Names and values, one below the other and each on one line; those without a value are left out."""
        from rich.text import Text

        shown = [(name, value) for name, value in facts if value]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            text = Text.assemble((name.ljust(width), "dim"), " " * _GAP, value)
            self.console.print(text, soft_wrap=True)

    @contextmanager
    def show_busy(self, what: str) -> Iterator[None]:
        """At a terminal, show that something is being waited for."""
        if not self.errors.is_terminal:
            yield
            return
        with self.errors.status(what):
            yield

    def write_problem(self, problem: Problem) -> None:
        """The end of a command that failed."""
        if self.as_json:
            self.write_document({"error": problem.as_dict()})
            return
        self.write_aside(problem.message, "red")
        if problem.hint:
            self.write_aside(problem.hint)


def format_span(seconds: float) -> str:
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


def format_until(at: int | None, now: int, past: str = "ago") -> str:
    """A moment as seen from now: ``in 3 h 20 min``, ``5 min ago``, or nothing."""
    if at is None:
        return ""
    return f"in {format_span(at - now)}" if at > now else f"{format_span(now - at)} {past}"
