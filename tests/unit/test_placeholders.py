"""Protects the template language: values land where they are named, and only there; nothing is evaluated."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.placeholders import fill, names_in

names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{a}", "1"),
        ("Bearer {a}", "Bearer 1"),
        ("{a}{b}{a}", "1{a}1"),
        ("{{a}}", "{a}"),
        ("{{{a}}}", "{1}"),
        ("{b2_x}", "$"),
        ("{empty}", ""),
        ("{missing}", None),
        ("{a} and {missing}", None),
        ("{missing} and {a}", None),
        ("{a.real}", "{a.real}"),
        ("{a!r}{a:>9}{0}{A}", "{a!r}{a:>9}{0}{A}"),
    ],
)
def test_a_template_is_filled(template: str, filled: str | None) -> None:
    assert fill(template, {"a": "1", "b": "{a}", "b2_x": "$", "empty": "", "missing": None}) == filled


@pytest.mark.parametrize(
    "template", ["{", "}", "{A}", "{a", "a}", "{a b}", "{}", "{1}", "{a.b}", "{a!r}", "{{{", "{_a}"]
)
def test_a_brace_that_stands_alone_is_an_error_with_its_place(template: str) -> None:
    with pytest.raises(ValueError, match="write it twice"):
        list(names_in(template))


def test_the_names_are_told_in_order() -> None:
    assert list(names_in("{b}-{{c}}-{a}{b}")) == ["b", "a", "b"]


@given(st.text())
def test_text_with_its_braces_doubled_is_itself(text: str) -> None:
    template = text.replace("{", "{{").replace("}", "}}")
    assert list(names_in(template)) == []
    assert fill(template, {}) == text


@given(st.dictionaries(names, st.text(), min_size=1), st.text(alphabet="ab-/ "))
def test_a_value_is_put_in_as_it_is_and_never_read_as_a_template(values: Mapping[str, str], between: str) -> None:
    template = between.join(f"{{{name}}}" for name in values)
    assert fill(template, values) == between.join(values.values())


@given(st.text(alphabet="{}ab_1"))
def test_a_template_without_lone_braces_needs_exactly_the_names_it_tells(template: str) -> None:
    try:
        needed = set(names_in(template))
    except ValueError:
        return
    values = dict.fromkeys(needed, "x")
    assert fill(template, values) is not None
    for name in needed:
        assert fill(template, {**values, name: None}) is None
