"""Write docs/profiles.md and docs/profile.schema.json from the descriptions of the profile format.

With --check, write nothing, and fail if either is stale.
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
from scripts.profile_recipes import MINIMAL, write_recipes

DOCS = Path(__file__).parents[1] / "docs"

_HEAD = """\
# Provider profiles

<!-- Written by `make profile-docs` from the format itself: change the modules model, request_specs and
response_specs in layers/evergrant/evergrant/profiles instead. -->

A profile describes one provider to Evergrant, in one TOML file. To add a provider that does not ship, write its profile
in four steps:

1. Start from the minimal profile below. The
   [shipped profiles](../layers/evergrant/evergrant/profiles/catalogue/) are examples.
2. Find in the provider's documentation where it differs from the standards, and write that as in
   [the recipes](#recipes).
3. Run `evergrant provider add FILE`, which checks the file. An error names the key, what is allowed there, and the key
   that you probably meant. Editors complete and check profiles with [profile.schema.json](profile.schema.json).
4. Run `evergrant provider show NAME`, which shows what to register at the provider. Then run
   `evergrant connect NAME/main` to see whether it works.

A connection keeps the profile that it was made with until it is connected again.

The minimal profile of a provider that follows the standards:

```toml
MINIMAL```

Each kind of grant has its tables: `[authorize]` with `[exchange]` and `[refresh]` (a person consents),
`[client_credentials]`, `[login]`, `[jwt_bearer]`, and `[static]` (a person pastes a key). Leave `[refresh]` out only if
tokens are long-lived.

## Recipes

RECIPES
## Templates

URLs, parameters, headers and claims are templates: `{name}` stands for a value, `{{` for a brace, and
`{base64(user, ':', key)}` for a function of values and of texts in single quotes, which are concatenated first. The
language has no conditions, no functions of functions and no code.

FUNCTIONS
Every template may use the profile's variables. A URL may use nothing else; the other templates may also use these
values:

| where | values |
|---|---|
"""


def write_reference() -> str:
    """Write the text of docs/profiles.md."""
    functions = [f"| `{name}` | {description}. |" for name, (_, description) in FUNCTIONS.items()]
    explained = "\n".join(["| function | result |", "|---|---|", *functions, ""])
    head = _HEAD.rstrip("\n").replace("FUNCTIONS", explained).replace("MINIMAL", MINIMAL)
    lines = [head.replace("RECIPES\n", write_recipes())]
    lines += [f"| `{phase}` | {_write_codes(sorted(names))} |" for phase, names in NAMES_BY_PHASE.items()]
    lines += [f"| `jwt_bearer.claims` | {_write_codes(sorted(NAMES_IN_CLAIMS))} |"]
    lines += [
        "",
        "The templates of a log-in may also use its credentials. A parameter without a value is left out.",
        "",
    ]
    for path, table in _list_tables(Profile, ""):
        lines += [f"## {_write_heading(path)}", "", inspect.cleandoc(table.__doc__ or ""), ""]
        lines += ["| key | type | default | description | example |", "|---|---|---|---|---|"]
        hints = get_type_hints(table, include_extras=True)
        for field in msgspec.structs.fields(table):
            meta = _find_meta(hints[field.name])
            described = (meta.description if meta else None) or _read_docstring(hints[field.name])
            cells = (
                f"`{field.encode_name}`",
                _write_type(hints[field.name]),
                _write_default(field),
                described,
                f"`{_write_toml(meta.examples[0])}`" if meta and meta.examples else "",
            )
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def write_schema() -> str:
    """Write the text of docs/profile.schema.json."""
    schema = build_schema()
    for table in schema["$defs"].values():
        # Python 3.13 removes the indentation of docstrings, older ones keep it.
        table["description"] = inspect.cleandoc(table["description"])
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _list_tables(table: type[Struct], path: str) -> Iterator[tuple[str, type[Struct]]]:
    yield path, table
    for name, hint in get_type_hints(table, include_extras=True).items():
        inner, suffix = _find_struct(hint)
        if inner:
            yield from _list_tables(inner, f"{path}.{name}{suffix}".lstrip("."))


def _find_struct(hint: Any) -> tuple[type[Struct] | None, str]:
    bare = _strip_type(hint)
    if isinstance(bare, type) and issubclass(bare, Struct):
        return bare, ""
    if get_origin(bare) is dict and _find_struct(get_args(bare)[1])[0]:
        return _find_struct(get_args(bare)[1])[0], ".NAME"
    if get_origin(bare) is tuple and _find_struct(get_args(bare)[0])[0]:
        return _find_struct(get_args(bare)[0])[0], "[]"
    return None, ""


def _write_heading(path: str) -> str:
    if not path:
        return "At the top"
    return f"`[[{path[:-2]}]]`" if path.endswith("[]") else f"`[{path}]`"


def _strip_type(hint: Any) -> Any:
    if get_origin(hint) is Annotated:
        return _strip_type(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        others = [option for option in get_args(hint) if option is not NoneType]
        return _strip_type(others[0]) if len(others) == 1 else hint
    return hint


def _find_meta(hint: Any) -> Meta | None:
    """Find the Meta with the description; limits of a length or a number alone are another Meta."""
    if get_origin(hint) is not Annotated:
        return None
    return next((meta for meta in get_args(hint)[1:] if isinstance(meta, Meta) and meta.description), None)


def _read_docstring(hint: Any) -> str:
    inner, _ = _find_struct(hint)
    return inspect.cleandoc(inner.__doc__ or "").split("\n\n")[0] if inner else ""


def _write_type(hint: Any) -> str:
    bare = _strip_type(hint)
    origin = get_origin(bare)
    if origin is Literal:
        return "one of " + _write_codes(get_args(bare))
    if origin is tuple:
        return f"list of {_write_type(get_args(bare)[0])}"
    if origin is dict:
        return f"table of {_write_type(get_args(bare)[1])}"
    if origin in (Union, UnionType):
        return " or ".join(_write_type(option) for option in get_args(bare) if option is not NoneType)
    if isinstance(bare, type) and issubclass(bare, Struct):
        return "table"
    return {str: "text", int: "whole number", bool: "true or false"}[bare]


def _write_default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "(required)"
    default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    if default is None or isinstance(default, Struct) or default in ("", (), {}):
        return ""
    return f"`{_write_toml(default)}`"


def _write_toml(value: Any) -> str:
    """Write a value as TOML, on one line."""
    if isinstance(value, Struct):
        return _write_toml({key: item for key, item in msgspec.structs.asdict(value).items() if item is not None})
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_write_key(key)} = {_write_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_write_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _write_key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() else json.dumps(key)


def _write_codes(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main() -> int:
    stale = []
    for name, text in (("profiles.md", write_reference()), ("profile.schema.json", write_schema())):
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
