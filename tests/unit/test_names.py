"""Protects the grammar of names: what a policy, a secret's ARN and the table's keys are built from."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.errors import InvalidName
from evergrant.names import check_account, check_client, check_provider, split_connection


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("keap/main", ("keap", "main")),
        ("a/b", ("a", "b")),
        ("7/7", ("7", "7")),
        ("model-portfolios/Client_7.eu@example.com", ("model-portfolios", "Client_7.eu@example.com")),
        ("p" * 40 + "/" + "a" * 100, ("p" * 40, "a" * 100)),
        ("keap/main-abcde", ("keap", "main-abcde")),
        ("keap/main-abcdefg", ("keap", "main-abcdefg")),
        ("keap/abcdef", ("keap", "abcdef")),
        ("keap/main-ab_def", ("keap", "main-ab_def")),
    ],
)
def test_a_good_name_is_split_into_provider_and_account(name: str, parts: tuple[str, str]) -> None:
    assert split_connection(name) == parts


@pytest.mark.parametrize(
    "name",
    [
        None,
        7,
        b"keap/main",
        ["keap", "main"],
        "",
        "keap",
        "/",
        "keap/",
        "/main",
        "keap/main/",
        "keap/main/x",
        "keap//main",
        "Keap/main",
        "-keap/main",
        "kéap/main",
        "keap/mäin",
        "keap/.main",
        "keap/_main",
        "keap/main x",
        "keap/main*",
        "keap/main?",
        "keap/${main}",
        "keap/main\n",
        "keap\n/main",
        "keap/٣",
        "p" * 41 + "/main",
        "keap/" + "a" * 101,
    ],
)
def test_any_other_name_is_refused(name: object) -> None:
    with pytest.raises(InvalidName):
        split_connection(name)


@pytest.mark.parametrize("account", ["main-abcdef", "main-A1b2C3", "a-b-123456", "x--abcdef"])
def test_an_account_that_ends_like_the_suffix_of_a_secrets_arn_is_refused(account: str) -> None:
    with pytest.raises(InvalidName, match="hyphen and six"):
        check_account(account)


def test_a_client_is_named_like_a_provider() -> None:
    assert check_client("keap-2") == check_provider("keap-2") == "keap-2"
    with pytest.raises(InvalidName, match="client"):
        check_client("keap/2")


def test_a_refused_name_is_shown_in_part_and_in_quotes() -> None:
    with pytest.raises(InvalidName) as refused:
        check_provider("X\n" * 500)
    assert len(refused.value.message) < 200
    assert "\n" not in refused.value.message


@given(st.one_of(st.text(), st.from_regex(r"[a-z0-9-]{1,41}/[A-Za-z0-9_.@\-\n]{1,12}"), st.integers(), st.none()))
def test_a_name_is_either_within_the_grammar_or_refused_by_name(name: object) -> None:
    try:
        provider, account = split_connection(name)
    except InvalidName:
        return
    assert f"{provider}/{account}" == name
    # Nothing that means something in an ARN, a policy's wildcard or a key.
    assert not re.search(r"[^a-z0-9-]", provider)
    assert not re.search(r"[^A-Za-z0-9_.@-]", account)
    assert not re.search(r"-[A-Za-z0-9]{6}\Z", account)
