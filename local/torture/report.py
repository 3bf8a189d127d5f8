"""The table at the end of a run, as text and as JSON."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from local.torture.results import Results, Row, to_milliseconds

_HEADINGS = (
    "faults\ninjected",
    "rotations",
    "saved by\nthe queue",
    "responses\nlost",
    "grants lost,\nunavoidably",
    "grants\nlost",
    "recovered\nafter",
    "commit to save, ms\nmedian / max",
)


def build_table(results: Results) -> Table:
    """Build the table of all rows and their total."""
    made = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    made.add_column("fault", no_wrap=True)
    for heading in _HEADINGS:
        made.add_column(heading, justify="right")
    for row in results.rows:
        made.add_row(*_format_cells(row))
    made.add_section()
    made.add_row(*_format_cells(_sum_rows(results)), style="bold")
    return made


def _format_cells(row: Row) -> list[str]:
    window = to_milliseconds(row.windows)
    return [
        row.fault,
        str(row.injected),
        str(row.rotations),
        str(row.queued),
        str(row.responses_lost),
        str(row.unavoidable),
        f"[{'red' if row.lost else 'green'}]{row.lost}[/]",
        f"{row.recovery:.0f} s" if row.recovery else "",
        f"{window['median']:.0f} / {window['max']:.0f}" if window else "–",
    ]


def _sum_rows(results: Results) -> Row:
    total = Row("total", 0, frozenset(), 0.0)
    for row in results.rows:
        total.injected += row.injected
        total.rotations += row.rotations
        total.queued += row.queued
        total.responses_lost += row.responses_lost
        total.unavoidable += row.unavoidable
        total.lost += row.lost
        total.windows += row.windows
    return total


def build_document(results: Results, seed: int, seconds: float) -> dict[str, Any]:
    """Return the results as the JSON document of ``--json``."""
    return {
        "seed": seed,
        "seconds": round(seconds),
        "connections": len(results.testbed.names),
        "rows": [row.as_dict() for row in results.rows],
        "total": _sum_rows(results).as_dict() | {"recovery_seconds": None},
        "killed_after_step": results.count_kills_by_step(),
        "failures": results.failures,
        "held": not results.failures,
    }
