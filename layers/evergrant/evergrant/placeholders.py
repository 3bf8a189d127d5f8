"""The profiles' template language: named values in braces, ``{client_id}``, and nothing else. ``{{`` is a brace."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]*)\}|[{}]")


def names_in(template: str) -> Iterator[str]:
    """The names a template refers to.

    Raises
    ------
    ValueError
        A brace stands alone.
    """
    for found in _PLACEHOLDER.finditer(template):
        if found[1]:
            yield found[1]
        elif len(found[0]) == 1:
            raise ValueError(f"a single {found[0]!r} at position {found.start()}; write it twice to mean the character")


def fill(template: str, values: Mapping[str, str | None]) -> str | None:
    """The template with its values in place, or None when one of them has no value."""
    missing = False

    def value(found: re.Match[str]) -> str:
        nonlocal missing
        if not found[1]:
            return found[0][0]
        text = values.get(found[1])
        missing = missing or text is None
        return text or ""

    filled = _PLACEHOLDER.sub(value, template)
    return None if missing else filled
