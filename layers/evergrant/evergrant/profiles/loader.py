"""A profile's TOML file: the strict reader, its error messages, and the format's JSON Schema."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from ..errors import InvalidProfile
from .model import Profile
from .validation import find_problems

#: Five times the largest shipped profile, and no key of the format has more than four parts: longer ones take minutes.
MAX_CHARACTERS = 16_384
_DEEP_KEY = re.compile(r"""(?<![\w"'-])(?:[\w"'-]++\s*+\.\s*+){32}""")


def load_profile(text: str, source: str = "the profile") -> Profile:
    """Read a profile from TOML.

    Parameters
    ----------
    text
        The file's text.
    source
        The name of the file, for errors.

    Raises
    ------
    InvalidProfile
        The message names the source, the key at fault and what is allowed there.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidProfile(f"{source}: a profile has at most {MAX_CHARACTERS:,} characters")
    if _DEEP_KEY.search(text):
        raise InvalidProfile(f"{source}: a key is nested too deeply")
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: a number of 5000 digits is a ValueError
        raise InvalidProfile(f"{source}: {error}") from error
    try:
        profile = msgspec.convert(raw, Profile)
    except (msgspec.ValidationError, RecursionError) as error:
        # Only a wrong profile is examined key by key: reading a correct one must be fast, on every cold start.
        problem = next(_find_type_errors(raw, Profile, ""), _rewrite_location(str(error)))
        raise InvalidProfile(f"{source}: {problem}") from error
    for problem in find_problems(profile):
        raise InvalidProfile(f"{source}: {problem}")
    return profile


def build_schema() -> dict[str, Any]:
    """Build the format's JSON Schema (draft 2020-12), for editors that complete and check TOML."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Evergrant provider profile",
        **msgspec.json.schema(Profile),
    }


def _find_type_errors(value: Any, kind: Any, path: str) -> Iterator[str]:
    """Find the values that do not fit their types, each with its path.

    msgspec's own messages name no index of an array, no unknown key and no allowed choice.
    """
    bare = _strip_type(kind)
    origin = get_origin(bare)
    if isinstance(bare, type) and issubclass(bare, Struct) and isinstance(value, dict):
        yield from _find_type_errors_of_table(value, bare, path)
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from _find_type_errors(item, get_args(bare)[1], _extend_path(path, key))
    elif origin is tuple and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _find_type_errors(item, get_args(bare)[0], f"{path}[{index}]")
    elif origin is Literal and value not in get_args(bare):
        choices = get_args(bare)
        yield f"{path}: {value!r} is none of {_join(choices)}{_suggest(str(value), choices)}"
        return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        yield f"{path}: {_rewrite_location(str(error))}" if path else _rewrite_location(str(error))


def _find_type_errors_of_table(table: Mapping[str, Any], kind: type[Struct], path: str) -> Iterator[str]:
    types = get_type_hints(kind, include_extras=True)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key in table:
        if key not in fields:
            allowed = f"allowed are {_join(fields)}"
            yield f"{_extend_path(path, key)}: there is no such key; {allowed}{_suggest(key, fields)}"
    for key, field in fields.items():
        if key in table:
            yield from _find_type_errors(table[key], types[field.name], _extend_path(path, key))
        elif field.required:
            yield f"{_extend_path(path, key)}: it is missing"


def _strip_type(kind: Any) -> Any:
    """Strip a type of its annotations and of None."""
    if get_origin(kind) is Annotated:
        return _strip_type(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        others = [option for option in get_args(kind) if option is not type(None)]
        return _strip_type(others[0]) if len(others) == 1 else kind
    return kind


def _extend_path(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _join(names: Collection[Any]) -> str:
    return ", ".join(str(name) for name in names)


def _suggest(name: str, names: Collection[Any]) -> str:
    near = difflib.get_close_matches(name, [str(known) for known in names], n=1)
    return f". Did you mean {near[0]}?" if near else ""


def _rewrite_location(message: str) -> str:
    """Move the location in msgspec's message to its front: ``… - at `$.a.b` `` becomes ``a.b: …``."""
    what, _, where = message.partition(" - at `$")
    place = where.rstrip("`").lstrip(".")
    return f"{place}: {what}" if place else what
