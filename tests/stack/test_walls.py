"""Protects the walls in the deployed stack: what an administrator's own rights do not open, and plain HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.browser import Page
from local.world import World
from tests.stack.deployed import data_key, record_key

CONTEXT = {"evergrant:connection": "keap/main", "evergrant:generation": "1"}
DENIED = "AccessDenied"


@pytest.fixture(scope="module")
def as_administrator(world: World) -> Iterator[Callable[[str], Any]]:
    """A boto3 client of a user who may do anything that IAM decides about, but is not the account's root user."""
    iam, everything = world.aws.client("iam"), {"Effect": "Allow", "Action": "*", "Resource": "*"}
    iam.create_user(UserName="administrator")
    document = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    iam.put_user_policy(UserName="administrator", PolicyName="everything", PolicyDocument=document)
    key = iam.create_access_key(UserName="administrator")["AccessKey"]
    credentials = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    yield lambda service: world.aws.client(service, **credentials)
    iam.delete_access_key(UserName="administrator", AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName="administrator", PolicyName="everything")
    iam.delete_user(UserName="administrator")


@pytest.fixture(scope="module")
def sealed_key(world: World, keap: Page) -> tuple[bytes, dict[str, str]]:
    """The data key of a real record, and the context that it was made for."""
    record = world.aws.client("dynamodb").get_item(TableName=world.stack.outputs["RecordsTableName"], Key=record_key())[
        "Item"
    ]
    return data_key(record), {
        "evergrant:connection": "keap/main",
        "evergrant:generation": record["generation"]["N"],
    }


Use = Callable[[Any, str, bytes, dict[str, str]], object]
USES: dict[str, Use] = {
    "decrypt": lambda kms, key, blob, context: kms.decrypt(KeyId=key, CiphertextBlob=blob, EncryptionContext=context),
    "re-encrypt": lambda kms, key, blob, context: kms.re_encrypt(
        CiphertextBlob=blob, SourceEncryptionContext=context, SourceKeyId=key, DestinationKeyId=key
    ),
    "encrypt": lambda kms, key, blob, context: kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=context),
    "grant": lambda kms, key, blob, context: kms.create_grant(
        KeyId=key, GranteePrincipal="arn:aws:iam::000000000000:user/administrator", Operations=["Decrypt"]
    ),
    "seal without a connection": lambda kms, key, blob, context: kms.generate_data_key(KeyId=key, KeySpec="AES_256"),
    "seal for a connection alone": lambda kms, key, blob, context: kms.generate_data_key(
        KeyId=key, KeySpec="AES_256", EncryptionContext={"evergrant:connection": "keap/main"}
    ),
    "seal for something else": lambda kms, key, blob, context: kms.generate_data_key(
        KeyId=key, KeySpec="AES_256", EncryptionContext={**context, "other": "x"}
    ),
}


@pytest.mark.parametrize("use", USES)
def test_an_administrator_is_refused_by_the_seal_key(
    use: str, world: World, sealed_key: tuple[bytes, dict[str, str]], as_administrator: Callable[[str], Any]
) -> None:
    with pytest.raises(ClientError, match=DENIED):
        USES[use](as_administrator("kms"), world.stack.outputs["SealKeyArn"], *sealed_key)


def test_an_administrator_seals_and_administers(world: World, as_administrator: Callable[[str], Any]) -> None:
    """So that the refusals above are the key policy's. Who may write that policy can also change it."""
    kms, key = as_administrator("kms"), world.stack.outputs["SealKeyArn"]
    assert kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=CONTEXT)["CiphertextBlob"]
    policy = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy)


def send_plainly(client: Any) -> Any:
    """Have a client's requests arrive by plain HTTP, as the local AWS understands it (`local/emulator.py`)."""
    client.meta.events.register(
        "before-sign", lambda request, **_: request.headers.add_header("X-Forwarded-Proto", "http")
    )
    return client


@pytest.mark.parametrize("output", ["RotationQueueUrl", "RotationDeadLetterQueueUrl", "AlertDeadLetterQueueUrl"])
def test_a_queue_refuses_plain_http(output: str, world: World, as_administrator: Callable[[str], Any]) -> None:
    address = world.stack.outputs[output]
    as_administrator("sqs").get_queue_attributes(QueueUrl=address, AttributeNames=["QueueArn"])
    with pytest.raises(ClientError, match=DENIED):
        send_plainly(as_administrator("sqs")).get_queue_attributes(QueueUrl=address, AttributeNames=["QueueArn"])


def test_the_alert_topic_refuses_plain_http(world: World, as_administrator: Callable[[str], Any]) -> None:
    message = {"TopicArn": world.stack.outputs["AlertTopicArn"], "Message": "over TLS"}
    as_administrator("sns").publish(**message)
    with pytest.raises(ClientError, match=r"Authorization|AccessDenied"):
        send_plainly(as_administrator("sns")).publish(**message)
