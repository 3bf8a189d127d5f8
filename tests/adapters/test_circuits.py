"""Protects the client's item: each change of it happens wholly or not at all, and makes it where there is none."""

from __future__ import annotations

import pytest

from evergrant.adapters.aws.circuits import DynamoCircuits
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.sdk import client
from evergrant.errors import Conflict
from evergrant.ports import PortUnavailable
from evergrant.record.circuit import MAX_WAITING, Circuit
from tests.adapters.hooks import failing, lost_answers, parameters
from tests.adapters.samples import NOW, connection

EVENT = {"type": "Client Refused", "at": NOW, "detail": {"connection": "keap/main", "connections": ["keap/main"]}}
FULL = {
    "refused_at": NOW,
    "error": "invalid_client",
    "version": "7f1b",
    "probe_at": NOW + 3600,
    "suspected": True,
    "accepted_at": NOW - 5,
    "rejected.keap/Ops.team_1@example": NOW,
    "waiting.keap/main": NOW,
    "outbox.b6a1": EVENT,
}


@pytest.fixture
def circuits(records: DynamoRecords) -> DynamoCircuits:
    return DynamoCircuits(records.table)


def test_of_a_client_with_which_nothing_is_wrong_there_is_no_item(circuits: DynamoCircuits) -> None:
    assert circuits.get("keap") == Circuit("keap")


def test_a_change_makes_the_item_and_returns_it_whole(circuits: DynamoCircuits) -> None:
    changed = circuits.change("keap", FULL, only_if={"refused_at": None})
    assert changed == circuits.get("keap")
    assert changed == Circuit(
        "keap",
        refused_at=NOW,
        error="invalid_client",
        version="7f1b",
        probe_at=NOW + 3600,
        suspected=True,
        accepted_at=NOW - 5,
        rejected={"keap/Ops.team_1@example": NOW},
        waiting={"keap/main": NOW},
        outbox={"b6a1": EVENT},
    )


def test_everything_can_be_taken_away_again(circuits: DynamoCircuits) -> None:
    circuits.change("keap", FULL, only_if={})
    assert circuits.change("keap", dict.fromkeys(FULL), only_if={"refused_at": NOW}) == Circuit("keap")


def test_single_entries_do_not_meet(circuits: DynamoCircuits) -> None:
    circuits.change("keap", {"waiting.keap/a": 1}, only_if={})
    circuits.change("keap", {"waiting.keap/b": 2, "waiting.keap/a": None, "waiting.keap/gone": None}, only_if={})
    assert circuits.get("keap").waiting == {"keap/b": 2}


@pytest.mark.parametrize(
    "only_if", [{"refused_at": None}, {"refused_at": NOW + 1}, {"refused_at": NOW, "probe_at": NOW}]
)
def test_a_condition_that_fails_changes_nothing_and_shows_the_circuit(
    circuits: DynamoCircuits, only_if: dict[str, int | None]
) -> None:
    before = circuits.change("keap", FULL, only_if={})
    with pytest.raises(Conflict) as caught:
        circuits.change("keap", {"error": "other", "waiting.keap/x": 1}, only_if=only_if)
    assert caught.value.current == before == circuits.get("keap")


def test_a_condition_on_an_item_that_is_not_there_shows_an_empty_circuit(circuits: DynamoCircuits) -> None:
    with pytest.raises(Conflict) as caught:
        circuits.change("keap", {"error": "other"}, only_if={"refused_at": NOW})
    assert caught.value.current == Circuit("keap")


def test_a_claim_whose_response_was_lost_still_counts_as_our_own(circuits: DynamoCircuits) -> None:
    circuits.change("keap", FULL, only_if={})
    with lost_answers("dynamodb", "UpdateItem") as lost:
        changed = circuits.change("keap", {"probe_at": NOW + 9}, only_if={"probe_at": NOW + 3600})
    assert lost
    assert changed.probe_at == NOW + 9


def test_reads_are_strongly_consistent(circuits: DynamoCircuits) -> None:
    with parameters("dynamodb", "GetItem") as reads:
        circuits.get("keap")
    assert reads[0]["ConsistentRead"] is True


def test_a_table_that_does_not_answer_is_unavailable(circuits: DynamoCircuits) -> None:
    with failing("dynamodb", "GetItem"), pytest.raises(PortUnavailable):
        circuits.get("keap")
    with failing("dynamodb", "UpdateItem"), pytest.raises(PortUnavailable):
        circuits.change("keap", {"error": "x"}, only_if={})


def test_an_attribute_of_a_later_version_is_passed_over(circuits: DynamoCircuits, records: DynamoRecords) -> None:
    item = {"pk": {"S": "client#keap"}, "from_the_future": {"S": "x"}, "error": {"S": "y"}}
    client("dynamodb").put_item(TableName=records.table, Item=item)
    assert circuits.get("keap") == Circuit("keap", error="y")


def test_the_waiting_list_fits_one_item_and_one_removal_expression(
    circuits: DynamoCircuits,
) -> None:
    """The largest waiting list fits into one item, and one expression removes it."""
    longest = [f"{'p' * 40}/{number:0100d}" for number in range(MAX_WAITING)]
    for start in range(0, MAX_WAITING, 100):
        some = {f"waiting.{name}": NOW for name in longest[start : start + 100]}
        circuits.change("keap", some, only_if={})
    assert len(circuits.get("keap").waiting) == MAX_WAITING
    with parameters("dynamodb", "UpdateItem") as updates:
        circuits.change("keap", dict.fromkeys(some), only_if={"refused_at": None})
    assert len(updates[0]["UpdateExpression"]) < 4096, "DynamoDB's limit on an expression"


def test_a_clients_item_is_no_connection(circuits: DynamoCircuits, records: DynamoRecords) -> None:
    records.create(connection())
    circuits.change("keap", FULL, only_if={})
    assert list(records.all()) == [connection()]
    assert records.get("keap") is None
