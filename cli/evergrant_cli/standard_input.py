"""Read what an operator gives on standard input; it may be secret, and no error repeats it."""

from __future__ import annotations

import json
import sys
from typing import Any

#: Larger than any entry or token set, so that a wrong file is not read to its end.
MAX_INPUT_CHARACTERS = 65_536


def read_standard_input() -> str:
    """Read standard input up to MAX_INPUT_CHARACTERS, without the space around it."""
    return sys.stdin.read(MAX_INPUT_CHARACTERS).strip()


def parse_json_object(text: str) -> dict[str, Any] | None:
    """Parse a JSON object; None for any other text."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return given if isinstance(given, dict) else None
