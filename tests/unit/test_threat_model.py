"""Protects docs/threat-model.md: each defence names a test that is there, and RFC 9700 has a row for each clause."""

from __future__ import annotations

import re

import pytest

from tests.unit.repository import ROOT

PAGE = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))
RFC_9700 = PAGE.partition("## RFC 9700")[2].partition("## Not defended")[0]
#: The clauses of RFC 9700 that ask something of a client, or of what it sends.
CLAUSES = [
    *("2.1", "2.1.1", "2.1.2", "2.2.1", "2.2.2", "2.3", "2.4", "2.5", "2.6"),
    *(f"4.{number}" for number in (*range(1, 10), *range(12, 18))),
    *("4.10.1", "4.10.2", "4.11.1", "4.11.2"),
]


@pytest.mark.parametrize(("path", "test"), NAMED)
def test_a_test_that_shows_a_defence_is_there(path: str, test: str) -> None:
    assert (ROOT / path).exists()
    assert not test or f"def {test}(" in (ROOT / path).read_text("utf-8")


@pytest.mark.parametrize("clause", CLAUSES)
def test_each_clause_of_rfc_9700_has_a_row(clause: str) -> None:
    assert re.search(rf"^\| [^|]*(?<![\d.]){re.escape(clause)}(?![\d.])", RFC_9700, re.MULTILINE)


def test_the_page_names_many_tests_and_says_what_is_not_defended() -> None:
    assert len(NAMED) >= 40
    assert PAGE.partition("## Not defended")[2].count("\n- ") >= 5
