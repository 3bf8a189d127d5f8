"""The authorizations table: connect tickets and pending states, under the SHA-256 of their secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ...errors import Conflict
from .conditional_update import update_item
from .expressions import Expression
from .items import CHANGE_ID, create_change_id, from_attribute, to_attribute
from .sdk import client, read_error_code, unavailable


@dataclass(frozen=True, slots=True)
class StoredAuthorizations:
    """:class:`evergrant.ports.Authorizations` over DynamoDB. ``purge_at`` is the table's TTL attribute."""

    table: str

    def put(self, key: str, fields: Mapping[str, Any], purge_at: int) -> None:
        values = {**fields, "pk": key, "purge_at": purge_at}
        item = {name: to_attribute(value) for name, value in values.items() if value is not None}
        item[CHANGE_ID] = create_change_id()
        with unavailable("storing the authorization"):
            try:
                client("dynamodb").put_item(
                    TableName=self.table,
                    Item=item,
                    ConditionExpression="attribute_not_exists(pk)",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if _ours(error, item[CHANGE_ID]):
                    return
                if read_error_code(error) != "ConditionalCheckFailedException":
                    raise
                raise Conflict("The authorization", _fields(error.response.get("Item"))) from error

    def get(self, key: str) -> dict[str, Any] | None:
        with unavailable("reading the authorization"):
            answer = client("dynamodb").get_item(TableName=self.table, Key={"pk": {"S": key}}, ConsistentRead=True)
        return _fields(answer.get("Item"))

    def change(self, key: str, changes: Mapping[str, Any], *, only_if: Mapping[str, Any]) -> None:
        def conditions(expression: Expression) -> Iterator[str]:
            yield f"attribute_exists({expression.name('pk')})"
            yield from expression.conditions(only_if)

        paths: dict[tuple[str, ...], Any] = {(name,): value for name, value in changes.items()}
        updated = update_item(self.table, {"pk": {"S": key}}, paths, conditions, purpose="changing the authorization")
        if not updated.applied:
            raise Conflict("The authorization", _fields(updated.item))


def _ours(error: ClientError, change_id: Mapping[str, Any]) -> bool:
    """Whether what a write failed on is that write itself, repeated by the SDK."""
    held: Any = error.response.get("Item") or {}
    return bool(held.get(CHANGE_ID) == change_id)


def _fields(item: Any) -> dict[str, Any] | None:
    return {name: from_attribute(value) for name, value in item.items() if name != CHANGE_ID} if item else None
