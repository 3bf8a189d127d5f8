"""Writes docs/profiles.md and docs/profile.schema.json from the profile format's own descriptions.

With --check it writes nothing, and fails if either is stale.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from evergrant.profiles.loader import build_schema
from evergrant.profiles.model import Profile
from evergrant.profiles.templates import FUNCTIONS
from evergrant.profiles.validation import NAMES_BY_PHASE, NAMES_IN_CLAIMS
from scripts.profile_recipes import LEAST, chapter

DOCS = Path(__file__).parents[1] / "docs"

_HEAD = """\
# Provider profiles

<!-- Written by `make profile-docs` from the format itself: change profile.py and phases.py of the package instead. -->

You want Evergrant to speak a provider that it does not know? Write its profile, one TOML file, in four steps:

1. Begin with the least profile below; the
   [shipped ones](../layers/evergrant/evergrant/profiles/catalogue/) are examples.
2. Find in the provider's documentation what differs from the standards, and write it as [the recipes](#recipes) do.
3. `evergrant provider add FILE` checks it: what is wrong is told with its key, what is allowed there, and what was
   probably meant. Editors complete and check profiles by [profile.schema.json](profile.schema.json).
4. `evergrant provider show NAME` says what to register, and `evergrant connect NAME/main` whether it works. Connections
   keep the profile that they were made with until they are connected again.

The least profile of a provider that keeps to the standards:

```toml
LEAST```

Its grants are what it has tables for: `[authorize]` with `[exchange]` and `[refresh]` (a person consents),
`[client_credentials]`, `[login]`, `[jwt_bearer]`, and `[static]` (a person pastes a key). `[refresh]` may be left out
only where tokens are long-lived.

## Recipes

RECIPES
## Templates

URLs, parameters, headers and claims are templates: `{name}` stands for a value, `{{` for a brace, and
`{base64(user, ':', key)}` for a function of values and of texts in single quotes, which are put together first. There
is no more to the language: no conditions, no functions of functions, no code.

FUNCTIONS
Every template may name the profile's variables; a URL nothing else. Besides:

| where | what may be named |
|---|---|
"""


def reference() -> str:
    """docs/profiles.md."""
    functions = [f"| `{name}` | {said}. |" for name, (_, said) in FUNCTIONS.items()]
    explained = "\n".join(["| function | what it gives |", "|---|---|", *functions, ""])
    head = _HEAD.rstrip("\n").replace("FUNCTIONS", explained).replace("LEAST", LEAST)
    lines = [head.replace("RECIPES\n", chapter())]
    lines += [f"| `{phase}` | {_codes(sorted(names))} |" for phase, names in NAMES_BY_PHASE.items()]
    lines += [f"| `jwt_bearer.claims` | {_codes(sorted(NAMES_IN_CLAIMS))} |"]
    lines += ["", "A log-in's templates may also name its credentials. A parameter without a value is left out.", ""]
    for path, table in _tables(Profile, ""):
        lines += [f"## {_heading(path)}", "", inspect.cleandoc(table.__doc__ or ""), ""]
        lines += ["| key | type | default | what it is | example |", "|---|---|---|---|---|"]
        hints = get_type_hints(table, include_extras=True)
        for field in msgspec.structs.fields(table):
            meta = _meta(hints[field.name])
            described = (meta.description if meta else None) or _docstring(hints[field.name])
            cells = (
                f"`{field.encode_name}`",
                _shown_type(hints[field.name]),
                _default(field),
                described,
                f"`{_toml(meta.examples[0])}`" if meta and meta.examples else "",
            )
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def schema_file() -> str:
    """docs/profile.schema.json."""
    return json.dumps(build_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _tables(table: type[Struct], path: str) -> Iterator[tuple[str, type[Struct]]]:
    yield path, table
    for name, hint in get_type_hints(table, include_extras=True).items():
        inner, suffix = _struct_in(hint)
        if inner:
            yield from _tables(inner, f"{path}.{name}{suffix}".lstrip("."))


def _struct_in(hint: Any) -> tuple[type[Struct] | None, str]:
    bare = _bare(hint)
    if isinstance(bare, type) and issubclass(bare, Struct):
        return bare, ""
    if get_origin(bare) is dict and _struct_in(get_args(bare)[1])[0]:
        return _struct_in(get_args(bare)[1])[0], ".NAME"
    if get_origin(bare) is tuple and _struct_in(get_args(bare)[0])[0]:
        return _struct_in(get_args(bare)[0])[0], "[]"
    return None, ""


def _heading(path: str) -> str:
    if not path:
        return "At the top"
    return f"`[[{path[:-2]}]]`" if path.endswith("[]") else f"`[{path}]`"


def _bare(hint: Any) -> Any:
    if get_origin(hint) is Annotated:
        return _bare(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        others = [option for option in get_args(hint) if option is not NoneType]
        return _bare(others[0]) if len(others) == 1 else hint
    return hint


def _meta(hint: Any) -> Meta | None:
    """The description's; limits alone (of a length or a number) are another Meta."""
    if get_origin(hint) is not Annotated:
        return None
    return next((meta for meta in get_args(hint)[1:] if isinstance(meta, Meta) and meta.description), None)


def _docstring(hint: Any) -> str:
    inner, _ = _struct_in(hint)
    return inspect.cleandoc(inner.__doc__ or "").split("\n\n")[0] if inner else ""


def _shown_type(hint: Any) -> str:
    bare = _bare(hint)
    origin = get_origin(bare)
    if origin is Literal:
        return "one of " + _codes(get_args(bare))
    if origin is tuple:
        return f"list of {_shown_type(get_args(bare)[0])}"
    if origin is dict:
        return f"table of {_shown_type(get_args(bare)[1])}"
    if origin in (Union, UnionType):
        return " or ".join(_shown_type(option) for option in get_args(bare) if option is not NoneType)
    if isinstance(bare, type) and issubclass(bare, Struct):
        return "table"
    return {str: "text", int: "whole number", bool: "true or false"}[bare]


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "(needed)"
    default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    if default is None or isinstance(default, Struct) or default in ("", (), {}):
        return ""
    return f"`{_toml(default)}`"


def _toml(value: Any) -> str:
    """A value as it is written in TOML, on one line."""
    if isinstance(value, Struct):
        return _toml({key: item for key, item in msgspec.structs.asdict(value).items() if item is not None})
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() else json.dumps(key)


def _codes(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main() -> int:
    stale = []
    for name, text in (("profiles.md", reference()), ("profile.schema.json", schema_file())):
        file = DOCS / name
        if not file.exists() or file.read_text("utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                file.write_text(text, "utf-8")
    if stale and "--check" in sys.argv:
        print(f"Stale: {', '.join(stale)}. Run make profile-docs.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
