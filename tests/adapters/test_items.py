"""Protects the record's form in DynamoDB: no field is lost, changed in type or stored in the clear."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any

import pytest

from evergrant.adapters.aws.items import from_attribute, to_attribute, to_connection, to_item
from evergrant.errors import RecordBroken
from evergrant.record.connection import FORMAT_VERSION, Connection
from evergrant.record.status import Status
from tests.adapters.samples import connection, full


def test_every_field_comes_back_as_it_was() -> None:
    record = full()
    assert to_connection(to_item(record)) == record


def test_the_full_sample_leaves_no_field_at_its_default() -> None:
    # Else the test above would not notice a field that is never written.
    record = full()
    for field in fields(Connection):
        if field.name == "format_version":
            continue  # a release writes one format alone
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        assert getattr(record, field.name) != default, field.name


def test_whole_numbers_come_back_as_int_and_flags_as_bool() -> None:
    back = to_connection(to_item(full()))
    assert type(back.expires_at) is int
    assert type(back.generation) is int
    assert back.direct_read is False
    assert type(back.outbox["b6a1"]["detail"]["generation"]) is int
    assert isinstance(back.status, Status)


def test_binaries_come_back_as_bytes() -> None:
    back = to_connection(to_item(full()))
    assert back.sealed is not None
    assert type(back.sealed.text) is bytes


def test_a_field_without_a_value_takes_no_attribute() -> None:
    item = to_item(connection())
    assert "sealed" not in item
    assert "due_at" not in item  # else the sparse index would not be sparse
    assert to_connection(item) == connection()


def test_an_attribute_of_a_later_version_is_passed_over() -> None:
    item = {**to_item(connection()), "from_the_future": {"S": "x"}}
    assert to_connection(item) == connection()


def test_an_item_without_later_fields_gets_their_defaults() -> None:
    item = to_item(full())
    del item["attempt_replays"]
    assert to_connection(item).attempt_replays == 0


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 0, None])
def test_a_record_of_another_format_is_refused_with_its_number(version: int | None) -> None:
    """A release reads no record that another one wrote in another format, and says which it reads."""
    item = {**to_item(connection()), "format_version": to_attribute(version)}
    with pytest.raises(RecordBroken, match=rf"has format .*reads format {FORMAT_VERSION}"):
        to_connection(item)
    del item["format_version"]
    with pytest.raises(RecordBroken, match="has format none"):
        to_connection(item)


def test_nested_values_survive_typing() -> None:
    value = {"a": [1, {"b": b"\x00"}, None, True, ""], "c": 10**17}
    assert from_attribute(to_attribute(value)) == value


def test_status_is_stored_as_its_word() -> None:
    assert to_item(connection(status=Status.PAUSED))["status"] == {"S": "paused"}
    assert json.dumps(to_item(connection())["status"]) == '{"S": "active"}'


@pytest.mark.parametrize(
    "broken",
    [
        {"status": {"S": "bogus"}},
        {"expires_at": {"N": "1.5"}},
        {"sealed": {"M": {"key": {"B": b""}}}},
        {"grant": None},
        {"format_version": {"N": "1.5"}},
    ],
    ids=["an unknown status", "half a second", "half a seal", "no grant", "half a format"],
)
def test_an_item_that_is_no_record_is_an_error_that_names_the_connection(broken: dict[str, Any]) -> None:
    item = {name: value for name, value in {**to_item(full()), **broken}.items() if value is not None}
    with pytest.raises(RecordBroken, match=full().name):
        to_connection(item)
