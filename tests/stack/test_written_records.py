"""Protects a grant from someone who can write the record table, or send to the rotation queue, of the deployed stack.

What the attacker's own server receives is its own word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import pytest

from evergrant.adapters.aws.items import build_key, to_connection
from evergrant.profiles.loader import load_profile
from evergrant.profiles.model import content_hash, encode
from evergrant.record.connection import Connection
from local.providers import OPENID, Client, Provider, ProviderServer
from local.world import World
from tests.stack.conftest import OPENID_PROFILE
from tests.stack.deployed import Control, Journey, force_refresh, state_of


@dataclass(frozen=True)
class Attacker:
    """A client of the attacker's own, and a profile that leads to the attacker's server."""

    world: World
    server: ProviderServer
    profile_hash: str

    @property
    def table(self) -> str:
        return self.world.stack.outputs["RecordsTableName"]

    def read(self, connection: str) -> Connection:
        found = self.world.aws.client("dynamodb").get_item(
            TableName=self.table, Key=build_key(connection), ConsistentRead=True
        )
        return to_connection(found["Item"])

    def write(self, connection: str, **fields: str) -> None:
        """Write text fields of a record, as any identity with UpdateItem on the table can."""
        self.world.aws.client("dynamodb").update_item(
            TableName=self.table,
            Key=build_key(connection),
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in fields),
            ExpressionAttributeNames={f"#{name}": name for name in fields},
            ExpressionAttributeValues={f":{name}": {"S": value} for name, value in fields.items()},
        )

    def send(self, message: dict[str, Any]) -> None:
        self.world.aws.client("sqs").send_message(
            QueueUrl=self.world.stack.outputs["RotationQueueUrl"], MessageBody=json.dumps(message)
        )

    def invoke(self, message: dict[str, Any]) -> Any:
        """Invoke rotator as if its queue did."""
        answer = self.world.aws.client("lambda").invoke(
            FunctionName=self.world.stack.outputs["RotatorFunctionArn"],
            Payload=json.dumps({"Records": [{"messageId": "m", "body": json.dumps(message)}]}).encode(),
        )
        return json.loads(answer["Payload"].read())


@pytest.fixture(scope="module")
def attacker(world: World) -> Iterator[Attacker]:
    secret = "of-the-attacker"
    with ProviderServer(Provider(OPENID, clients=(Client("mine", secret),))) as server:
        profile = load_profile(OPENID_PROFILE.format(host=server.host))
        world.aws.client("dynamodb").put_item(
            TableName=world.stack.outputs["RecordsTableName"],
            Item={"pk": {"S": f"profile#{content_hash(profile)}"}, "profile": {"B": encode(profile)}},
        )
        command = ("client", "set", "mine", "--client-id", "mine", "--host", server.host)
        world.evergrant(*command, given=f"{secret}\n")
        yield Attacker(world, server, content_hash(profile))


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def connection(world: World, openid: ProviderServer, numbers: Iterator[int]) -> str:
    """A connection of its own, which works."""
    name = f"openid/written{next(numbers)}"
    link = json.loads(world.evergrant("connect", name, "--no-wait", "--json"))["link"]
    with httpx.Client(follow_redirects=False, trust_env=False, timeout=40) as http:
        assert Journey(http, link).walk().status_code == 200
    return name


def count_requests(attacker: Attacker) -> int:
    total: int = Control(attacker.server).ask("stats")["token_requests"]["total"]
    return total


def test_a_record_that_points_to_another_server_sends_it_nothing(attacker: Attacker, connection: str) -> None:
    """An operator adds a profile and a client, changes the record, and forces a refresh."""
    before = attacker.read(connection)
    attacker.write(connection, client="mine", profile_hash=attacker.profile_hash)
    said = force_refresh(attacker.world, connection)
    assert said["error"]["code"] == "record_tampered"
    assert "(client)" in said["error"]["message"]
    assert count_requests(attacker) == 0
    status, generation = state_of(attacker.world, connection)
    assert (status, generation) == ("degraded", before.generation)
    attacker.write(connection, client=before.client, profile_hash=before.profile_hash)
    assert "access_token" in force_refresh(attacker.world, connection)
    assert state_of(attacker.world, connection) == ("active", before.generation + 1)


FORGERIES: dict[str, Callable[[Attacker, Connection], dict[str, Any]]] = {
    "a save in the clear": lambda attacker, record: {
        "task": "save",
        "connection": record.name,
        "generation": record.generation,
        "status": "active",
        "fields": {"client": "mine", "profile_hash": attacker.profile_hash},
        "events": {},
    },
    "a save by another sealed set": lambda _, record: {
        "task": "save",
        "connection": record.name,
        "generation": record.generation - 1,
        "change": record.sealed.encode() if record.sealed else {},
    },
    "a revocation by the record's own set": lambda attacker, record: {
        "task": "revoke",
        "connection": record.name,
        "generation": record.generation - 1,
        "request": record.sealed.encode() if record.sealed else {},
        "profile_hash": attacker.profile_hash,
        "variables": {},
        "client": "mine",
        "tries": 0,
    },
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_message_that_rotator_did_not_seal_changes_nothing(attacker: Attacker, connection: str, kind: str) -> None:
    before = attacker.read(connection)
    attacker.invoke(FORGERIES[kind](attacker, before))
    after = attacker.read(connection)
    kept = ("status", "client", "profile_hash", "generation", "variables")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert count_requests(attacker) == 0
    assert "access_token" in force_refresh(attacker.world, connection), "the grant is as good as it was"
