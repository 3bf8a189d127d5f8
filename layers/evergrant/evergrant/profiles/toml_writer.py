"""The TOML of a profile, for people to read and edit. :mod:`evergrant.profiles.loader` reads it back. Pure."""

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
    """Write the keys of a profile that differ from their defaults, in the format's own order.

    Example
    -------
    >>> load_profile(write_toml(profile)) == profile
    True
    """
    entries = _order_keys(profile, json.loads(encode(profile))).items()
    plain = [line for name, value in entries if not _is_table(value) for line in _write_entry(name, value)]
    tables = [line for name, value in entries if _is_table(value) for line in _write_table(name, value)]
    return "\n".join([*plain, *tables]) + "\n"


def _order_keys(value: Any, canonical: Any) -> Any:
    """Put the keys of a canonical form, which sorts them, into the format's order."""
    if isinstance(value, Struct):
        fields = {field.encode_name: field.name for field in msgspec.structs.fields(value)}
        return {key: _order_keys(getattr(value, fields[key]), canonical[key]) for key in fields if key in canonical}
    if isinstance(value, tuple):
        return [_order_keys(item, part) for item, part in zip(value, canonical, strict=True)]
    if isinstance(value, dict):
        return {key: _order_keys(item, canonical[key]) for key, item in value.items()}
    return canonical


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))


def _write_table(path: str, value: Any) -> Iterator[str]:
    """Write ``[path]``, or ``[[path]]`` once for each item. Inner tables are inline, except in a table of tables."""
    if isinstance(value, dict) and value and all(isinstance(part, dict) for part in value.values()):
        for key, part in value.items():
            yield from _write_table(f"{path}.{_write_key(key)}", part)
        return
    head = f"[[{path}]]" if isinstance(value, list) else f"[{path}]"
    for item in value if isinstance(value, list) else [value]:
        yield from ("", head)
        for key, part in item.items():
            yield from _write_entry(key, part)


def _write_entry(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, list) and sum(len(_write_inline(item)) for item in value) > 80:
        yield f"{_write_key(key)} = ["
        yield from (f"  {_write_inline(item)}," for item in value)
        yield "]"
        return
    yield f"{_write_key(key)} = {_write_inline(value)}"


def _write_inline(value: Any) -> str:
    if isinstance(value, dict):
        entries = ", ".join(f"{_write_key(key)} = {_write_inline(item)}" for key, item in value.items())
        return f"{{ {entries} }}" if entries else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_write_inline, value))}]"
    if isinstance(value, str):
        # A JSON text is a basic string of TOML 1.0, but for DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _write_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _write_inline(key)
