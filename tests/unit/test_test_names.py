"""Protects tests that can be read: short names of behaviour, in the field's words, in files of one sitting."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.unit.glossary import find_retired_words
from tests.unit.repository import ROOT

TESTS = ROOT / "tests"
FILES = sorted(TESTS.rglob("*.py"))
MAX_NAME_CHARACTERS = 70
MAX_LINES = 700


def find_test_names(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name


NAMES = [(file.relative_to(ROOT).as_posix(), name) for file in FILES for name in find_test_names(file)]


def test_no_test_name_is_longer_than_70_characters() -> None:
    """The promise in full is the docstring."""
    assert len(NAMES) > 1000
    assert [f"{file}: {len(name)}: {name}" for file, name in NAMES if len(name) > MAX_NAME_CHARACTERS] == []


def test_no_test_name_holds_a_retired_word() -> None:
    hits = [(file, name, hit) for file, name in NAMES for hit in find_retired_words(name)]
    assert [f'{file}: {name}: "{hit.word}", say {hit.term}' for file, name, hit in hits] == []


def test_no_file_of_tests_is_longer_than_700_lines() -> None:
    """A longer one is split by what it tests."""
    lengths = {file.relative_to(ROOT).as_posix(): len(file.read_text("utf-8").splitlines()) for file in FILES}
    assert {file: length for file, length in lengths.items() if length > MAX_LINES} == {}
