"""Trim what stands around a secret by mistake when a person enters it: white space, quotes, an HTTP scheme. Pure."""

from __future__ import annotations

import re

#: White space, and characters without a width that copies from web pages bring along.
_AROUND = " \t\r\n\v\f\u00a0\u200b\u200c\u200d\u2060\ufeff"
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u201e": "\u201c"}
_SCHEME = re.compile(r"(?:authorization\s*:\s*)?bearer\s+", re.IGNORECASE)
_WORDS = {"space": "white space", "break": "a line break", "quotes": "quotes", "scheme": "the word Bearer"}


def trim_secret(text: str, *, is_token: bool = True) -> tuple[str, str]:
    """Trim a secret as it was entered.

    Parameters
    ----------
    is_token
        Whether it is a token, before which ``Bearer`` may stand.

    Returns
    -------
    tuple
        The secret, and what was removed in words; an empty text where nothing was.
    """
    removed: dict[str, None] = {}
    while True:
        before, text = text, _trim_space(text, removed)
        if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
            text = text[1:-1]
            removed["quotes"] = None
        if is_token and (scheme := _SCHEME.match(text)):
            text = text[scheme.end() :]
            removed["scheme"] = None
        if text == before:
            return text, _join([_WORDS[what] for what in removed])


def _trim_space(text: str, removed: dict[str, None]) -> str:
    trimmed = text.strip(_AROUND)
    around = text.replace(trimmed, "", 1) if trimmed else text
    if "\n" in around or "\r" in around:
        removed["break"] = None
    elif around:
        removed["space"] = None
    return trimmed


def _join(words: list[str]) -> str:
    *others, last = words or [""]
    return f"{', '.join(others)} and {last}" if others else last
