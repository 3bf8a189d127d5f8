"""Protects what a person reads: what connecting again changes, and which scopes were not granted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from evergrant.connect.scopes import compare_grants
from evergrant.oauth.scopes import Implied, find_missing_scopes, name_granted_scope, split_scopes
from evergrant.profiles import built_in
from evergrant.record.connection import Connection
from evergrant.record.sealed import Sealed
from evergrant.record.status import EventType
from evergrant.record.token_document import build_document
from evergrant.record.token_save import save_token_set
from evergrant.settings import Settings
from tests.unit.samples import KEAP, NOW, connection, tokens

SEALED = Sealed(b"key", b"nonce", b"text")
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


SHOPIFY, GITHUB = (built_in.load_built_in()[name].scopes.implied for name in ("shopify", "github"))


@pytest.mark.parametrize(
    ("implied", "asked", "granted", "missing"),
    [
        (SHOPIFY, "read_products,write_products,read_orders", "write_products,read_orders", ()),
        (SHOPIFY, "read_products,write_products", "read_products", ("write_products",)),
        (SHOPIFY, "read_orders,write_products", "write_products", ("read_orders",)),
        (SHOPIFY, "unauthenticated_read_content", "unauthenticated_write_content", ()),
        (GITHUB, "user,gist,user:email", "user,gist", ()),
        (GITHUB, "repo public_repo read:org", "repo,admin:org", ()),
        (GITHUB, "repo", "public_repo", ("repo",)),
        (GITHUB, "admin:org", "read:org", ("admin:org",)),
        ({"https://api.example.com/contacts": ["contacts"]}, "contacts", "https://api.example.com/contacts", ()),
        ({"*.all": ["*"]}, "files mail", "files.all", ("mail",)),
        ({"read": ["x"]}, "x", "reader", ("x",)),
        ({"write_*": ["read_*"]}, "read_", "write_", ("read_",)),
    ],
)
def test_a_scope_that_another_one_includes_is_not_missing(
    implied: Implied, asked: str, granted: str, missing: tuple[str, ...]
) -> None:
    assert find_missing_scopes(asked, granted, implied) == missing


@pytest.mark.parametrize(
    ("asked", "granted", "named"),
    [
        ("read write", "write canary", "write"),
        ("read write", None, "read write"),
        ("read", "canary", None),
        (None, "a,b", "a b"),
        (None, 'a "b', None),
        (None, "x " * 3000, None),
        (None, None, None),
    ],
)
def test_granted_scopes_are_named_in_the_words_that_were_asked(
    asked: str | None, granted: str | None, named: str | None
) -> None:
    assert name_granted_scope(asked, granted) == named


REFRESHED = replace(connection(), scope="read write", granted_scope="read write", generation=3)


def save(current: Connection, scope: str | None) -> Connection:
    change = save_token_set(current, tokens(scope=scope), SEALED, KEAP, Settings(), NOW)
    saved = replace(current, **cast(dict[str, Any], change.fields))
    return replace(saved, outbox={event_id: body for event_id, body in change.events.items() if body})


def list_events(current: Connection) -> list[str]:
    return [body["type"] for body in current.outbox.values() if body["type"] == EventType.SCOPE_REDUCED]


def test_a_refresh_with_fewer_scopes_is_reported_once() -> None:
    fewer = save(REFRESHED, "read")
    assert (fewer.granted_scope, fewer.lost_scope) == ("read write", "write")
    [reported] = [body for body in fewer.outbox.values() if body["type"] == EventType.SCOPE_REDUCED]
    assert reported["detail"]["lost_scope"] == "write"
    again = save(fewer, "read")
    assert (again.lost_scope, list_events(again)) == ("write", [])
    assert list_events(save(again, "other")) == [EventType.SCOPE_REDUCED], "one more is lost"
    assert save(again, "read write").lost_scope is None


def test_a_refresh_with_the_scopes_of_the_first_connection_lost_none() -> None:
    partial = replace(REFRESHED, granted_scope="read", missing_scope="write")
    saved = save(partial, "read")
    assert (saved.missing_scope, saved.lost_scope, list_events(saved)) == ("write", None, [])


def test_the_first_scopes_that_are_named_are_the_measure() -> None:
    older = replace(REFRESHED, granted_scope=None, missing_scope="write")
    saved = save(older, "read")
    assert (saved.granted_scope, saved.missing_scope, list_events(saved)) == ("read", "write", [])
    assert save(replace(older, scope=None), "own").granted_scope == "own"
    assert save(older, None).granted_scope is None


def test_a_clients_own_grant_states_what_is_missing_at_its_first_token() -> None:
    saved = save(replace(REFRESHED, grant="client_credentials", granted_scope=None), "read")
    assert (saved.granted_scope, saved.missing_scope) == ("read", "write")


def test_consumers_read_every_scope_that_the_token_lacks() -> None:
    lacking = replace(REFRESHED, missing_scope="admin", lost_scope="write")
    assert build_document(lacking, KEAP, tokens(scope="read"))["missing_scope"] == "admin write"
    assert build_document(REFRESHED, KEAP, tokens(scope="read"))["missing_scope"] is None


def test_a_scope_of_the_providers_own_is_never_repeated() -> None:
    assert "canary" not in str(find_missing_scopes("read", "canary"))
    assert split_scopes(" a, b\tc ") == ("a", "b", "c")
