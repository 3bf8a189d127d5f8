"""Protects the circuits' items: each change happens wholly or not at all, and makes the item where there is none."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import pytest

from evergrant.adapters.aws.circuits import DynamoCircuits
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.sdk import client
from evergrant.errors import Conflict
from evergrant.ports import PortUnavailable
from evergrant.record.circuit import MAX_ENTRIES, Circuit, Failure, create_client_key, create_endpoint_key
from tests.adapters.hooks import failing, lost_answers, on, parameters
from tests.adapters.samples import NOW, connection

KEY = create_client_key("keap")
ENDPOINT = create_endpoint_key("https://api.example.com/token?tenant=ü")
FULL: dict[str, Any] = {
    "opened_at": NOW,
    "code": "invalid_client",
    "http_status": 401,
    "detail": "application/json",
    "probes": 3,
    "probed_at": NOW + 15,
    "urgent_at": NOW + 16,
    "retry_at": NOW + 17,
    "paced_until": NOW + 18,
    "version": "7f1b",
    "accepted_version": "6e0a",
    "has_changed": True,
    "answered_at": NOW - 4,
    "accepted_at": NOW - 5,
    "incident_at": NOW - 6,
    "alerted_at": NOW - 7,
    "failures.keap/Ops.team_1@example": Failure(NOW - 8, "invalid_client"),
    "refusals.keap/main": Failure(NOW - 9, "invalid_grant"),
}
WHOLE = Circuit(
    KEY,
    **{name: value for name, value in FULL.items() if "." not in name},
    failures={"keap/Ops.team_1@example": Failure(NOW - 8, "invalid_client")},
    refusals={"keap/main": Failure(NOW - 9, "invalid_grant")},
)


@pytest.fixture
def circuits(records: DynamoRecords) -> DynamoCircuits:
    return DynamoCircuits(records.table, "authorizations")


def test_where_nothing_is_wrong_there_is_no_item(circuits: DynamoCircuits) -> None:
    assert circuits.get_many((KEY, ENDPOINT)) == {KEY: Circuit(KEY), ENDPOINT: Circuit(ENDPOINT)}
    assert circuits.get(KEY) == Circuit(KEY)
    assert client("dynamodb").scan(TableName=circuits.table)["Items"] == []


def test_the_full_sample_leaves_no_field_at_its_default() -> None:
    # Else the tests below would not notice a field that is never written.
    for field in fields(Circuit):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        assert getattr(WHOLE, field.name) != default, field.name


def test_a_change_makes_the_item_and_returns_it_whole(circuits: DynamoCircuits) -> None:
    assert circuits.change(KEY, FULL, only_if={"opened_at": None}) == WHOLE
    assert circuits.get(KEY) == WHOLE


def test_everything_can_be_removed_again(circuits: DynamoCircuits) -> None:
    circuits.change(KEY, FULL, only_if={})
    assert circuits.change(KEY, dict.fromkeys(FULL) | {"probes": 0}, only_if={"opened_at": NOW}) == Circuit(KEY)


def test_two_changes_of_single_entries_do_not_collide(circuits: DynamoCircuits) -> None:
    circuits.change(ENDPOINT, {"failures.keap/a": Failure(1, "unclear")}, only_if={})
    changes = {"failures.keap/b": Failure(2, "unclear"), "failures.keap/a": None, "failures.keap/gone": None}
    circuits.change(ENDPOINT, changes, only_if={})
    assert circuits.get(ENDPOINT).failures == {"keap/b": Failure(2, "unclear")}


def test_an_entry_of_one_map_is_no_entry_of_the_other(circuits: DynamoCircuits) -> None:
    circuits.change(KEY, {"failures.keap/a": Failure(1, "x"), "refusals.keap/a": Failure(2, "y")}, only_if={})
    changed = circuits.change(KEY, {"failures.keap/a": None}, only_if={})
    assert (changed.failures, changed.refusals) == ({}, {"keap/a": Failure(2, "y")})


@pytest.mark.parametrize("only_if", [{"opened_at": None}, {"opened_at": NOW + 1}, {"opened_at": NOW, "probed_at": NOW}])
def test_a_condition_that_fails_changes_nothing_and_shows_the_circuit(
    circuits: DynamoCircuits, only_if: dict[str, int | None]
) -> None:
    before = circuits.change(KEY, FULL, only_if={})
    with pytest.raises(Conflict) as caught:
        circuits.change(KEY, {"code": "other", "failures.keap/x": Failure(1, "x")}, only_if=only_if)
    assert caught.value.current == before == circuits.get(KEY)


def test_a_condition_on_an_item_that_is_not_there_shows_an_empty_circuit(circuits: DynamoCircuits) -> None:
    with pytest.raises(Conflict) as caught:
        circuits.change(KEY, {"code": "other"}, only_if={"opened_at": NOW})
    assert caught.value.current == Circuit(KEY)


def test_a_claim_whose_response_was_lost_still_counts_as_our_own(circuits: DynamoCircuits) -> None:
    circuits.change(KEY, FULL, only_if={})
    with lost_answers("dynamodb", "UpdateItem") as lost:
        changed = circuits.change(KEY, {"probed_at": NOW + 30}, only_if={"probed_at": NOW + 15})
    assert lost
    assert changed.probed_at == NOW + 30


def test_two_circuits_are_read_in_one_strongly_consistent_call(circuits: DynamoCircuits) -> None:
    circuits.change(ENDPOINT, {"code": "unclear"}, only_if={})
    with parameters("dynamodb", "BatchGetItem") as reads:
        found = circuits.get_many((KEY, ENDPOINT))
    assert (found[KEY], found[ENDPOINT].code) == (Circuit(KEY), "unclear")
    [read] = reads
    assert read["RequestItems"][circuits.table]["ConsistentRead"] is True


def test_the_same_key_twice_is_asked_for_once(circuits: DynamoCircuits) -> None:
    """BatchGetItem refuses a request with duplicate keys (API_BatchGetItem)."""
    assert circuits.get_many((KEY, KEY)) == {KEY: Circuit(KEY)}


@pytest.mark.parametrize("count", [0, 1, 100, 101, 250])
def test_a_batch_read_asks_for_at_most_100_keys(circuits: DynamoCircuits, count: int) -> None:
    """API_BatchGetItem: up to 100 items."""
    keys = [create_client_key(str(number)) for number in range(count)]
    if keys:
        circuits.change(keys[-1], {"code": "x"}, only_if={})
    with parameters("dynamodb", "BatchGetItem") as reads:
        found = circuits.get_many(keys)
    assert [len(read["RequestItems"][circuits.table]["Keys"]) <= 100 for read in reads] == [True] * -(-count // 100)
    assert found.keys() == set(keys)
    assert [key for key, circuit in found.items() if circuit.code] == keys[-1:]


def leave_out(circuits: DynamoCircuits, times: int) -> Any:
    """A throttled table leaves all keys of a batch unprocessed, so many times."""
    asked = 0

    def unprocessed(parsed: dict[str, Any], **_: Any) -> None:
        nonlocal asked
        asked += 1
        if asked <= times:
            parsed["Responses"] = {}
            keys = [{"pk": {"S": KEY}}]
            parsed["UnprocessedKeys"] = {circuits.table: {"Keys": keys, "ConsistentRead": True}}

    return on("dynamodb", "after-call.dynamodb.BatchGetItem", unprocessed)


def test_keys_that_a_throttled_table_left_out_are_asked_for_again(circuits: DynamoCircuits) -> None:
    circuits.change(KEY, {"code": "x"}, only_if={})
    with leave_out(circuits, 1), parameters("dynamodb", "BatchGetItem") as reads:
        assert circuits.get(KEY).code == "x"
    assert len(reads) == 2
    assert reads[1]["RequestItems"][circuits.table]["ConsistentRead"] is True


def test_keys_that_are_left_out_twice_are_no_empty_circuits(circuits: DynamoCircuits) -> None:
    circuits.change(KEY, {"opened_at": NOW}, only_if={})
    with leave_out(circuits, 2), pytest.raises(PortUnavailable):
        circuits.get(KEY)


def test_a_table_that_does_not_answer_is_unavailable(circuits: DynamoCircuits) -> None:
    with failing("dynamodb", "BatchGetItem"), pytest.raises(PortUnavailable):
        circuits.get(KEY)
    with failing("dynamodb", "UpdateItem"), pytest.raises(PortUnavailable):
        circuits.change(KEY, {"code": "x"}, only_if={})


def test_an_attribute_of_a_later_version_is_passed_over(circuits: DynamoCircuits) -> None:
    item = {"pk": {"S": KEY}, "from_the_future": {"S": "x"}, "code": {"S": "y"}}
    client("dynamodb").put_item(TableName=circuits.table, Item=item)
    assert circuits.get(KEY) == Circuit(KEY, code="y")


def test_a_full_circuit_fits_one_item_and_its_entries_one_expression(circuits: DynamoCircuits) -> None:
    """An item holds 400 KB, an expression 4 KB (Developer Guide, "Quotas in Amazon DynamoDB")."""
    longest = [f"{'p' * 40}/{number:0100d}" for number in range(MAX_ENTRIES)]
    entries = {f"{kind}.{name}": Failure(NOW, "c" * 100) for kind in ("failures", "refusals") for name in longest}
    for start in range(0, len(entries), MAX_ENTRIES):
        circuits.change(KEY, dict(list(entries.items())[start : start + MAX_ENTRIES]), only_if={})
    assert len(circuits.get(KEY).failures) == len(circuits.get(KEY).refusals) == MAX_ENTRIES
    with parameters("dynamodb", "UpdateItem") as updates:
        circuits.change(KEY, {f"refusals.{name}": None for name in longest}, only_if={"opened_at": None})
    assert len(updates[0]["UpdateExpression"]) < 4096
    assert circuits.get(KEY).refusals == {}


def test_a_circuits_item_is_no_connection(circuits: DynamoCircuits, records: DynamoRecords) -> None:
    records.create(connection())
    for key in (KEY, ENDPOINT):
        circuits.change(key, FULL, only_if={})
    assert list(records.all()) == [connection()]
    assert records.get("keap") is None
