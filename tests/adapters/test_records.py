"""Protects optimistic locking: each change of a record is one write, which happens wholly or not at all. The SDK's own
repetition of a write that had happened is not taken for another writer's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.sdk import client
from evergrant.errors import Conflict
from evergrant.ports import PortUnavailable
from evergrant.record.connection import WRITABLE_FIELDS, Connection, RecordFields, RecordState
from evergrant.record.sealed import Sealed
from evergrant.record.state_machine import IllegalTransition, move
from evergrant.record.status import Status
from tests.adapters.hooks import failing, lost_answers, on, parameters
from tests.adapters.samples import NAME, NOW, SEALED, connection, full

LEASE: RecordFields = {"lease_owner": "me", "lease_until": NOW + 40, "attempt_id": "attempt-9", "attempt_at": NOW}
EVENT = {"type": "Token Rotated", "at": NOW, "detail": {"connection": NAME, "generation": 8}}


@pytest.fixture
def stored(records: DynamoRecords) -> DynamoRecords:
    records.create(connection())
    return records


def read_record(records: DynamoRecords, name: str = NAME) -> Connection:
    found = records.get(name)
    assert found is not None
    return found


# --- get and create -----------------------------------------------------------------------------------------------


def test_a_record_is_read_back_whole(records: DynamoRecords) -> None:
    records.create(full())
    assert records.get(full().name) == full()


def test_there_is_nothing_where_nothing_was_written(records: DynamoRecords) -> None:
    assert records.get("keap/absent") is None


def test_reads_are_strongly_consistent(stored: DynamoRecords) -> None:
    with parameters("dynamodb", "GetItem") as reads:
        stored.get(NAME)
    assert reads[0]["ConsistentRead"] is True


def test_creating_a_record_twice_is_a_conflict_that_shows_the_first(stored: DynamoRecords) -> None:
    with pytest.raises(Conflict) as caught:
        stored.create(connection(generation=0, client="other"))
    assert caught.value.current == connection()
    assert read_record(stored) == connection()


def test_a_creation_whose_answer_was_lost_succeeds(records: DynamoRecords) -> None:
    with lost_answers("dynamodb", "PutItem") as lost:
        records.create(full())
    assert lost
    assert records.get(full().name) == full()


# --- change -------------------------------------------------------------------------------------------------------


def test_a_change_returns_the_record_as_it_then_is(stored: DynamoRecords) -> None:
    fields: RecordFields = {"failures": 2, "sealed": SEALED, "due_at": NOW}
    change = move(Status.ACTIVE, Status.DEGRADED).set(fields)
    changed = stored.change(NAME, change.fields, only_if={"status": Status.ACTIVE})
    assert changed == connection(status=Status.DEGRADED, failures=2, sealed=SEALED, due_at=NOW)
    assert read_record(stored) == changed


def test_every_field_can_be_changed(stored: DynamoRecords) -> None:
    target = full()
    fields = cast(RecordFields, target.snapshot(*WRITABLE_FIELDS))
    changed = stored.change(NAME, fields, events=target.outbox, only_if={"status": Status.ACTIVE})
    assert changed.snapshot(*WRITABLE_FIELDS) == fields
    assert changed.outbox == target.outbox


def test_every_field_may_be_changed_but_for_what_a_record_is_born_with() -> None:
    born = {"name", "format_version", "created_at"}
    assert {*Connection.__dataclass_fields__} - born - {"outbox"} == WRITABLE_FIELDS


def test_a_field_that_no_record_has_is_refused(stored: DynamoRecords) -> None:
    """A misspelt field fails the type check; where that was silenced, nothing is written."""
    with parameters("dynamodb", "UpdateItem") as writes, pytest.raises(TypeError, match="publised_generation"):
        stored.change(NAME, {"publised_generation": 7})  # type: ignore[typeddict-unknown-key]
    assert writes == []


def test_a_required_field_that_no_record_has_is_refused(stored: DynamoRecords) -> None:
    """Required to be absent, a misspelt field would always be, and the write would not be fenced."""
    required: Any = {"attemptid": None}
    with parameters("dynamodb", "UpdateItem") as writes, pytest.raises(TypeError, match="attemptid"):
        stored.change(NAME, {"failures": 1}, only_if=required)
    assert writes == []


def test_a_status_is_not_among_the_fields_that_anyone_may_write(stored: DynamoRecords) -> None:
    """Only the state machine makes a change of status, and the write requires the status that it starts from."""
    with pytest.raises(TypeError, match="starts from"):
        stored.change(NAME, {"status": Status.PAUSED})  # type: ignore[typeddict-unknown-key]


def test_a_change_of_status_that_the_table_lacks_is_refused(records: DynamoRecords) -> None:
    records.create(connection(status=Status.DISCONNECTED))
    with parameters("dynamodb", "UpdateItem") as writes, pytest.raises(IllegalTransition):
        records.change(NAME, move(Status.ACTIVE, Status.DEGRADED).fields, only_if={"status": Status.DISCONNECTED})
    assert writes == []


def test_none_removes_a_field(records: DynamoRecords) -> None:
    records.create(connection(due_at=NOW, due_shard="1", lease_owner="me", lease_until=NOW))
    changed = records.change(NAME, {"due_at": None, "due_shard": None, "lease_owner": None, "lease_until": None})
    assert changed == connection()
    item = client("dynamodb").get_item(TableName="records", Key={"pk": {"S": f"connection#{NAME}"}})["Item"]
    assert "due_at" not in item


def test_setting_and_removing_ride_on_one_write(records: DynamoRecords) -> None:
    records.create(connection(last_error="x", attempt_id="s"))
    with parameters("dynamodb", "UpdateItem") as writes:
        changed = records.change(NAME, {"last_error": None, "attempt_id": None, "generation": 8})
    assert (changed.last_error, changed.attempt_id, changed.generation) == (None, None, 8)
    assert len(writes) == 1


def test_a_change_of_an_absent_record_is_a_conflict_with_nothing(records: DynamoRecords) -> None:
    with pytest.raises(Conflict) as caught:
        records.change("keap/absent", {"failures": 1})
    assert caught.value.current is None
    assert records.get("keap/absent") is None


@pytest.mark.parametrize("only_if", [{"generation": 7}, {"lease_owner": None}, {"generation": 7, "attempt_id": None}])
def test_a_change_happens_when_its_conditions_hold(stored: DynamoRecords, only_if: RecordState) -> None:
    assert stored.change(NAME, {"failures": 1}, only_if=only_if).failures == 1


@pytest.mark.parametrize(
    "only_if",
    [
        {"generation": 6},
        {"status": Status.PAUSED},
        {"client": None},
        {"lease_owner": "me"},
        {"generation": 7, "attempt_id": "x"},
    ],
)
def test_nothing_changes_when_one_condition_fails(stored: DynamoRecords, only_if: RecordState) -> None:
    with pytest.raises(Conflict) as caught:
        stored.change(NAME, {"failures": 1, "client": "other"}, only_if=only_if)
    assert caught.value.current == connection()
    assert read_record(stored) == connection()


def test_a_condition_may_name_a_field_that_the_change_sets(stored: DynamoRecords) -> None:
    assert stored.change(NAME, {"generation": 8}, only_if={"generation": 7}).generation == 8
    with pytest.raises(Conflict):
        stored.change(NAME, {"generation": 8}, only_if={"generation": 7})


def test_a_free_lease_can_be_taken(stored: DynamoRecords) -> None:
    assert stored.change(NAME, LEASE, lease_free_at=NOW).lease_owner == "me"


def test_a_held_lease_cannot_be_taken(records: DynamoRecords) -> None:
    holder = connection(lease_owner="other", lease_until=NOW + 1)
    records.create(holder)
    with pytest.raises(Conflict) as caught:
        records.change(NAME, LEASE, lease_free_at=NOW)
    assert caught.value.current == holder


def test_a_lease_that_ran_out_can_be_taken(records: DynamoRecords) -> None:
    records.create(connection(lease_owner="other", lease_until=NOW))
    assert records.change(NAME, LEASE, lease_free_at=NOW).lease_owner == "me"


def test_a_failing_service_is_no_conflict(stored: DynamoRecords) -> None:
    with failing("dynamodb", "UpdateItem", "ProvisionedThroughputExceededException"), pytest.raises(PortUnavailable):
        stored.change(NAME, {"failures": 1})
    with failing("dynamodb", "GetItem"), pytest.raises(PortUnavailable):
        stored.get(NAME)
    with failing("dynamodb", "PutItem"), pytest.raises(PortUnavailable):
        stored.create(connection())


# --- the outbox ---------------------------------------------------------------------------------------------------


def test_events_come_and_go_one_by_one_without_losing_another(stored: DynamoRecords) -> None:
    stored.change(NAME, {}, events={"a": EVENT})
    # Each of these knows nothing of the others' events, as concurrent writers do not.
    stored.change(NAME, {}, events={"b": {**EVENT, "at": NOW + 1}})
    stored.change(NAME, {}, events={"a": None, "c": EVENT})
    assert read_record(stored).outbox == {"b": {**EVENT, "at": NOW + 1}, "c": EVENT}


def test_removing_an_event_that_is_gone_harms_nothing(stored: DynamoRecords) -> None:
    stored.change(NAME, {}, events={"a": EVENT})
    stored.change(NAME, {}, events={"a": None, "b": None})
    assert read_record(stored).outbox == {}


@pytest.mark.parametrize(
    "key", ["a.b", "#n0", ":v0", "a = :v0, client", "status", "pk", "with space", "ü", "-1", "a[0]", "REMOVE client"]
)
def test_an_event_id_is_never_read_as_an_expression(stored: DynamoRecords, key: str) -> None:
    changed = stored.change(NAME, {"failures": 4}, events={key: EVENT}, only_if={"generation": 7})
    assert changed == connection(failures=4, outbox={key: EVENT})
    assert stored.change(NAME, {}, events={key: None}).outbox == {}


def test_neither_names_nor_values_are_written_into_the_expressions(stored: DynamoRecords) -> None:
    with parameters("dynamodb", "UpdateItem") as writes:
        stored.change(
            NAME,
            {"client": "evil-value", "scope": None},
            events={"evil'id": EVENT},
            only_if={"grant": "authorization_code", "redirect_uri": None},
            lease_free_at=NOW,
        )
    text = writes[0]["UpdateExpression"] + writes[0]["ConditionExpression"]
    for word in ("evil", "outbox", "client", "scope", "grant", "authorization_code", "redirect_uri", "lease", str(NOW)):
        assert word not in text


# --- an answer that is lost, and asked for again by the SDK ---------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "conditions"),
    [
        (LEASE, {"only_if": {"generation": 7, "attempt_id": None}, "lease_free_at": NOW}),
        (
            {"generation": 8, "sealed": SEALED, "attempt_id": None, "status": Status.ACTIVE},
            {"events": {"e": EVENT}, "only_if": {"generation": 7, "status": Status.ACTIVE}},
        ),
    ],
    ids=["lease", "save"],
)
def test_a_write_whose_answer_was_lost_succeeds_when_the_sdk_repeats_it(
    stored: DynamoRecords, changes: RecordFields, conditions: Mapping[str, Any]
) -> None:
    with lost_answers("dynamodb", "UpdateItem") as lost:
        changed = stored.change(NAME, changes, **conditions)
    assert len(lost) == 1
    assert changed == read_record(stored)
    assert changed.lease_owner == changes.get("lease_owner")
    assert changed.generation == changes.get("generation", 7)


def test_a_write_with_a_lost_response_succeeds_despite_another_change(stored: DynamoRecords) -> None:
    """A write whose response was lost succeeds, though another field changed in between."""
    # Between the write and its repetition a tick claimed the connection.
    save: RecordFields = {"generation": 8, "sealed": SEALED, "attempt_id": None}

    def claim(**_: Any) -> None:
        if not claimed:
            claimed.append(True)
            stored.change(NAME, {"due_at": NOW + 120})

    claimed: list[bool] = []
    with lost_answers("dynamodb", "UpdateItem") as lost, on("dynamodb", "needs-retry.dynamodb.UpdateItem", claim):
        changed = stored.change(NAME, save, only_if={"generation": 7})
    assert lost
    assert claimed
    assert (changed.sealed, changed.due_at) == (SEALED, NOW + 120)


def test_the_same_lease_taken_by_another_worker_is_still_a_conflict(records: DynamoRecords) -> None:
    other = connection(**cast(dict[str, Any], {**LEASE, "lease_owner": "other"}))
    records.create(other)
    with pytest.raises(Conflict) as caught:
        records.change(NAME, LEASE, only_if={"generation": 7, "attempt_id": None}, lease_free_at=NOW)
    assert caught.value.current == other


def test_another_set_under_the_same_generation_is_a_conflict(stored: DynamoRecords) -> None:
    """Another token set, saved under the same generation, is still a conflict."""
    theirs = Sealed(b"their", b"own", b"set")
    stored.change(NAME, {"generation": 8, "sealed": theirs}, only_if={"generation": 7})
    with pytest.raises(Conflict) as caught:
        stored.change(NAME, {"generation": 8, "sealed": SEALED}, only_if={"generation": 7})
    assert caught.value.current is not None
    assert caught.value.current.sealed == theirs


def test_a_change_any_writer_could_have_made_is_not_ours(records: DynamoRecords) -> None:
    # Paused already, by whomever: equal values prove nothing here.
    records.create(connection(status=Status.PAUSED))
    with pytest.raises(Conflict):
        records.change(NAME, move(Status.ACTIVE, Status.PAUSED).fields, only_if={"status": Status.ACTIVE})


def test_a_claim_whose_answer_was_lost_is_ours(records: DynamoRecords) -> None:
    # Taken for another tick's, its message would not be sent.
    records.create(connection(due_at=NOW, due_shard="1"))
    with lost_answers("dynamodb", "UpdateItem"):
        assert records.change(NAME, {"due_at": NOW + 120}, only_if={"due_at": NOW}).due_at == NOW + 120


def test_letting_go_of_a_lease_whose_answer_was_lost_succeeds(records: DynamoRecords) -> None:
    records.create(connection(lease_owner="me", lease_until=NOW + 40))
    with lost_answers("dynamodb", "UpdateItem"):
        released = records.change(
            NAME, {"lease_owner": None, "lease_until": None, "failures": 1}, only_if={"lease_owner": "me"}
        )
    assert (released.lease_owner, released.failures) == (None, 1)
