"""Protects the claims of a tick: a due date is moved on once, and nothing else of the record is written or read."""

from __future__ import annotations

import pytest

from evergrant.adapters.aws.items import build_key
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.sdk import client
from evergrant.ports import PortUnavailable
from tests.adapters.hooks import failing, lost_answers, parameters
from tests.adapters.samples import NOW, connection

NAME = "keap/main"


@pytest.fixture
def due(records: DynamoRecords) -> DynamoRecords:
    records.create(connection(NAME, due_at=NOW, due_shard="3"))
    return records


def test_of_two_ticks_one_claims(due: DynamoRecords) -> None:
    assert due.claim(NAME, NOW, NOW + 300)
    assert not due.claim(NAME, NOW, NOW + 400)
    assert due.get(NAME) == connection(NAME, due_at=NOW + 300, due_shard="3")


def test_a_record_that_is_gone_is_not_claimed_nor_made(records: DynamoRecords) -> None:
    assert not records.claim(NAME, NOW, NOW + 300)
    assert records.get(NAME) is None


def test_a_claim_whose_answer_was_lost_is_ours_when_the_sdk_repeats_it(due: DynamoRecords) -> None:
    with lost_answers("dynamodb", "UpdateItem") as lost:
        assert due.claim(NAME, NOW, NOW + 300)
    assert lost


def test_a_record_that_cannot_be_read_is_claimed(due: DynamoRecords) -> None:
    """The worker that gets its message says what is wrong with it."""
    client("dynamodb").update_item(
        TableName=due.table,
        Key=build_key(NAME),
        UpdateExpression="SET format_version = :other REMOVE #status",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":other": {"N": "99"}},
    )
    assert due.claim(NAME, NOW, NOW + 300)


def test_a_claim_returns_nothing_of_the_record(due: DynamoRecords) -> None:
    with parameters("dynamodb", "UpdateItem") as writes:
        due.claim(NAME, NOW, NOW + 300)
    assert [write["ReturnValues"] for write in writes] == ["UPDATED_NEW"]


def test_a_table_that_does_not_answer_is_unavailable(due: DynamoRecords) -> None:
    with failing("dynamodb", "UpdateItem", "ThrottlingException"), pytest.raises(PortUnavailable):
        due.claim(NAME, NOW, NOW + 300)
