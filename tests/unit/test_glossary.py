"""Protects the project's language: a word that docs/glossary.md retires comes back nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.glossary import find_retired_words, read_retired_words
from tests.unit.repository import ROOT, list_text_files

#: The glossary itself, what tells of the past, and texts that others wrote.
EXEMPT = (
    "docs/glossary.md",
    "docs/decisions/",
    "CHANGELOG.md",
    "LICENSE",
    "layers/evergrant_client/LICENSE",
    "requirements/",
    "tests/unit/catalogue_answers/",
    "tests/field/cases/",
)
#: A provider's own words, in a profile's list of the pages that it rests on.
QUOTATION = re.compile(r'\bsays = "(?:[^"\\]|\\.)*"')


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read_own_words(path: Path) -> str:
    text = path.read_text("utf-8")
    return QUOTATION.sub("", text) if path.parent.name == "catalogue" else text


def test_no_retired_word_returns() -> None:
    """Identifiers, messages, comments and docs use the terms of docs/glossary.md."""
    own = [path for path in list_text_files() if not name(path).startswith(EXEMPT)]
    assert own
    hits = [
        f'{name(path)}:{hit.line}: "{hit.word}" is retired, say {hit.term}'
        for path in own
        for hit in find_retired_words(read_own_words(path))
    ]
    assert not hits, "\n".join(["docs/glossary.md retires these words:", *hits])


def test_the_glossary_retires_words_of_tables_and_of_its_last_section() -> None:
    words = read_retired_words()
    assert len(words) > 40
    assert words["_".join(("at", "rest"))] == "inactive status"
    assert "the operator" in words["who" + "ever"]


@pytest.mark.parametrize(
    "text", ["{} again", "x.{}_again", "again-{}", "Again{}", "HTTP{}Again", "{}2", "({})", "{}'s"]
)
def test_a_retired_word_is_found_inside_identifiers(text: str) -> None:
    word = "to" + "ld"
    (hit,) = find_retired_words(f"first line\n{text.format(word.capitalize())}")
    assert (hit.line, hit.word, hit.term) == (2, word, "reported")


def test_words_that_only_contain_a_retired_one_are_no_hits() -> None:
    assert not list(find_retired_words("recommended, suspend, stripped, untrippable; encrypted at rest; let go"))


def test_a_term_of_two_words_is_found_in_sentences_too() -> None:
    assert [hit.term for hit in find_retired_words("a lost " + "answer")] == ["lost response"]
