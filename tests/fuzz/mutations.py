"""Changes that leave a JSON answer or a TOML file one: flipped bytes alone seldom get past their readers. Pure."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

from tests.fuzz.targets import profile_texts, words

_NUMBERS = (-1, 0, 1, 59, 3600.7, 1e16, 10**20, 10**400, 1_795_341_660, float("nan"), float("inf"), True, None)
_TEXTS = (
    "", " ", "a", "a.b.c", "a b", "\x00", "\r\n", "\ud800", "é", "3600", "-1", "nan", "1e400", "a.eyJleHAiOjFlNDAwfQ.c",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-22T11:00:00", "x" * 2001,
)  # fmt: skip
_TOML = (
    "0", "-1", "1e9", "9999999999999999999", "nan", "true", "[]", "{}", "[[]]", "2026-11-22", "''",
    "'\u00e9'", '"\\u0000"',
    "'{'", "'{access_token} '", "'{client_secret}'", "'https://{'", "'https://a.b/{x}'", "'('", "'[[a]'",
    "'a{1,99999999999}'",
    "'(?P<a>.)(?P<a>.)'", "['a', 'a.b']", "[{default=0}]", "[{path='a', format='iso8601'}]", "{a='{b}'}",
)  # fmt: skip
_TOML_VALUE = re.compile(r"""=\s*("[^"\n]*"|'[^'\n]*'|[^\s,}\]]+)""")


def of_answer(data: bytes, random: Random) -> bytes:
    """One value of the body changed, put in or taken away; as it was where the body is no JSON."""
    head, gap, body = data.partition(b"\n\n")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return data
    return head + gap + json.dumps(_change(answer, random)).encode()


def _change(value: Any, random: Random) -> Any:
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice([*value]) if random.random() < 0.7 else _word(random)
        if random.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: _change(value.get(key), random)}
    if isinstance(value, list) and value and random.random() < 0.5:
        return [*value[1:], _change(value[0], random)]
    others = (random.choice(_NUMBERS), random.choice(_TEXTS), _word(random), [value], {_word(random): value})
    return random.choice(others)


def _word(random: Random) -> str:
    return random.choice(words()).decode("utf-8", "replace")


def of_profile(data: bytes, random: Random) -> bytes:
    """A key's value changed, a line taken away, or a line of another profile put in."""
    text = data.decode("utf-8", "replace")
    values = [*_TOML_VALUE.finditer(text)]
    choice = random.random()
    if choice < 0.6 and values:
        old = random.choice(values)
        return f"{text[: old.start(1)]}{random.choice(_TOML)}{text[old.end(1) :]}".encode()
    lines = text.split("\n")
    at = random.randrange(len(lines))
    if choice < 0.8:
        del lines[at]
    else:
        other = random.choice([*profile_texts().values()]).split("\n")
        lines.insert(at, random.choice(other))
    return "\n".join(lines).encode()
