"""AWS in this process: moto, two tables as the template has them, and clients that no test shares with another run."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any
from unittest import mock

import boto3
import httpx
import moto
import pytest
import typer.testing
from botocore.client import BaseClient

from evergrant.adapters.aws import sdk
from evergrant.adapters.aws.authorizations import StoredAuthorizations
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.clock import SystemClock
from evergrant.wiring import deployment as wiring
from evergrant_cli import deployment
from evergrant_cli.doctor import patient
from tests.adapters.cli_desk import AUTHORIZATIONS, create_authorizations
from tests.adapters.doctor_account import Account
from tests.adapters.samples import NOW

RECORDS = "records"
_KEEP_SESSION: Any = {"core": {"mock_credentials": True, "passthrough": {}, "reset_boto3_session": False}}

# The runner makes the tree of commands anew for each run: half of what most runs cost.
typer.testing._get_command = functools.cache(typer.testing._get_command)  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def boto3_session() -> boto3.Session:
    """One for all modules: reading the descriptions of the services is what takes long."""
    return boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name="eu-west-1")


@pytest.fixture(scope="module")
def credentials(boto3_session: boto3.Session) -> Iterator[None]:
    """A Region and credentials that open nothing, and clients that use them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_REGION", "eu-west-1")
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setattr(boto3, "DEFAULT_SESSION", boto3_session)
        sdk.client.cache_clear()
        yield
        sdk.client.cache_clear()


@pytest.fixture
def aws(credentials: None) -> Iterator[None]:
    """An empty account."""
    # What moto does for the requests library, which nothing here uses, takes longer than many a test.
    with mock.patch("moto.core.models.RESPONSES_METHODS", []), moto.mock_aws(config=_KEEP_SESSION):
        yield


@pytest.fixture
def records(aws: None) -> DynamoRecords:
    sdk.client("dynamodb").create_table(
        TableName=RECORDS,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "due_shard", "AttributeType": "S"},
            {"AttributeName": "due_at", "AttributeType": "N"},
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "due",
                "KeySchema": [
                    {"AttributeName": "due_shard", "KeyType": "HASH"},
                    {"AttributeName": "due_at", "KeyType": "RANGE"},
                ],
                "Projection": {
                    "ProjectionType": "INCLUDE",
                    "NonKeyAttributes": ["expires_at", "client", "endpoint", "profile_hash"],
                },
            }
        ],
    )
    return DynamoRecords(RECORDS)


@pytest.fixture
def authorizations(aws: None) -> StoredAuthorizations:
    create_authorizations()
    return StoredAuthorizations(AUTHORIZATIONS)


@pytest.fixture
def key_arn(aws: None) -> str:
    """Create a symmetric KMS key. moto also makes an RSA key beside each, which costs 60 ms and is not used."""
    with mock.patch("moto.kms.models.generate_private_key"):
        return str(sdk.client("kms").create_key()["KeyMetadata"]["Arn"])


@pytest.fixture
def queue_url(aws: None) -> str:
    return str(sdk.client("sqs").create_queue(QueueName="rotation")["QueueUrl"])


@pytest.fixture
def environment(
    records: DynamoRecords,
    authorizations: StoredAuthorizations,
    key_arn: str,
    queue_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """The environment of the functions, with the tables, the key and the queue of this test."""
    made = (wiring.load_settings, wiring.build_rotation_ports, wiring.build_connect_ports)
    sdk.client("events").create_event_bus(Name="evergrant")
    for name, value in {
        "EVERGRANT_PREFIX": "evergrant",
        "EVERGRANT_RECORDS_TABLE": records.table,
        "EVERGRANT_AUTHORIZATIONS_TABLE": authorizations.table,
        "EVERGRANT_QUEUE_URL": queue_url,
        "EVERGRANT_SEAL_KEY_ARN": key_arn,
        "EVERGRANT_VAULT_KEY_ARN": key_arn,
        "EVERGRANT_EVENT_BUS": "evergrant",
        "EVERGRANT_ALLOW_LOOPBACK": "true",
    }.items():
        monkeypatch.setenv(name, value)
    for cached in made:
        cached.cache_clear()
    yield
    for cached in made:
        cached.cache_clear()


@pytest.fixture
def account(credentials: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An account in good order, as `evergrant doctor` sees it, at NOW."""
    account = Account()
    patient.create_client.cache_clear()
    monkeypatch.setattr(BaseClient, "_make_api_call", lambda *call: account.call(*call))
    monkeypatch.setattr(SystemClock, "now", staticmethod(lambda: NOW))
    monkeypatch.setattr(httpx, "stream", lambda *call, **more: account.stream(*call, **more))
    # A session of its own for each run would cost each test the making of its clients.
    monkeypatch.setattr(deployment, "open_session", lambda region, profile: None)
    monkeypatch.delenv("EVERGRANT_API_URL", raising=False)
    yield account
    patient.create_client.cache_clear()
