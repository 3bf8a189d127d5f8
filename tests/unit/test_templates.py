"""Protects the template language: values land where they are named, and only there; functions are a closed set."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.errors import InvalidVariable
from evergrant.profiles.templates import fill_template, fill_url, find_names

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
        ("Basic {base64(id, ':', key)}", "Basic aWQ6w7w="),
        ("{base64( id )}", "aWQ="),
        ("{percent(url)}", "https%3A%2F%2Fa.example%2F~x%20y"),
        ("{lower(shop)}.example", "acme.example"),
        ("{lower('A, (B)', shop)}", "a, (b)acme"),
        ("{base64(id, missing)}", None),
        ("{base64('')}", ""),
        ("{percent(b)}", "%7Ba%7D"),
    ],
)
def test_a_template_is_filled(template: str, filled: str | None) -> None:
    values = {"a": "1", "b": "{a}", "b2_x": "$", "empty": "", "missing": None, "id": "id", "key": "ü", "shop": "ACME"}
    assert fill_template(template, {**values, "url": "https://a.example/~x y"}) == filled


@pytest.mark.parametrize(
    "template", ["{", "}", "{A}", "{a", "a}", "{a b}", "{}", "{1}", "{a.b}", "{a!r}", "{{{", "{_a}"]
)
def test_a_brace_that_stands_alone_is_an_error_with_its_place(template: str) -> None:
    with pytest.raises(ValueError, match="write it twice"):
        list(find_names(template))


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{bas64(id)}", "there is no function bas64; allowed are base64, percent, lower. Did you mean base64?"),
        ("{LOWER(id)}", "there is no function LOWER; allowed are base64, percent, lower. Did you mean lower?"),
        ("{eval(id)}", "there is no function eval; allowed are base64, percent, lower"),
        ("{base64()}", "takes names and texts in single quotes"),
        ("{base64(id key)}", "takes names and texts in single quotes"),
        ('{base64(id, ":")}', "takes names and texts in single quotes"),
        ("{base64(lower(id))}", "takes names and texts in single quotes"),
    ],
)
def test_an_unknown_or_malformed_function_is_reported_with_the_choices(template: str, said: str) -> None:
    """A function that is unknown or written wrongly is reported with the functions that there are."""
    with pytest.raises(ValueError, match=re.escape(said)):
        list(find_names(template))


def test_a_value_is_encoded_for_where_it_lands_after_its_function() -> None:
    assert fill_template("/{lower(a)}/{a}", {"a": "X/Y"}, lambda text: text.replace("/", "%2F")) == "/x%2Fy/X%2FY"


def test_the_names_inside_a_function_are_listed_too() -> None:
    assert list(find_names("{a}{base64(b, ':', c)}{b}")) == ["a", "b", "c", "b"]


def test_the_names_are_listed_in_order() -> None:
    assert list(find_names("{b}-{{c}}-{a}{b}")) == ["b", "a", "b"]


@given(st.text())
def test_text_with_its_braces_doubled_is_itself(text: str) -> None:
    template = text.replace("{", "{{").replace("}", "}}")
    assert list(find_names(template)) == []
    assert fill_template(template, {}) == text


@given(st.dictionaries(names, st.text(), min_size=1), st.text(alphabet="ab-/ "))
def test_a_value_is_put_in_as_it_is_and_never_read_as_a_template(values: Mapping[str, str], between: str) -> None:
    template = between.join(f"{{{name}}}" for name in values)
    assert fill_template(template, values) == between.join(values.values())


@given(st.text(alphabet="{}ab_1"))
def test_a_template_without_lone_braces_needs_exactly_the_names_it_tells(template: str) -> None:
    try:
        needed = set(find_names(template))
    except ValueError:
        return
    values = dict.fromkeys(needed, "x")
    assert fill_template(template, values) is not None
    for name in needed:
        assert fill_template(template, {**values, name: None}) is None


@pytest.mark.parametrize(
    ("template", "host"),
    [("", "api.example.com"), ("https://user@api.example.com/token", ""), ("https://{host}/token", "{host}")],
    ids=["no-url", "an-authority-of-the-profile", "a-variable-that-is-its-own-template"],
)
def test_a_url_whose_authority_is_no_host_is_never_built(template: str, host: str) -> None:
    """The filled authority is checked, also where it is the template's own text: stored profiles are not validated."""
    with pytest.raises(InvalidVariable):
        fill_url(template, {"host": host}, loopback=False)
