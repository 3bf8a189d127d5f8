"""Protects single use: a ticket or a state is claimed once. A retry of the SDK is not taken for a second claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from evergrant.adapters.aws.authorizations import StoredAuthorizations
from evergrant.adapters.aws.sdk import client
from evergrant.connect.links import Authorization, issue_ticket
from evergrant.errors import Conflict
from evergrant.ports import PortUnavailable
from tests.adapters.hooks import failing, lost_answers, parameters
from tests.adapters.samples import NAME, NOW

KEY = "state#" + "ab" * 32
FIELDS = {"ticket": "ticket#1", "cookie_hash": "c" * 64, "expires_at": NOW + 900}


@pytest.fixture
def pending(authorizations: StoredAuthorizations) -> StoredAuthorizations:
    authorizations.put(KEY, FIELDS, NOW + 1000)
    return authorizations


def fields(authorizations: StoredAuthorizations, key: str = KEY) -> dict[str, Any]:
    held = authorizations.get(key)
    assert held is not None
    return held


def test_what_was_put_is_read_back(authorizations: StoredAuthorizations) -> None:
    given = {**FIELDS, "variables": {"host": "a", "n": ""}, "scope": None, "direct_read": False}
    authorizations.put(KEY, given, NOW + 1000)
    held = fields(authorizations)
    assert {name: held.get(name) for name in given} == given
    assert held["purge_at"] == NOW + 1000


def test_there_is_nothing_under_an_unknown_key(authorizations: StoredAuthorizations) -> None:
    assert authorizations.get("state#unknown") is None


def test_reads_are_strongly_consistent(pending: StoredAuthorizations) -> None:
    with parameters("dynamodb", "GetItem") as reads:
        pending.get(KEY)
    assert reads[0]["ConsistentRead"] is True


def test_a_key_cannot_be_put_twice(pending: StoredAuthorizations) -> None:
    with pytest.raises(Conflict):
        pending.put(KEY, {**FIELDS, "cookie_hash": "another"}, NOW + 1000)
    assert fields(pending)["cookie_hash"] == FIELDS["cookie_hash"]


def test_the_table_purges_by_a_number_of_seconds(pending: StoredAuthorizations) -> None:
    item = client("dynamodb").get_item(TableName=pending.table, Key={"pk": {"S": KEY}})["Item"]
    assert item["purge_at"] == {"N": str(NOW + 1000)}


def test_a_state_is_used_once(pending: StoredAuthorizations) -> None:
    pending.change(KEY, {"outcome": "begun"}, only_if={"outcome": None})
    with pytest.raises(Conflict) as caught:
        pending.change(KEY, {"outcome": "begun"}, only_if={"outcome": None})
    assert caught.value.current is not None
    assert caught.value.current["outcome"] == "begun"


def test_a_change_demands_the_value_it_names(pending: StoredAuthorizations) -> None:
    pending.change(KEY, {"outcome": "begun"}, only_if={"outcome": None})
    pending.change(KEY, {"outcome": "connected"}, only_if={"outcome": "begun"})
    with pytest.raises(Conflict):
        pending.change(KEY, {"outcome": "failed"}, only_if={"outcome": "begun"})
    assert fields(pending)["outcome"] == "connected"


def test_one_condition_that_fails_stops_the_whole_change(pending: StoredAuthorizations) -> None:
    with pytest.raises(Conflict):
        pending.change(KEY, {"outcome": "begun", "x": 1}, only_if={"outcome": None, "cookie_hash": "another"})
    assert {"outcome", "x"}.isdisjoint(fields(pending))


def test_a_change_leaves_the_other_fields_alone(pending: StoredAuthorizations) -> None:
    pending.change(KEY, {"used_at": NOW}, only_if={})
    held = fields(pending)
    assert {name: held[name] for name in FIELDS} == FIELDS
    assert held["used_at"] == NOW


def test_what_is_gone_cannot_be_changed_back_into_being(authorizations: StoredAuthorizations) -> None:
    # The table's TTL may have taken it.
    with pytest.raises(Conflict) as caught:
        authorizations.change(KEY, {"outcome": "begun"}, only_if={"outcome": None})
    assert caught.value.current is None
    assert authorizations.get(KEY) is None


@pytest.mark.parametrize("name", ["a.b", "#n0", ":c0", "status", "x = :c0, pk", "ü"])
def test_field_names_are_never_read_as_expressions(pending: StoredAuthorizations, name: str) -> None:
    pending.change(KEY, {name: "v"}, only_if={name: None})
    assert fields(pending)[name] == "v"


def test_a_put_whose_answer_was_lost_succeeds(authorizations: StoredAuthorizations) -> None:
    with lost_answers("dynamodb", "PutItem") as lost:
        authorizations.put(KEY, FIELDS, NOW + 1000)
    assert lost
    assert fields(authorizations)["ticket"] == "ticket#1"


def test_a_change_whose_answer_was_lost_is_ours(pending: StoredAuthorizations) -> None:
    # Taken for another visitor's claim, it would show a person who did everything right that the link was used.
    with lost_answers("dynamodb", "UpdateItem") as lost:
        pending.change(KEY, {"outcome": "begun"}, only_if={"outcome": None})
    assert lost
    assert fields(pending)["outcome"] == "begun"
    with pytest.raises(Conflict):
        pending.change(KEY, {"outcome": "begun"}, only_if={"outcome": None})


@pytest.mark.parametrize("operation", ["GetItem", "PutItem", "UpdateItem"])
def test_a_table_that_does_not_answer_is_unavailable(pending: StoredAuthorizations, operation: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "GetItem": lambda: pending.get(KEY),
        "PutItem": lambda: pending.put("state#other", FIELDS, NOW),
        "UpdateItem": lambda: pending.change(KEY, {"x": 1}, only_if={}),
    }
    with failing("dynamodb", operation), pytest.raises(PortUnavailable):
        calls[operation]()


def test_a_ticket_is_nowhere_in_the_table(authorizations: StoredAuthorizations) -> None:
    authorization = Authorization(NAME, "keap", "a" * 64, {"host": "h"}, "full", "https://x.example/callback")
    ticket = issue_ticket(authorizations, authorization, NOW)
    items = client("dynamodb").scan(TableName=authorizations.table)["Items"]
    assert len(items) == 1
    assert ticket not in repr(items)
