"""Protects what a person reads: what connecting again changes, and which scopes were not granted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evergrant.connect.scopes import compare_grants, find_missing_scopes, split_scopes
from tests.unit.samples import connection

CURRENT = replace(connection(), scope="read write")


def test_what_stays_is_no_change() -> None:
    same = compare_grants(CURRENT, client="keap", scope="write read", profile_hash="0" * 64, same_account=True)
    assert (same.client, same.gained, same.lost, same.new_profile, same.same_account) == (None, (), (), False, True)


def test_each_change_is_named() -> None:
    changed = compare_grants(CURRENT, client="other", scope="read,admin", profile_hash="1" * 64, same_account=False)
    assert changed.client == ("keap", "other")
    assert (changed.gained, changed.lost, changed.new_profile) == (("admin",), ("write",), True)


@pytest.mark.parametrize(
    ("asked", "granted", "missing"),
    [
        ("read write", "read", ("write",)),
        ("read write", "write read more", ()),
        ("read,write", "read,write", ()),
        ("read write", None, ()),  # RFC 6749 section 5.1: what is not said is as it was asked
        ("read write", "", ()),
        (None, "read", ()),
        ("openid email offline_access read", "read", ()),
        ("User.Read", "https://graph.microsoft.com/User.Read", ()),
        ("Read", "READ", ()),
        ("refresh_token api", "api", ()),
    ],
)
def test_what_was_asked_and_not_granted_is_missing(
    asked: str | None, granted: str | None, missing: tuple[str, ...]
) -> None:
    assert find_missing_scopes(asked, granted) == missing


def test_a_scope_of_the_providers_own_is_never_repeated() -> None:
    assert "canary" not in str(find_missing_scopes("read", "canary"))
    assert split_scopes(" a, b\tc ") == ("a", "b", "c")
