"""Protects the strictness of IAM on the local AWS: its condition keys are those that AWS documents for a request.

Amazon DynamoDB developer guide, "Using IAM policy conditions for fine-grained access control"; AWS KMS developer guide,
"AWS KMS condition keys".
"""

from __future__ import annotations

from typing import Any

import pytest

from local.condition_keys import Keys, list_dynamodb_keys, list_kms_keys

KEY = {"pk": {"S": "connection#keap/main"}}
READ: dict[str, tuple[str, dict[str, Any], Keys]] = {
    "an item": (
        "GetItem",
        {"TableName": "records", "Key": KEY},
        {
            "dynamodb:LeadingKeys": ["connection#keap/main"],
            "dynamodb:Attributes": ["pk"],
            "dynamodb:Select": "ALL_ATTRIBUTES",
        },
    ),
    "some attributes of an item": (
        "GetItem",
        {
            "TableName": "records",
            "Key": KEY,
            "ProjectionExpression": "#n0, outbox.#n1[0]",
            "ExpressionAttributeNames": {"#n0": "client", "#n1": "sealed"},
        },
        {
            "dynamodb:LeadingKeys": ["connection#keap/main"],
            "dynamodb:Attributes": ["client", "outbox", "pk"],
            "dynamodb:Select": "SPECIFIC_ATTRIBUTES",
        },
    ),
    "one table of a batch": (
        "BatchGetItem",
        {"RequestItems": {"records": {"Keys": [KEY]}, "other": {"Keys": [{"pk": {"S": "hold#"}}]}}},
        {
            "dynamodb:LeadingKeys": ["connection#keap/main"],
            "dynamodb:Attributes": ["pk"],
            "dynamodb:Select": "ALL_ATTRIBUTES",
        },
    ),
    "an index": (
        "Query",
        {
            "TableName": "records",
            "IndexName": "due",
            "KeyConditionExpression": "due_shard = :shard AND due_at <= :before",
            "ExpressionAttributeValues": {":shard": {"S": "3"}, ":before": {"N": "1"}},
        },
        {
            "dynamodb:LeadingKeys": ["3"],
            "dynamodb:Attributes": ["due_at", "due_shard"],
            "dynamodb:Select": "ALL_PROJECTED_ATTRIBUTES",
        },
    ),
    "an update": (
        "UpdateItem",
        {
            "TableName": "records",
            "Key": KEY,
            "UpdateExpression": "SET #n0 = :change, #n1.#n2 = :v0 REMOVE #n3",
            "ConditionExpression": "attribute_exists(#n4) AND (attribute_not_exists(lease_until) OR #n3 <= :v1)",
            "ExpressionAttributeNames": {
                "#n0": "change_id",
                "#n1": "outbox",
                "#n2": "event",
                "#n3": "due_at",
                "#n4": "pk",
            },
            "ReturnValues": "ALL_NEW",
        },
        {
            "dynamodb:LeadingKeys": ["connection#keap/main"],
            "dynamodb:Attributes": ["change_id", "due_at", "lease_until", "outbox", "pk"],
            "dynamodb:ReturnValues": "ALL_NEW",
        },
    ),
    "a new item": (
        "PutItem",
        {"TableName": "records", "Item": {**KEY, "client": {"S": "keap"}}},
        {
            "dynamodb:LeadingKeys": ["connection#keap/main"],
            "dynamodb:Attributes": ["client", "pk"],
            "dynamodb:ReturnValues": "NONE",
        },
    ),
}


@pytest.mark.parametrize("what", READ)
def test_a_request_has_the_keys_that_dynamodb_documents(what: str) -> None:
    operation, request, keys = READ[what]
    assert list_dynamodb_keys(operation, request, "records") == keys


def test_a_request_to_kms_has_its_encryption_context() -> None:
    assert list_kms_keys({"EncryptionContext": {"evergrant:connection": "keap/main"}}) == {
        "kms:EncryptionContext:evergrant:connection": "keap/main",
        "kms:EncryptionContextKeys": ["evergrant:connection"],
    }
    assert list_kms_keys({"KeyId": "x"}) == {}
