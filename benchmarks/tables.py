"""Output of the benchmarks: tables, goals, and the machine."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

#: In a pipe a table is not wrapped at eighty columns.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)


def describe_machine() -> str:
    """Describe the machine."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column is words, the others are figures."""
    shown = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for number, name in enumerate(header):
        shown.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        shown.add_row(*row)
    console.print()
    console.print(shown)


def print_goal(what: str, *, met: bool) -> None:
    """Print a goal, and whether this run met it."""
    console.print(f"  {'met ' if met else 'MISSED'}  {what}", style="green" if met else "red")
