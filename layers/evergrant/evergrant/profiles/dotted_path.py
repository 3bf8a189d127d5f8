"""Dotted paths, by which profiles name values in a provider's response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: An index with more digits is out of range in any real response.
_MAX_INDEX_DIGITS = 5


def look_up(value: Any, path: str) -> Any:
    """Return the value at a dotted path (``data.0.token``), or None."""
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and _is_index(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _is_index(step: str) -> bool:
    return step.isdecimal() and len(step) <= _MAX_INDEX_DIGITS
