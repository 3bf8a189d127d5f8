"""Read what an operator gives on standard input; it may be secret, and no error repeats it."""

from __future__ import annotations

import codecs
import json
import sys
from typing import Any

from .problems import CommandFailed, Problem

#: Larger than any entry or token file, so that a wrong file is not read to its end.
MAX_INPUT_BYTES = 4_194_304
#: PowerShell redirects as UTF-16, and editors of Windows put a mark before UTF-8.
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_standard_input(*, typed: bool = False) -> str:
    """Read standard input, without the space around it.

    Parameters
    ----------
    typed
        It is a terminal, whose encoding is known, and of which a question may have read a line.

    Raises
    ------
    CommandFailed
        It is too long, or no text.
    """
    if typed:
        return sys.stdin.read(MAX_INPUT_BYTES).strip()
    held = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
    problem = "is longer than four megabytes"
    if len(held) <= MAX_INPUT_BYTES:
        encoding = next((name for mark, name in _MARKS.items() if held.startswith(mark)), "utf-8")
        try:
            return held.decode(encoding).strip()
        except UnicodeDecodeError as error:
            problem = f"is no text in UTF-8, at byte {error.start + 1}"
    raise CommandFailed(Problem("invalid_request", f"Standard input {problem}.", "Is it the right file?"))


def parse_json_object(text: str) -> dict[str, Any] | None:
    """Parse a JSON object; None for any other text."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return given if isinstance(given, dict) else None


def describe_json_error(text: str) -> str:
    """Say where a text stops being JSON, and repeat none of it; empty where it is JSON."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"line {error.lineno}, column {error.colno}: {error.msg.partition(':')[0]}"
    except (ValueError, RecursionError):
        return "it is nested too deeply, or holds a number that is too long"
    return ""
