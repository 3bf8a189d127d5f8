"""The authorizations table: connect tickets and pending states, under the SHA-256 of their secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ...errors import Conflict
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
        change_id = create_change_id()
        names = {
            f"#n{number}": name for number, name in enumerate(dict.fromkeys([*changes, *only_if, "pk", CHANGE_ID]))
        }
        place = {name: placeholder for placeholder, name in names.items()}
        values = {f":c{number}": to_attribute(value) for number, value in enumerate(changes.values())}
        values[":change"] = change_id
        update = [f"{place[name]} = :c{number}" for number, name in enumerate(changes)]
        update.append(f"{place[CHANGE_ID]} = :change")
        conditions = [f"attribute_exists({place['pk']})"]
        for number, (name, value) in enumerate(only_if.items()):
            if value is None:
                conditions.append(f"attribute_not_exists({place[name]})")
            else:
                values[f":o{number}"] = to_attribute(value)
                conditions.append(f"{place[name]} = :o{number}")
        with unavailable("changing the authorization"):
            try:
                client("dynamodb").update_item(
                    TableName=self.table,
                    Key={"pk": {"S": key}},
                    UpdateExpression=f"SET {', '.join(update)}",
                    ConditionExpression=" AND ".join(conditions),
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues=values,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if read_error_code(error) != "ConditionalCheckFailedException":
                    raise
                if _ours(error, change_id):
                    return
                current = error.response.get("Item")
                raise Conflict("The authorization", _fields(current)) from error


def _ours(error: ClientError, change_id: Mapping[str, Any]) -> bool:
    """Whether what a write failed on is that write itself, repeated by the SDK."""
    held: Any = error.response.get("Item") or {}
    return bool(held.get(CHANGE_ID) == change_id)


def _fields(item: Any) -> dict[str, Any] | None:
    return {name: from_attribute(value) for name, value in item.items() if name != CHANGE_ID} if item else None
