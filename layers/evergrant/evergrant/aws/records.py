"""The record table: every transition one conditional UpdateItem.

DynamoDB, "Condition expressions" and "ReturnValuesOnConditionCheckFailure" (API_UpdateItem).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from ..connection import Connection
from ..errors import Conflict
from .clients import client, code_of, unavailable
from .items import CHANGE_ID, attribute, connection_of, item_of, key_of, new_change_id


@dataclass(frozen=True, slots=True)
class DueConnection:
    """What the due index shows of a connection."""

    name: str
    due_at: int
    expires_at: int | None
    client: str
    profile_hash: str


@dataclass(slots=True)
class _Expression:
    """Collects names and values of one request, so that nothing is ever put into the text itself."""

    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def path(self, dotted: str) -> str:
        # An event's id holds no dot: the first one parts the map from its key.
        return ".".join(self._name(part) for part in dotted.split(".", 1))

    def value(self, value: Any) -> str:
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = attribute(value)
        return placeholder

    def mark(self, change_id: Mapping[str, Any]) -> str:
        self.values[":change"] = change_id
        return f"{self.path(CHANGE_ID)} = :change"

    def _name(self, part: str) -> str:
        for placeholder, known in self.names.items():
            if known == part:
                return placeholder
        placeholder = f"#n{len(self.names)}"
        self.names[placeholder] = part
        return placeholder


@dataclass(frozen=True, slots=True)
class DynamoRecords:
    """:class:`evergrant.ports.Records` over DynamoDB."""

    table: str

    def get(self, connection: str) -> Connection | None:
        with unavailable("reading the record"):
            answer = client("dynamodb").get_item(TableName=self.table, Key=key_of(connection), ConsistentRead=True)
        return connection_of(answer["Item"]) if "Item" in answer else None

    def create(self, connection: Connection) -> None:
        with unavailable("creating the record"):
            try:
                client("dynamodb").put_item(
                    TableName=self.table,
                    Item=item_of(connection),
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
        changes: Mapping[str, Any],
        *,
        only_if: Mapping[str, Any] | None = None,
        lease_free_at: int | None = None,
    ) -> Connection:
        expression, change_id = _Expression(), new_change_id()
        set_parts = [f"{expression.path(n)} = {expression.value(v)}" for n, v in changes.items() if v is not None]
        remove_parts = [expression.path(name) for name, value in changes.items() if value is None]
        update = f"SET {', '.join([*set_parts, expression.mark(change_id)])}" + (
            f" REMOVE {', '.join(remove_parts)}" if remove_parts else ""
        )
        condition = " AND ".join(_conditions(expression, only_if or {}, lease_free_at))
        request = {
            "TableName": self.table,
            "Key": key_of(connection),
            "UpdateExpression": update,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": expression.names,
            "ExpressionAttributeValues": expression.values,
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        with unavailable("changing the record"):
            try:
                answer = client("dynamodb").update_item(**request)
            except ClientError as error:
                current = _conflicting(error)
                held: Any = error.response.get("Item") or {}
                if current is not None and (held.get(CHANGE_ID) == change_id or _already(current, changes)):
                    return current
                raise Conflict(connection, current) from error
        return connection_of(answer["Attributes"])

    def due(self, shard: str, before: int) -> Iterator[DueConnection]:
        """Connections of one shard that are due before ``before``, the most overdue first."""
        pages = (
            client("dynamodb")
            .get_paginator("query")
            .paginate(
                TableName=self.table,
                IndexName="due",
                KeyConditionExpression="due_shard = :shard AND due_at <= :before",
                ExpressionAttributeValues={":shard": attribute(shard), ":before": attribute(before)},
            )
        )
        with unavailable("reading the due index"):
            for page in pages:
                for item in page["Items"]:
                    name = item["pk"]["S"].partition("#")[2]
                    expires_at = int(item["expires_at"]["N"]) if "expires_at" in item else None
                    due_at, of_client, profile = (
                        int(item["due_at"]["N"]),
                        item["client"]["S"],
                        item["profile_hash"]["S"],
                    )
                    yield DueConnection(name, due_at, expires_at, of_client, profile)

    def all(self) -> Iterator[Connection]:
        """Every connection, by a scan: for an operator's overview, never for a tick."""
        pages = (
            client("dynamodb")
            .get_paginator("scan")
            .paginate(
                TableName=self.table,
                FilterExpression="begins_with(pk, :kind)",
                ExpressionAttributeValues={":kind": attribute("connection#")},
            )
        )
        with unavailable("listing the records"):
            for page in pages:
                yield from map(connection_of, page["Items"])


def _conditions(expression: _Expression, only_if: Mapping[str, Any], lease_free_at: int | None) -> Iterator[str]:
    yield f"attribute_exists({expression.path('pk')})"
    for name, value in only_if.items():
        path = expression.path(name)
        yield f"attribute_not_exists({path})" if value is None else f"{path} = {expression.value(value)}"
    if lease_free_at is not None:
        until = expression.path("lease_until")
        yield f"(attribute_not_exists({until}) OR {until} <= {expression.value(lease_free_at)})"


def _conflicting(error: ClientError) -> Connection | None:
    """The item that failed a condition; any other failure goes on."""
    if code_of(error) != "ConditionalCheckFailedException":
        raise error
    item: Any = error.response.get("Item")
    return connection_of(item) if item else None


def _already(current: Connection, changes: Mapping[str, Any]) -> bool:
    """Whether a change is there already, although another one followed it: an SDK's late repetition met both.

    A lease's owner, a spend's id, an event's id and a sealed set's nonce are never the same twice, so equality
    means that it was us.
    """
    if not any(name in changes and changes[name] is not None for name in ("lease_owner", "sealed")):
        return False
    for name, value in changes.items():
        field_name, dot, key = name.partition(".")
        held = getattr(current, field_name)
        if (held.get(key) if dot else held) != value:
            return False
    return True
