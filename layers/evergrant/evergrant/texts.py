"""Texts from outside: which characters may reach a terminal, a log, a page or a consumer. Imports nothing."""

from __future__ import annotations

import re

#: Control characters, surrogates, the separators of lines and paragraphs, and what changes the direction of a text
#: (Unicode, "Bidirectional Algorithm", section 2).
_UNSAFE = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
UNSAFE = re.compile(f"[{_UNSAFE}]")


def is_safe(text: str) -> bool:
    """Whether a text holds no character that a terminal, a log or a reader takes for something else."""
    return UNSAFE.search(text) is None
