"""One conditional UpdateItem: the way in which every item of the tables changes (optimistic locking).

DynamoDB, "Condition expressions", and API_UpdateItem, "ReturnValuesOnConditionCheckFailure".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import ClientError

from .expressions import Expression
from .items import CHANGE_ID, create_change_id
from .sdk import client, read_error_code, unavailable


@dataclass(frozen=True, slots=True)
class Updated:
    """How a write ended. ``item`` is the item as it then is, or what ``returns`` asks for; None when there is none.

    ``applied`` is also true where the SDK repeats a write whose answer was lost: the repetition fails on its own
    condition, and the item shows the change's own id.
    """

    item: Mapping[str, Any] | None
    applied: bool


def update_item(
    table: str,
    key: Mapping[str, Any],
    changes: Mapping[tuple[str, ...], Any],
    conditions: Callable[[Expression], Iterable[str]],
    *,
    purpose: str,
    returns: Literal["ALL_NEW", "UPDATED_NEW"] = "ALL_NEW",
) -> Updated:
    """Set attributes by their path, remove those that become None, if all conditions hold.

    Parameters
    ----------
    conditions
        Makes the conditions, in the placeholders of the expression that it is given.
    purpose
        What this is for, as an error says it: "changing the record".
    returns
        How much of the item a write that succeeds returns (API_UpdateItem, "ReturnValues").

    Raises
    ------
    PortUnavailable
    """
    expression, change_id = Expression(), create_change_id()
    request: dict[str, Any] = {
        "TableName": table,
        "Key": key,
        "UpdateExpression": expression.update(changes, change_id),
        "ReturnValues": returns,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    condition = " AND ".join(conditions(expression))
    if condition:
        request["ConditionExpression"] = condition
    request["ExpressionAttributeNames"] = expression.names
    request["ExpressionAttributeValues"] = expression.values
    with unavailable(purpose):
        try:
            return Updated(client("dynamodb").update_item(**request)["Attributes"], applied=True)
        except ClientError as error:
            if read_error_code(error) != "ConditionalCheckFailedException":
                raise
            held: Any = error.response.get("Item") or None
            return Updated(held, applied=held is not None and held.get(CHANGE_ID) == change_id)
