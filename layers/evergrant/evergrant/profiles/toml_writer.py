"""A profile as TOML that a person can read and edit: what :mod:`evergrant.profiles.loader` reads. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from .model import Profile, encode

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def write_toml(profile: Profile) -> str:
    """All of a profile that differs from a default, in the format's own order.

    Example
    -------
    >>> load(text_of(profile)) == profile
    True
    """
    plain = [line for name, value in _said(profile) if not _is_table(value) for line in _entry(name, value)]
    tables = [line for name, value in _said(profile) if _is_table(value) for line in _table(name, value)]
    return "\n".join([*plain, *tables]) + "\n"


def _said(profile: Profile) -> Iterator[tuple[str, Any]]:
    yield from _ordered(profile, json.loads(encode(profile))).items()


def _ordered(value: Any, said: Any) -> Any:
    """What is said of a value, its keys as the format has them: the canonical form sorts them."""
    if isinstance(value, Struct):
        fields = {field.encode_name: field.name for field in msgspec.structs.fields(value)}
        return {key: _ordered(getattr(value, fields[key]), said[key]) for key in fields if key in said}
    if isinstance(value, tuple):
        return [_ordered(item, part) for item, part in zip(value, said, strict=True)]
    if isinstance(value, dict):
        return {key: _ordered(item, said[key]) for key, item in value.items()}
    return said


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))


def _table(path: str, value: Any) -> Iterator[str]:
    """``[path]``, or ``[[path]]`` once for each item; below that tables are inline, but in a table of nothing else."""
    if isinstance(value, dict) and value and all(isinstance(part, dict) for part in value.values()):
        for key, part in value.items():
            yield from _table(f"{path}.{_key(key)}", part)
        return
    head = f"[[{path}]]" if isinstance(value, list) else f"[{path}]"
    for item in value if isinstance(value, list) else [value]:
        yield from ("", head)
        for key, part in item.items():
            yield from _entry(key, part)


def _entry(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, list) and sum(len(_inline(item)) for item in value) > 80:
        yield f"{_key(key)} = ["
        yield from (f"  {_inline(item)}," for item in value)
        yield "]"
        return
    yield f"{_key(key)} = {_inline(value)}"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        entries = ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items())
        return f"{{ {entries} }}" if entries else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    if isinstance(value, str):
        # A JSON text is a basic string of TOML 1.0, but for DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _inline(key)
