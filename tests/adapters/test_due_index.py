"""Protects the schedule: a tick sees what is due, in order, on every page, and nothing else."""

from __future__ import annotations

import pytest

from evergrant.adapters.aws.records import DueConnection, DynamoRecords
from evergrant.adapters.aws.sdk import client
from evergrant.ports import PortUnavailable
from evergrant.record import refresh_schedule
from tests.adapters.hooks import failing, page_size
from tests.adapters.samples import NOW, connection


def put(records: DynamoRecords, name: str, due_at: int | None, shard: str | None = "3") -> None:
    records.create(connection(name, due_at=due_at, due_shard=shard, expires_at=NOW + 600))


def names(records: DynamoRecords, shard: str = "3", before: int = NOW) -> list[str]:
    return [due.name for due in records.due(shard, before)]


def test_the_most_overdue_comes_first(records: DynamoRecords) -> None:
    for name, due_at in (("keap/b", NOW - 5), ("keap/c", NOW), ("keap/a", NOW - 500)):
        put(records, name, due_at)
    assert names(records) == ["keap/a", "keap/b", "keap/c"]


def test_what_is_due_later_is_left_out(records: DynamoRecords) -> None:
    put(records, "keap/now", NOW)
    put(records, "keap/later", NOW + 1)
    assert names(records) == ["keap/now"]


def test_a_shard_shows_only_its_own(records: DynamoRecords) -> None:
    put(records, "keap/here", NOW, "3")
    put(records, "keap/there", NOW, "4")
    assert names(records, "4") == ["keap/there"]


def test_what_is_never_due_is_not_in_the_index(records: DynamoRecords) -> None:
    put(records, "keap/at-rest", None, None)
    assert all(not names(records, str(shard), NOW * 2) for shard in range(refresh_schedule.SHARD_COUNT))


def test_a_connection_leaves_the_index_with_its_due_date(records: DynamoRecords) -> None:
    put(records, "keap/a", NOW)
    records.change("keap/a", {"due_at": None, "due_shard": None})
    assert names(records) == []


def test_every_page_is_read(records: DynamoRecords) -> None:
    for number in range(7):
        put(records, f"keap/{number}", NOW - number)
    with page_size("Query", 2) as pages:
        found = names(records)
    assert found == [f"keap/{number}" for number in reversed(range(7))]
    assert len(pages) == 4


def test_an_entry_shows_expiry_client_endpoint_and_profile(records: DynamoRecords) -> None:
    put(records, "keap/a", NOW - 1)
    endpoint = "https://api.example.com/token"
    records.create(connection("keap/new", due_at=NOW, due_shard="3", endpoint=endpoint))
    held = connection("keap/a")
    assert list(records.due("3", NOW)) == [
        DueConnection("keap/a", NOW - 1, NOW + 600, held.client, "", held.profile_hash),
        DueConnection("keap/new", NOW, None, held.client, endpoint, held.profile_hash),
    ]


def test_an_index_that_does_not_answer_is_unavailable(records: DynamoRecords) -> None:
    with failing("dynamodb", "Query", "ThrottlingException"), pytest.raises(PortUnavailable):
        names(records)


def test_listing_shows_every_page_and_only_connections(records: DynamoRecords) -> None:
    """Listing shows every connection on every page, and nothing but connections."""
    wanted = [connection(f"keap/{number}") for number in range(5)]
    for record in wanted:
        records.create(record)
    for key in ("profile#abc", "provider#own", "client#keap"):
        client("dynamodb").put_item(TableName=records.table, Item={"pk": {"S": key}})
    with page_size("Scan", 2) as pages:
        found = sorted(records.all(), key=lambda record: record.name)
    assert found == wanted
    assert len(pages) > 2


def test_a_listing_that_fails_is_unavailable(records: DynamoRecords) -> None:
    with failing("dynamodb", "Scan"), pytest.raises(PortUnavailable):
        list(records.all())
