"""Protects least privilege where it counts: each role tries, against enforced IAM, what it must never be able to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.browser import Page
from local.world import World
from tests.stack.deployed import data_key, record_key

Try = Callable[[Any, World], object]


def read_a_client(secrets: Any, world: World) -> object:
    return secrets.get_secret_value(SecretId="evergrant/clients/keap")


def read_a_token(secrets: Any, world: World) -> object:
    return secrets.get_secret_value(SecretId="evergrant/tokens/keap/main")


def write_a_token(secrets: Any, world: World) -> object:
    return secrets.put_secret_value(SecretId="evergrant/tokens/keap/main", SecretString="{}")


def write_a_client(secrets: Any, world: World) -> object:
    return secrets.put_secret_value(SecretId="evergrant/clients/keap", SecretString="{}")


def delete_a_token(secrets: Any, world: World) -> object:
    return secrets.delete_secret(SecretId="evergrant/tokens/keap/main")


def read_a_record(dynamodb: Any, world: World) -> object:
    return dynamodb.get_item(TableName=world.stack.outputs["RecordsTableName"], Key=record_key())


def read_all_records(dynamodb: Any, world: World) -> object:
    return dynamodb.scan(TableName=world.stack.outputs["RecordsTableName"])


def delete_a_record(dynamodb: Any, world: World) -> object:
    return dynamodb.delete_item(TableName=world.stack.outputs["RecordsTableName"], Key=record_key())


def read_a_ticket(dynamodb: Any, world: World) -> object:
    return dynamodb.get_item(TableName=world.stack.outputs["AuthorizationsTableName"], Key={"pk": {"S": "ticket#1"}})


def read_the_hold(dynamodb: Any, world: World) -> object:
    return dynamodb.get_item(TableName=world.stack.outputs["AuthorizationsTableName"], Key={"pk": {"S": "hold#"}})


def move_a_due_date(dynamodb: Any, world: World) -> object:
    """Nothing changes, since no record is due at that time."""
    return set_a_field(dynamodb, world, "due_at", "due_at = :never")


def change_a_client(dynamodb: Any, world: World) -> object:
    return set_a_field(dynamodb, world, "client", "due_at = :never")


def rewrite_a_profile(dynamodb: Any, world: World) -> object:
    return set_a_field(dynamodb, world, "profile", "attribute_exists(pk)", {"pk": {"S": f"profile#{'0' * 64}"}})


def set_a_field(
    dynamodb: Any, world: World, field: str, condition: str, key: dict[str, dict[str, str]] | None = None
) -> object:
    values = {":value": {"N": "0"}} | ({":never": {"N": "-1"}} if ":never" in condition else {})
    try:
        return dynamodb.update_item(
            TableName=world.stack.outputs["RecordsTableName"],
            Key=key or record_key(),
            UpdateExpression="SET #field = :value",
            ConditionExpression=condition,
            ExpressionAttributeNames={"#field": field},
            ExpressionAttributeValues=values,
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return "allowed"


def send_work(sqs: Any, world: World) -> object:
    return sqs.send_message(QueueUrl=world.stack.outputs["RotationQueueUrl"], MessageBody='{"connection": "keap/x"}')


def make_an_event(events: Any, world: World) -> object:
    entry = {"Source": "x", "DetailType": "x", "Detail": "{}", "EventBusName": world.stack.outputs["EventBusName"]}
    return events.put_events(Entries=[entry])


def invoke_rotator(functions: Any, world: World) -> object:
    return functions.invoke(FunctionName=world.stack.outputs["RotatorFunctionArn"], Payload=b"{}")


def unseal(kms: Any, world: World) -> object:
    """Open the data key of a real record, with the context it was made for."""
    record = world.aws.client("dynamodb").get_item(TableName=world.stack.outputs["RecordsTableName"], Key=record_key())[
        "Item"
    ]
    return kms.decrypt(
        KeyId=world.stack.outputs["SealKeyArn"],
        CiphertextBlob=data_key(record),
        EncryptionContext={
            "evergrant:connection": "keap/main",
            "evergrant:generation": record["generation"]["N"],
        },
    )


FORBIDDEN: list[tuple[str, str, Try]] = [
    ("scheduler", "secretsmanager", read_a_client),
    ("scheduler", "secretsmanager", read_a_token),
    ("scheduler", "dynamodb", read_all_records),
    ("scheduler", "dynamodb", read_a_record),
    ("scheduler", "dynamodb", read_a_ticket),
    ("scheduler", "dynamodb", change_a_client),
    ("scheduler", "dynamodb", rewrite_a_profile),
    ("scheduler", "kms", unseal),
    ("scheduler", "lambda", invoke_rotator),
    ("rotator", "secretsmanager", write_a_client),
    ("rotator", "secretsmanager", read_a_token),
    ("rotator", "secretsmanager", delete_a_token),
    ("rotator", "dynamodb", delete_a_record),
    ("rotator", "dynamodb", read_all_records),
    ("rotator", "dynamodb", read_a_ticket),
    ("callback", "kms", unseal),
    ("callback", "secretsmanager", read_a_token),
    ("callback", "secretsmanager", write_a_token),
    ("callback", "secretsmanager", write_a_client),
    ("callback", "dynamodb", read_all_records),
    ("callback", "dynamodb", read_the_hold),
    ("callback", "dynamodb", rewrite_a_profile),
    ("callback", "dynamodb", delete_a_record),
    ("callback", "lambda", invoke_rotator),
    ("getter", "secretsmanager", read_a_client),
    ("getter", "secretsmanager", write_a_token),
    ("getter", "dynamodb", read_a_record),
    ("getter", "kms", unseal),
    ("getter", "sqs", send_work),
    ("consumer", "secretsmanager", read_a_client),
    ("consumer", "secretsmanager", write_a_token),
    ("consumer", "secretsmanager", delete_a_token),
    ("consumer", "dynamodb", read_a_record),
    ("consumer", "kms", unseal),
    ("consumer", "sqs", send_work),
    # With rotator's very policies, but not its role, which the key's policy names. That rotator unseals, each refresh
    # shows.
    ("rotator", "kms", unseal),
    ("consumer", "events", make_an_event),
    ("consumer", "lambda", invoke_rotator),
]


@pytest.mark.parametrize(
    ("role", "service", "attempt"), FORBIDDEN, ids=[f"{role}-{attempt.__name__}" for role, _, attempt in FORBIDDEN]
)
def test_a_role_is_refused_what_it_has_no_business_with(
    role: str, service: str, attempt: Try, keap: Page, world: World, as_role: Callable[[str, str], Any]
) -> None:
    with pytest.raises(ClientError) as refusal:
        attempt(as_role(role, service), world)

    assert refusal.value.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException"}


ALLOWED: list[tuple[str, str, Try]] = [
    ("rotator", "secretsmanager", read_a_client),
    ("rotator", "dynamodb", read_a_record),
    ("callback", "secretsmanager", read_a_client),
    ("scheduler", "dynamodb", move_a_due_date),
    ("callback", "dynamodb", read_a_ticket),
    ("callback", "dynamodb", change_a_client),
    ("getter", "secretsmanager", read_a_token),
    ("consumer", "secretsmanager", read_a_token),
]


@pytest.mark.parametrize(
    ("role", "service", "attempt"), ALLOWED, ids=[f"{role}-{attempt.__name__}" for role, _, attempt in ALLOWED]
)
def test_the_same_attempt_succeeds_for_the_role_whose_business_it_is(
    role: str, service: str, attempt: Try, keap: Page, world: World, as_role: Callable[[str, str], Any]
) -> None:
    """So that a refusal above is one by IAM, and not a mistake in how it was tried."""
    assert attempt(as_role(role, service), world)


def test_only_who_holds_the_consumer_policy_reads_tokens_by_it(world: World) -> None:
    policy = world.aws.client("iam").get_policy(PolicyArn=world.stack.outputs["ConsumerPolicyArn"])["Policy"]

    assert policy["AttachmentCount"] == 1
