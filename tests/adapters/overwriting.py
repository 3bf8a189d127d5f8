"""Puts a record into a state that no single step leads to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from evergrant.adapters.aws.items import to_item
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.sdk import client
from evergrant.record.connection import Connection


def overwrite(records: DynamoRecords, name: str, **fields: Any) -> Connection:
    """Replace fields of a record without a condition. Returns the record as it then is."""
    current = records.get(name)
    assert current is not None
    changed = replace(current, **fields)
    client("dynamodb").put_item(TableName=records.table, Item=to_item(changed))
    return changed
