"""The record table: every change is one conditional UpdateItem.

DynamoDB, "Condition expressions" and "ReturnValuesOnConditionCheckFailure" (API_UpdateItem).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ...errors import Conflict
from ...record.connection import ANY_STATE, NO_EVENTS, Connection, Events, RecordFields, RecordState
from ...record.state_machine import require_writable
from .conditional_update import update_item
from .expressions import Expression
from .items import build_key, to_attribute, to_connection, to_item
from .sdk import client, read_error_code, scan_items, unavailable


@dataclass(frozen=True, slots=True)
class DueConnection:
    """What the due index shows of a connection."""

    name: str
    due_at: int
    expires_at: int | None
    client: str
    endpoint: str
    profile_hash: str


@dataclass(frozen=True, slots=True)
class DynamoRecords:
    """:class:`evergrant.ports.Records` over DynamoDB."""

    table: str

    def get(self, connection: str) -> Connection | None:
        with unavailable("reading the record"):
            answer = client("dynamodb").get_item(TableName=self.table, Key=build_key(connection), ConsistentRead=True)
        return to_connection(answer["Item"]) if "Item" in answer else None

    def create(self, connection: Connection) -> None:
        with unavailable("creating the record"):
            try:
                client("dynamodb").put_item(
                    TableName=self.table,
                    Item=to_item(connection),
                    ConditionExpression="attribute_not_exists(pk)",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                current = _conflicting(error)
                if current != connection:
                    raise Conflict(connection.name, current) from error

    def change(
        self,
        connection: str,
        fields: RecordFields,
        *,
        events: Events = NO_EVENTS,
        only_if: RecordState = ANY_STATE,
        lease_free_at: int | None = None,
    ) -> Connection:
        require_writable(fields, only_if)
        paths: dict[tuple[str, ...], Any] = {(name,): value for name, value in fields.items()}
        paths |= {("outbox", event_id): body for event_id, body in events.items()}
        updated = update_item(
            self.table,
            build_key(connection),
            paths,
            lambda expression: _conditions(expression, only_if, lease_free_at),
            purpose="changing the record",
        )
        current = to_connection(updated.item) if updated.item else None
        if current is None or not (updated.applied or is_already_applied(current, fields, events)):
            raise Conflict(connection, current)
        return current

    def claim(self, connection: str, due_at: int, until: int) -> bool:
        # Scheduler's role allows this write with these attributes and this ReturnValues only (template.yaml).
        return update_item(
            self.table,
            build_key(connection),
            {("due_at",): until},
            lambda expression: _conditions(expression, {"due_at": due_at}, None),
            purpose="claiming the connection",
            returns="UPDATED_NEW",
        ).applied

    def due(self, shard: str, before: int) -> Iterator[DueConnection]:
        """Connections of one shard that are due before ``before``, the most overdue first."""
        pages = (
            client("dynamodb")
            .get_paginator("query")
            .paginate(
                TableName=self.table,
                IndexName="due",
                KeyConditionExpression="due_shard = :shard AND due_at <= :before",
                ExpressionAttributeValues={":shard": to_attribute(shard), ":before": to_attribute(before)},
            )
        )
        with unavailable("reading the due index"):
            for page in pages:
                for item in page["Items"]:
                    name = item["pk"]["S"].partition("#")[2]
                    expires_at = int(item["expires_at"]["N"]) if "expires_at" in item else None
                    # A record that lacks these is rotator's to complain of.
                    texts = (item.get(part, {}).get("S", "") for part in ("client", "endpoint", "profile_hash"))
                    yield DueConnection(name, int(item["due_at"]["N"]), expires_at, *texts)

    def all(self) -> Iterator[Connection]:
        """Every connection, by a scan: for an operator's overview, never for a tick."""
        items = scan_items(self.table, "connection#")
        with unavailable("listing the records"):
            yield from map(to_connection, items)


def _conditions(expression: Expression, only_if: RecordState, lease_free_at: int | None) -> Iterator[str]:
    yield f"attribute_exists({expression.name('pk')})"
    yield from expression.conditions(only_if)
    if lease_free_at is not None:
        until = expression.name("lease_until")
        yield f"(attribute_not_exists({until}) OR {until} <= {expression.value(lease_free_at)})"


def _conflicting(error: ClientError) -> Connection | None:
    """The item that failed a condition; any other failure goes on."""
    if read_error_code(error) != "ConditionalCheckFailedException":
        raise error
    item: Any = error.response.get("Item")
    return to_connection(item) if item else None


def is_already_applied(current: Connection, fields: RecordFields, events: Events) -> bool:
    """Whether a change is there already, although another one followed it: an SDK's late repetition met both.

    A lease's owner, an attempt's id, an event's id and a sealed set's nonce are never the same twice, so equality means
    that the change is ours.
    """
    if fields.get("lease_owner") is None and fields.get("sealed") is None:
        return False
    return all(getattr(current, name) == value for name, value in fields.items()) and all(
        current.outbox.get(event_id) == body for event_id, body in events.items()
    )
