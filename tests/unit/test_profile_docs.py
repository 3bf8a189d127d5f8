"""Protects the written reference of the profile format: it is generated from the format, so the two never differ."""

from __future__ import annotations

import json
import tomllib
from typing import Any, get_type_hints

import msgspec
import pytest

from evergrant.profiles import loader, model
from scripts import profile_docs
from scripts.profile_recipes import MINIMAL, RECIPES

TABLES = [value for value in vars(model).values() if isinstance(value, type) and issubclass(value, msgspec.Struct)]


@pytest.mark.parametrize(
    ("name", "text"),
    [("profiles.md", profile_docs.write_reference), ("profile.schema.json", profile_docs.write_schema)],
)
def test_the_written_reference_is_up_to_date(name: str, text: Any) -> None:
    assert (profile_docs.DOCS / name).read_text("utf-8") == text(), "run make profile-docs"


def test_every_field_is_described_and_shown_by_an_example_that_holds() -> None:
    seen = 0
    for path, table in profile_docs._list_tables(model.Profile, ""):
        hints = get_type_hints(table, include_extras=True)
        for field in msgspec.structs.fields(table):
            meta, hint = profile_docs._find_meta(hints[field.name]), hints[field.name]
            assert (meta and meta.description) or profile_docs._read_docstring(hint), f"{path}.{field.name}"
            if meta and meta.examples:
                written = tomllib.loads(f"x = {profile_docs._write_toml(meta.examples[0])}")["x"]
                assert written == meta.examples[0]
                msgspec.convert(written, hint)
                seen += 1
            else:
                assert profile_docs._find_struct(hint)[0], f"{path}.{field.name} has no example"
    assert seen > 50


def test_the_least_profile_of_the_reference_is_one() -> None:
    text = profile_docs.write_reference().split("```toml\n")[1].split("```")[0]
    assert loader.load_profile(text).grants == ("authorization_code",)


@pytest.mark.parametrize("title", RECIPES)
def test_each_recipe_is_a_profile(title: str) -> None:
    text = RECIPES[title]
    assert f"```toml\n{text}```" in profile_docs.write_reference()
    loader.load_profile(text if text.startswith("name") else MINIMAL + text)


def test_the_schema_names_every_table_and_allows_no_unknown_key() -> None:
    schema = loader.build_schema()
    json.dumps(schema)
    defined = schema["$defs"]
    for table in TABLES:
        if table is not msgspec.Struct:
            assert defined[table.__name__]["additionalProperties"] is False
