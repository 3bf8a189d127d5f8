"""A profile's file: reading it strictly, saying what is wrong where, and its JSON Schema."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from ..errors import InvalidProfile
from .model import Profile
from .validation import find_problems


def load_profile(text: str, source: str = "the profile") -> Profile:
    """Read a profile from TOML.

    Parameters
    ----------
    text
        The file's text.
    source
        What to call it in an error.

    Raises
    ------
    InvalidProfile
        With the source, the key at fault and what is allowed there.
    """
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: a number of 5000 digits is a ValueError
        raise InvalidProfile(f"{source}: {error}") from error
    try:
        profile = msgspec.convert(raw, Profile)
    except (msgspec.ValidationError, RecursionError) as error:
        # The careful look is for who has to mend it; a sound profile is read fast, on every cold start.
        told = next(_misfits(raw, Profile, ""), _placed(str(error)))
        raise InvalidProfile(f"{source}: {told}") from error
    for problem in find_problems(profile):
        raise InvalidProfile(f"{source}: {problem}")
    return profile


def build_schema() -> dict[str, Any]:
    """The format as a JSON Schema (draft 2020-12), for editors that complete and check TOML."""
    found = msgspec.json.schema(Profile)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Evergrant provider profile",
        **found,
    }


def _misfits(value: Any, kind: Any, path: str) -> Iterator[str]:
    """What does not fit its type, each with its path: msgspec alone names no array's index, no key and no choice."""
    bare = _bare(kind)
    origin = get_origin(bare)
    if isinstance(bare, type) and issubclass(bare, Struct) and isinstance(value, dict):
        yield from _misfits_of_table(value, bare, path)
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from _misfits(item, get_args(bare)[1], _under(path, key))
    elif origin is tuple and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _misfits(item, get_args(bare)[0], f"{path}[{index}]")
    elif origin is Literal and value not in get_args(bare):
        choices = get_args(bare)
        yield f"{path}: {value!r} is none of {_listed(choices)}{_nearest(str(value), choices)}"
        return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        yield f"{path}: {_placed(str(error))}" if path else _placed(str(error))


def _misfits_of_table(table: Mapping[str, Any], kind: type[Struct], path: str) -> Iterator[str]:
    types = get_type_hints(kind, include_extras=True)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key in table:
        if key not in fields:
            allowed = f"allowed are {_listed(fields)}"
            yield f"{_under(path, key)}: there is no such key; {allowed}{_nearest(key, fields)}"
    for key, field in fields.items():
        if key in table:
            yield from _misfits(table[key], types[field.name], _under(path, key))
        elif field.required:
            yield f"{_under(path, key)}: it is missing"


def _bare(kind: Any) -> Any:
    """A type without its annotations and without None."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        others = [option for option in get_args(kind) if option is not type(None)]
        return _bare(others[0]) if len(others) == 1 else kind
    return kind


def _under(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _listed(names: Collection[Any]) -> str:
    return ", ".join(str(name) for name in names)


def _nearest(name: str, names: Collection[Any]) -> str:
    near = difflib.get_close_matches(name, [str(known) for known in names], n=1)
    return f". Did you mean {near[0]}?" if near else ""


def _placed(message: str) -> str:
    """msgspec's message, which ends in ``- at `$.a.b` ``, without JSONPath."""
    what, _, where = message.partition(" - at `$")
    place = where.rstrip("`").lstrip(".")
    return f"{place}: {what}" if place else what
