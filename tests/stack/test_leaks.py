"""Protects the promise that no secret is where it has no business, by looking everywhere after everything happened.

The tests know all that the simulated providers issued and received, so that they can look for it: each refresh
token, authorization code and client secret, and each access token outside the secrets that publish it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local import connections
from local.consumer_stack import Consumer
from local.world import World
from tests.stack.deployed import EventsQueue, force_refresh


@pytest.fixture(scope="module")
def secrets_known(world: World, consumer: Consumer, events_queue: EventsQueue, wealthyhood: None) -> dict[str, str]:
    """Secret to what it is, once an account has been connected, rotated, read and refused."""
    canary = connections.KEAP.for_account("canary")
    world.connect(canary)
    events_queue.wait_for("Connection Authorized", "keap/canary")
    world.evergrant("rotate", "keap/canary")
    events_queue.wait_for("Token Rotated", "keap/canary")
    assert consumer.call([world.target(canary)], seconds=0)["keap/canary"]["failed"] == 0
    # The newest grant is the canary's; the others are other tests' business.
    keap = world.providers["keap"].provider
    keap.revoke(grant=str(keap.grants()[-1]["grant"]))
    force_refresh(world, "keap/canary")
    known = {client.client_secret: f"the client secret at {name}" for name, client in world.clients.items()}
    known |= {client.password: f"a password at {name}" for name, client in world.clients.items() if client.password}
    for server in world.providers.values():
        issued = server.provider._state
        known |= dict.fromkeys(issued.refresh_tokens, "a refresh token")
        known |= dict.fromkeys(issued.access_tokens, "an access token")
        known |= dict.fromkeys(issued.codes, "an authorization code")
    assert {"a refresh token", "an access token", "an authorization code"} <= set(known.values())
    return known


def log_lines(world: World, events_queue: EventsQueue) -> Iterator[str]:
    logs = world.aws.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
            yield from (event["message"] for event in page["events"])


def the_emulators_own_log(world: World, events_queue: EventsQueue) -> Iterator[str]:
    """All that a function printed is in here too, unhandled errors included."""
    yield world.aws.log.read_text(encoding="utf-8")


def items(world: World, events_queue: EventsQueue) -> Iterator[str]:
    dynamodb = world.aws.client("dynamodb")
    for table in dynamodb.list_tables()["TableNames"]:
        for page in dynamodb.get_paginator("scan").paginate(TableName=table):
            yield from (readable(item) for item in page["Items"])


def events(world: World, events_queue: EventsQueue) -> Iterator[str]:
    assert events_queue.seen
    yield from (json.dumps(event) for event in events_queue.seen)


def waiting_messages(world: World, events_queue: EventsQueue) -> Iterator[str]:
    sqs = world.aws.client("sqs")
    queues = (
        "RotationQueueUrl",
        "RotationDeadLetterQueueUrl",
        "SchedulerDeadLetterQueueUrl",
        "AlertDeadLetterQueueUrl",
    )
    for name in queues:
        answer = sqs.receive_message(QueueUrl=world.stack.outputs[name], MaxNumberOfMessages=10, VisibilityTimeout=0)
        yield from (message["Body"] for message in answer.get("Messages", []))


def secrets_that_consumers_read(world: World, events_queue: EventsQueue) -> Iterator[str]:
    secrets = world.aws.client("secretsmanager")
    for page in secrets.get_paginator("list_secrets").paginate():
        for secret in page["SecretList"]:
            yield json.dumps(secret, default=str)
            if "/tokens/" in secret["Name"]:
                yield secrets.get_secret_value(SecretId=secret["ARN"])["SecretString"]


Place = Callable[[World, EventsQueue], Iterator[str]]
PLACES: list[Place] = [
    log_lines,
    the_emulators_own_log,
    items,
    events,
    waiting_messages,
    secrets_that_consumers_read,
]


@pytest.mark.parametrize("place", PLACES, ids=[place.__name__ for place in PLACES])
def test_no_secret_is_in(place: Place, world: World, events_queue: EventsQueue, secrets_known: dict[str, str]) -> None:
    may_be_there = {"an access token"} if place is secrets_that_consumers_read else set()

    leaked = {
        f"{what} in {secretless(text, secrets_known)[:400]}"
        for text in place(world, events_queue)
        for secret, what in secrets_known.items()
        if what not in may_be_there and secret in text
    }

    assert not leaked


def test_the_looking_finds_what_is_there(
    world: World, events_queue: EventsQueue, secrets_known: dict[str, str]
) -> None:
    found = [text for text in secrets_that_consumers_read(world, events_queue) if "keap_access_" in text]

    assert any(secret in text for text in found for secret in secrets_known)
    assert any("connection#keap/canary" in text for text in items(world, events_queue))
    assert any("rotator" in text for text in log_lines(world, events_queue))


def test_nothing_crashed_on_the_way(world: World, secrets_known: dict[str, str]) -> None:
    """Beside the leaks: no function ended in an unexpected error, and no work was given up."""
    assert "Traceback" not in world.aws.log.read_text(encoding="utf-8")
    sqs = world.aws.client("sqs")
    for name in ("RotationDeadLetterQueueUrl", "SchedulerDeadLetterQueueUrl"):
        attributes = sqs.get_queue_attributes(
            QueueUrl=world.stack.outputs[name], AttributeNames=["ApproximateNumberOfMessages"]
        )
        assert attributes["Attributes"]["ApproximateNumberOfMessages"] == "0"


def readable(value: Any) -> str:
    """All of an item as text, binaries both as they are and in base64."""
    if isinstance(value, dict):
        return " ".join(f"{name} {readable(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return " ".join(readable(inner) for inner in value)
    if isinstance(value, bytes):
        return f"{value.decode('latin-1')} {base64.b64encode(value).decode()}"
    return str(value)


def secretless(text: str, known: dict[str, str]) -> str:
    """What may be shown in a failed test."""
    for secret, what in known.items():
        text = text.replace(secret, f"<{what}>")
    return text
