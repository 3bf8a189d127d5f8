"""Protects entered secrets: what stands around them by mistake is removed and named, what is inside stays."""

from __future__ import annotations

import pytest

from evergrant.entered_secret import trim_secret


@pytest.mark.parametrize(
    ("text", "secret", "removed"),
    [
        ("s-1", "s-1", ""),
        ("s-1\n", "s-1", "a line break"),
        ("\u200bs-1\u00a0", "s-1", "white space"),
        ("'s-1'", "s-1", "quotes"),
        ("\u201cs-1\u201d", "s-1", "quotes"),
        (' "s-1"\n', "s-1", "a line break and quotes"),
        ("Bearer s-1", "s-1", "the word Bearer"),
        ("Authorization: bearer  s-1\n", "s-1", "a line break and the word Bearer"),
        ("a b", "a b", ""),
        ("'s-1", "'s-1", ""),
        ("bearer", "bearer", ""),
        ("", "", ""),
        (" ", "", "white space"),
    ],
)
def test_what_stands_around_a_secret_is_removed_and_named(text: str, secret: str, removed: str) -> None:
    assert trim_secret(text) == (secret, removed)


def test_a_client_secret_may_begin_with_the_word_bearer() -> None:
    assert trim_secret("Bearer s-1", is_token=False) == ("Bearer s-1", "")
