"""Protects docs/aws.md: each fact of AWS has a source, what leans on it, and a test, or says that none can look."""

from __future__ import annotations

import re

import pytest

from tests.unit.repository import ROOT

LEDGER = (ROOT / "docs" / "aws.md").read_text("utf-8")
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split(" | "))
    for line in LEDGER.splitlines()
    if line.startswith("| ") and not line.startswith(("| fact", "| AWS |"))
]
FACTS = [row for row in ROWS if len(row) == 4]
NOT_SEEN = "*first deployment*"


def name(row: tuple[str, ...]) -> str:
    return re.sub(r"\W+", "_", row[0])[:40]


def test_the_ledger_is_a_table_of_facts() -> None:
    assert len(FACTS) >= 30
    assert {len(row) for row in ROWS} == {3, 4}, "a cell is missing, or holds a bar"


@pytest.mark.parametrize("row", FACTS, ids=name)
def test_a_fact_has_a_source_and_a_test_or_says_that_none_can_look(row: tuple[str, ...]) -> None:
    _, source, leans, notices = row
    assert source
    assert leans
    named = re.findall(r"`((?:tests|local)/[\w/.]+)(?:::(\w+))?`", notices)
    assert named or NOT_SEEN in notices
    for path, test in named:
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text("utf-8"), f"{path} has no {test}"
