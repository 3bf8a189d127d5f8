"""Protects a profile written as TOML: what is read back is the same, for any text."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.profiles import built_in
from evergrant.profiles.loader import load_profile
from evergrant.profiles.model import Consumer, Profile
from evergrant.profiles.response_specs import ErrorRule
from evergrant.profiles.toml_writer import write_toml
from evergrant.texts import is_safe
from tests.unit.samples import acme

_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).filter(is_safe)


@pytest.mark.parametrize("name", sorted(built_in.load_built_in()))
def test_every_shipped_profile_is_read_back_the_same(name: str) -> None:
    profile = built_in.load_built_in()[name]
    assert load_profile(write_toml(profile)) == profile


@given(title=_TEXTS, notes=st.lists(_TEXTS, max_size=5), code=_TEXTS)
def test_any_text_is_read_back_the_same(title: str, notes: list[str], code: str) -> None:
    rules = (ErrorRule(kind="transient", code=code, description=title), ErrorRule(kind="not_used", status=500))
    profile = msgspec.structs.replace(acme(), title=title, notes=tuple(notes), errors=rules)
    assert load_profile(write_toml(profile)) == profile


def test_an_emptied_table_stays_empty() -> None:
    profile = msgspec.structs.replace(acme(), consumer=Consumer(headers={}))
    assert load_profile(write_toml(profile)) == profile


def test_it_reads_like_one_written_by_hand() -> None:
    more = '[consumer]\nheaders = { "X.Key" = "{access_token}" }\n[callback]\ncapture = { realm_id = "realmId" }\n'
    profile: Profile = acme(more)
    assert write_toml(profile) == (
        'name = "acme"\n'
        'title = "Acme"\n'
        "\n"
        "[authorize]\n"
        'url = "https://login.example.com/authorize"\n'
        "\n"
        "[callback.capture]\n"
        'realm_id = "realmId"\n'
        "\n"
        "[exchange]\n"
        'url = "https://api.example.com/token"\n'
        "\n"
        "[refresh]\n"
        'url = "https://api.example.com/token"\n'
        "\n"
        "[consumer.headers]\n"
        '"X.Key" = "{access_token}"\n'
    )
