"""Protects the people who look up a code: every one that a page can show is explained, and none that no page shows."""

from __future__ import annotations

import re
from pathlib import Path

from evergrant.connect import page_texts
from evergrant.errors import EvergrantError

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "connecting.md").read_text("utf-8")


def test_every_refusal_is_explained_under_its_code() -> None:
    assert set(re.findall(r"^### `(\w+)`$", TEXT, re.MULTILINE)) == page_texts.REFUSALS.keys()


def test_every_failure_of_ours_is_explained_to_the_operator() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == page_texts.OUR_CODES | {EvergrantError.code}


def test_every_picture_is_there_is_small_and_says_in_words_what_it_shows() -> None:
    pictures = re.findall(r'<img src="([^"]+)"[^>]* alt="([^"]+)">', TEXT)
    assert len(pictures) == TEXT.count("<img") > 0
    assert {name for name, _ in pictures} == {f"images/{path.name}" for path in (DOCS / "images").iterdir()}
    for name, alternative in pictures:
        assert (DOCS / name).stat().st_size < 100_000
        assert len(alternative) > 30
