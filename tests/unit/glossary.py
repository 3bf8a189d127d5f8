"""Reads the retired words of docs/glossary.md, and finds them in texts and identifiers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain

from tests.unit.repository import ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"
SUBJECT_HEADING = "## The subject of a rule"
SUBJECT_TERM = "who acts: the worker, the caller, the operator, the provider, the consumer, the account's owner"
#: Retired as identifiers only: in a sentence they are everyday English ("encrypted at rest").
IDIOMS = {"_".join(words) for words in (("at", "rest"), ("let", "go"))}
_CAMEL_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True)
class Hit:
    """One retired word in a text."""

    line: int
    word: str
    term: str


@cache
def read_retired_words() -> Mapping[str, str]:
    """Read each retired word, in lower case, with the term that replaces it."""
    tables, _, last = GLOSSARY.read_text("utf-8").partition(SUBJECT_HEADING)
    words = dict.fromkeys(re.findall(r"`([a-z]+)`", last), SUBJECT_TERM)
    for row in re.findall(r"^\|(.+)\|$", tables, re.MULTILINE):
        term, _, replaced = (cell.strip() for cell in row.split("|"))
        words |= dict.fromkeys(re.findall(r"`([a-z_]+)`", replaced), term)
    return words


@cache
def _pattern() -> re.Pattern[str]:
    """Match whole words: an underscore, a hyphen, a digit or a capital within a word ends one as a space does."""
    words = (word if word in IDIOMS else word.replace("_", "[ _-]") for word in read_retired_words())
    return re.compile(rf"(?<![a-z])(?:{'|'.join(sorted(words))})(?![a-z])", re.IGNORECASE)


def find_retired_words(text: str) -> Iterator[Hit]:
    """Find every retired word, in sentences and inside identifiers of any style."""
    for number, line in enumerate(text.splitlines(), 1):
        separated = _CAMEL_BOUNDARY.sub("_", line)
        found = chain(_pattern().finditer(line), _pattern().finditer(separated))
        for word in sorted({re.sub(r"[ -]", "_", match[0].lower()) for match in found}):
            yield Hit(number, word, read_retired_words()[word])
