"""The one table at the end, for people and for machines."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from local.torture.results import Account, Row, in_milliseconds

_HEADINGS = (
    "faults\ninjected",
    "rotations",
    "saved by\nthe queue",
    "answers\nlost",
    "grants lost,\nunavoidably",
    "grants\nlost",
    "recovered\nafter",
    "commit to save, ms\nmedian / max",
)


def table(account: Account) -> Table:
    """Everything that was counted."""
    made = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    made.add_column("fault", no_wrap=True)
    for heading in _HEADINGS:
        made.add_column(heading, justify="right")
    for row in account.rows:
        made.add_row(*_cells(row))
    made.add_section()
    made.add_row(*_cells(_total(account)), style="bold")
    return made


def _cells(row: Row) -> list[str]:
    window = in_milliseconds(row.windows)
    return [
        row.fault,
        str(row.injected),
        str(row.rotations),
        str(row.queued),
        str(row.answers_lost),
        str(row.unavoidable),
        f"[{'red' if row.lost else 'green'}]{row.lost}[/]",
        f"{row.recovery:.0f} s" if row.recovery else "",
        f"{window['median']:.0f} / {window['max']:.0f}" if window else "–",
    ]


def _total(account: Account) -> Row:
    total = Row("total", 0, frozenset(), 0.0)
    for row in account.rows:
        total.injected += row.injected
        total.rotations += row.rotations
        total.queued += row.queued
        total.answers_lost += row.answers_lost
        total.unavoidable += row.unavoidable
        total.lost += row.lost
        total.windows += row.windows
    return total


def document(account: Account, seed: int, seconds: float) -> dict[str, Any]:
    """The same for a machine."""
    return {
        "seed": seed,
        "seconds": round(seconds),
        "connections": len(account.place.names),
        "rows": [row.as_dict() for row in account.rows],
        "total": _total(account).as_dict() | {"recovery_seconds": None},
        "killed_after_step": account.steps_killed(),
        "failures": account.failures,
        "held": not account.failures,
    }
