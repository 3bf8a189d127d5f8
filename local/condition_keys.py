"""The condition keys of AWS that the emulator does not derive from a request. Pure, and without other packages.

- DynamoDB: ``LeadingKeys``, ``Attributes``, ``ReturnValues`` and ``Select`` (Amazon DynamoDB developer guide, "Using
  IAM policy conditions for fine-grained access control").
- KMS: ``EncryptionContext`` and ``EncryptionContextKeys`` (AWS KMS developer guide, "Condition keys for AWS KMS").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Request = Mapping[str, Any]
Keys = dict[str, Any]

#: The partition key of both tables.
PARTITION_KEY = "pk"
_EXPRESSIONS = (
    "ConditionExpression",
    "FilterExpression",
    "KeyConditionExpression",
    "ProjectionExpression",
    "UpdateExpression",
)
_WRITES = frozenset({"DeleteItem", "PutItem", "UpdateItem"})
#: A path in an expression, up to its first dot or bracket. A value (``:v``) and the rest of a path are none.
_NAME = re.compile(r"(?<![:.\w#])#?[A-Za-z_]\w*")
#: What else stands in an expression: keywords and functions.
_WORDS = frozenset({"ADD", "AND", "BETWEEN", "DELETE", "IN", "NOT", "OR", "REMOVE", "SET"}) | {
    "attribute_exists",
    "attribute_not_exists",
    "attribute_type",
    "begins_with",
    "contains",
    "if_not_exists",
    "list_append",
    "size",
}


def list_dynamodb_keys(operation: str, request: Request, table: str) -> Keys:
    """List what IAM evaluates of a request on one table, given by its name. A batch is evaluated table by table."""
    asked = request.get("RequestItems", {}).get(table, {}) if operation == "BatchGetItem" else request
    keys: Keys = {"dynamodb:LeadingKeys": _list_leading_keys(operation, asked)}
    if attributes := sorted(set(_list_attributes(asked))):
        keys["dynamodb:Attributes"] = attributes
    if operation in _WRITES:
        keys["dynamodb:ReturnValues"] = asked.get("ReturnValues", "NONE")
    else:
        default = "ALL_PROJECTED_ATTRIBUTES" if "IndexName" in asked else "ALL_ATTRIBUTES"
        keys["dynamodb:Select"] = "SPECIFIC_ATTRIBUTES" if "ProjectionExpression" in asked else default
    return {name: value for name, value in keys.items() if value != []}


def list_kms_keys(request: Request) -> Keys:
    """List what IAM evaluates of a request's encryption context."""
    context: Mapping[str, str] = request.get("EncryptionContext") or {}
    keys: Keys = {f"kms:EncryptionContext:{name}": value for name, value in context.items()}
    return keys | ({"kms:EncryptionContextKeys": sorted(context)} if context else {})


def _list_leading_keys(operation: str, asked: Request) -> list[str]:
    if operation == "Query":
        # The partition key of the table or the index is the one that is compared for equality.
        found = re.search(r"=\s*(:\w+)", asked["KeyConditionExpression"])
        values = [asked["ExpressionAttributeValues"][found[1]]] if found else []
    else:
        items = asked.get("Keys") or [asked.get("Key") or asked.get("Item") or {}]
        values = [item[PARTITION_KEY] for item in items if PARTITION_KEY in item]
    return [str(next(iter(value.values()))) for value in values]


def _list_attributes(asked: Request) -> Iterator[str]:
    """List the top-level attributes that a request names, its keys included."""
    names: Mapping[str, str] = asked.get("ExpressionAttributeNames") or {}
    for expression in _EXPRESSIONS:
        for word in _NAME.findall(asked.get(expression) or ""):
            if word not in _WORDS:
                yield names.get(word, word)
    yield from asked.get("Item") or ()
    for key in asked.get("Keys") or [asked.get("Key") or {}]:
        yield from key
