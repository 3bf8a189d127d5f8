"""Protects docs/rotation.md: what it says is shown by a test is shown by a test that there is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/rotation.md").read_text("utf-8")


def test_every_test_that_is_named_exists() -> None:
    defined = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text("utf-8"))
    }
    assert set(re.findall(r"`(test_\w+)`", TEXT)) <= defined


def test_every_row_of_what_happens_names_a_test() -> None:
    table = TEXT.partition("| it stops at |")[2].partition("\n\n")[0]
    rows = table.splitlines()[2:]
    assert len(rows) > 15
    assert all("`test_" in row.rsplit("|", 2)[1] for row in rows)
