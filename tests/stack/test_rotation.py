"""Protects the rotation as deployed: tick, queue, rotator, provider, record, secret and event, hand in hand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local import browser, connections
from local.consumer_stack import Consumer
from local.world import World
from tests.stack.deployed import PATIENCE_SECONDS, Control, EventsQueue, read_document


@pytest.fixture
def make_due(world: World) -> Callable[[str], None]:
    """Move a connection's next refresh to now, and let the scheduler tick."""

    records, table = world.aws.client("dynamodb"), world.stack.outputs["RecordsTableName"]

    def number(item: dict[str, Any], name: str) -> int:
        return int(item[name]["N"])

    def due(connection: str) -> None:
        key, until = {"pk": {"S": f"connection#{connection}"}}, time.monotonic() + PATIENCE_SECONDS
        while True:
            assert time.monotonic() < until, "the connection was not claimed"
            now = int(time.time())
            try:
                before = records.update_item(
                    TableName=table,
                    Key=key,
                    UpdateExpression="SET refresh_at = :now, due_at = :now",
                    # A pass that has delivered its event is about to set the due date and to free the lease.
                    ConditionExpression="attribute_not_exists(lease_owner)",
                    ExpressionAttributeValues={":now": {"N": str(now)}},
                    ReturnValues="ALL_NEW",
                )["Attributes"]
            except records.exceptions.ConditionalCheckFailedException:
                continue
            world.aws.client("lambda").invoke(FunctionName=world.stack.outputs["SchedulerFunctionArn"])
            after = records.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
            # Claimed, by this tick or by the clock's own, or rotated by now.
            claimed = now < number(after, "due_at") < now + 600
            if claimed or number(after, "generation") > number(before, "generation"):
                return

    return due


def test_a_tick_rotates_what_is_due_and_publishes_the_new_token(
    world: World, events_queue: EventsQueue, make_due: Callable[[str], None]
) -> None:
    world.connect(connections.KEAP.for_account("rotated"))
    events_queue.wait_for("Connection Authorized", "keap/rotated", 1)
    before = read_document(world, "keap/rotated")

    make_due("keap/rotated")
    events_queue.wait_for("Token Rotated", "keap/rotated", 2)

    after = read_document(world, "keap/rotated")
    assert (before["generation"], after["generation"]) == (1, 2)
    assert after["access_token"] != before["access_token"]


def test_every_rotated_refresh_token_is_refused_when_replayed(
    world: World, events_queue: EventsQueue, make_due: Callable[[str], None]
) -> None:
    """Every refresh token that was rotated away is refused when it is replayed."""
    world.connect(connections.KEAP.for_account("replayed"))
    events_queue.wait_for("Connection Authorized", "keap/replayed", 1)
    for generation in (2, 3):
        make_due("keap/replayed")
        events_queue.wait_for("Token Rotated", "keap/replayed", generation)

    replay = world.providers["keap"].provider.replay_all()

    assert int(str(replay["replayed"])) >= 2
    assert replay["accepted"] == 0
    assert world.providers["keap"].provider.stats()["refresh_reuse"] == 0


def test_a_client_of_its_own_asks_for_the_next_token(
    world: World, wealthyhood: None, events_queue: EventsQueue, make_due: Callable[[str], None]
) -> None:
    make_due("wealthyhood/main")

    events_queue.wait_for("Token Rotated", "wealthyhood/main", 2)


def test_an_operator_rotates_by_hand(world: World, events_queue: EventsQueue) -> None:
    world.connect(connections.KEAP.for_account("by-hand"))
    events_queue.wait_for("Connection Authorized", "keap/by-hand", 1)

    world.evergrant("rotate", "keap/by-hand")

    events_queue.wait_for("Token Rotated", "keap/by-hand", 2)


REVOCABLE = """
name = "revocable"
title = "A provider that revokes"

[authorize]
url = "https://{host}/oauth/authorize"

[exchange]
url = "https://{host}/oauth/token"

[refresh]
url = "https://{host}/oauth/token"
params = {{ redirect_uri = "{{redirect_uri}}" }}

[revoke]
url = "https://{host}/oauth/revoke"
"""


def test_disconnect_revokes_the_grant_and_reconnect_restores_the_secret(
    world: World, events_queue: EventsQueue, tmp_path: Path
) -> None:
    """A disconnected grant is revoked at the provider, and its secret comes back when it is connected again."""
    server, client = world.providers["investready"], world.clients["investready"]
    redirect_uris = (*client.redirect_uris, world.stack.redirect_uri("revocable"))
    server.provider.register(replace(client, redirect_uris=redirect_uris))
    file = tmp_path / "revocable.toml"
    file.write_text(REVOCABLE.format(host=server.host), encoding="utf-8")
    world.evergrant("provider", "add", str(file))
    world.evergrant("client", "set", "revocable", "--client-id", client.client_id, given=f"{client.client_secret}\n")
    control, secrets = Control(server), world.aws.client("secretsmanager")

    def connect(generation: int) -> str:
        browser.connect(json.loads(world.evergrant("connect", "revocable/main", "--no-wait", "--json"))["link"])
        events_queue.wait_for("Connection Authorized", "revocable/main", generation)
        return str(read_document(world, "revocable/main")["access_token"])

    grant = control.grant_of(connect(1))
    said = json.loads(world.evergrant("disconnect", "revocable/main", "--yes", "--json"))
    assert (said["status"], said["revocation"], said["secret"]) == ("disconnected", "asked", "deleted")
    [arrived] = control.ask("revocations")["revocations"]
    assert arrived["status"] == 200
    assert arrived["fields"]["token_type_hint"] == "refresh_token"
    assert arrived["fields"]["token"] == {"fingerprint": grant["refresh_token"]}
    ended = next(each for each in control.ask("grants")["grants"] if each["grant"] == grant["grant"])
    assert ended["revoked_because"] == "revocation"
    events_queue.wait_for("Connection Disconnected", "revocable/main")
    assert "DeletedDate" in secrets.describe_secret(SecretId="evergrant/tokens/revocable/main")

    assert control.grant_of(connect(3))["grant"] != grant["grant"]
    assert "DeletedDate" not in secrets.describe_secret(SecretId="evergrant/tokens/revocable/main")


def test_a_disconnected_account_has_no_token_any_more(
    world: World, consumer: Consumer, events_queue: EventsQueue
) -> None:
    world.connect(connections.KEAP.for_account("leaving"))
    events_queue.wait_for("Connection Authorized", "keap/leaving", 1)

    world.evergrant("disconnect", "keap/leaving", "--yes")

    asked = json.dumps({"connection": "keap/leaving", "rejected": "0" * 16}).encode()
    answer = world.aws.client("lambda").invoke(FunctionName=world.stack.outputs["GetterFunctionArn"], Payload=asked)
    assert json.loads(answer["Payload"].read())["error"]["code"] == "disconnected"
