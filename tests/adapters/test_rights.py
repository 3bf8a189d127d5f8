"""Protects the narrow rights on the tables: scheduler and callback work with them, and can do nothing else.

A tick and an authorization run with the real adapters, and each of their calls is checked against the template.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import ClientError

from evergrant.adapters.aws.authorizations import StoredAuthorizations
from evergrant.adapters.aws.circuits import DynamoCircuits
from evergrant.adapters.aws.profiles import StoredProfiles
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.rotation_queue import SqsQueue
from evergrant.adapters.aws.sdk import client
from evergrant.connect.authorization_flow import AuthorizationFlow
from evergrant.connect.links import Authorization, issue_ticket
from evergrant.link_errors import LinkError
from evergrant.ports import PortUnavailable
from evergrant.profiles import built_in
from evergrant.profiles.model import content_hash
from evergrant.record.circuit import HOLD_KEY, create_endpoint_key
from evergrant.rotation.tick import Tick, TickPorts, tick
from evergrant.wiring import deployment
from tests.adapters.canary_stage import GRANTED, PRIVATE, Clock, refuses, stage
from tests.adapters.loopback import Behaviour, answers
from tests.adapters.rights import Rights, acting_as
from tests.adapters.samples import NAME, NOW, connection

DOWN = "https://down.example.com/token"


def test_a_tick_needs_each_right_of_scheduler_and_no_other(
    records: DynamoRecords, authorizations: StoredAuthorizations, queue_url: str
) -> None:
    circuits = DynamoCircuits(records.table, authorizations.table)
    profile = content_hash(built_in.load_built_in()["keap"])
    due = {"due_at": NOW, "profile_hash": profile}
    records.create(connection("keap/free", due_shard="3", endpoint="https://api.example.com/token", **due))
    records.create(connection("keap/held", due_shard="4", endpoint=DOWN, **due))
    circuits.change(create_endpoint_key(DOWN), {"opened_at": NOW - 600, "probes": 1}, only_if={})

    with acting_as("Scheduler") as rights:
        ports = TickPorts(records, circuits, StoredProfiles(records.table), SqsQueue(queue_url), Clock())
        assert tick(ports, NOW + 60) == Tick(claimed=2, sent=2, held=1)

    assert rights.used == {statement["Sid"] for statement in rights.statements()}
    assert circuits.get(create_endpoint_key(DOWN)).probed_at == NOW, "a probe was planned"


@pytest.mark.parametrize(
    "behave", [answers(json.dumps(GRANTED).encode()), refuses("invalid_grant")], ids=["granted", "refused"]
)
def test_an_authorization_needs_each_right_of_callback_and_no_other(environment: None, behave: Behaviour) -> None:
    with stage(behave) as on_stage:
        ports = replace(deployment.build_connect_ports(), clock=on_stage.clock)
        flow, record = AuthorizationFlow(ports, deployment.load_settings()), on_stage.record
        authorization = Authorization(
            NAME, "keap", record.profile_hash, record.variables, "full", "https://grants.example.com/callback/keap"
        )
        ticket = issue_ticket(ports.authorizations, authorization, NOW)
        with acting_as("Callback") as rights:
            started = flow.start_authorization(ticket, flow.describe_landing(ticket, None).cookie)
            state = parse_qs(urlsplit(started.url).query)["state"][0]
            with suppress(LinkError):
                flow.handle_callback({"state": state, "code": PRIVATE["code"]}, started.cookie, "keap")
        saved = on_stage.record

    assert rights.used == {statement["Sid"] for statement in rights.statements()}
    assert saved.generation == 8 if saved.authorization_failure is None else saved.authorization_failure


def update(table: str, key: str, attribute: str, returns: str = "NONE") -> object:
    return client("dynamodb").update_item(
        TableName=table,
        Key={"pk": {"S": key}},
        UpdateExpression="SET #name = :value",
        ExpressionAttributeNames={"#name": attribute},
        ExpressionAttributeValues={":value": {"S": "0" * 64}},
        ReturnValues=returns,
    )


def get(table: str, key: str) -> object:
    return client("dynamodb").get_item(TableName=table, Key={"pk": {"S": key}})


def put(table: str, key: str) -> object:
    return client("dynamodb").put_item(TableName=table, Item={"pk": {"S": key}})


CONNECTION, PROFILE = f"connection#{NAME}", f"profile#{'0' * 64}"
FORBIDDEN: dict[str, tuple[str, Callable[[], object]]] = {
    "change another field of a record": ("Scheduler", lambda: update("records", CONNECTION, "profile_hash")),
    "change a field under another name": ("Scheduler", lambda: update("records", CONNECTION, "sealed.text")),
    "read a record by a claim": ("Scheduler", lambda: update("records", CONNECTION, "due_at", "ALL_NEW")),
    "read a record": ("Scheduler", lambda: get("records", CONNECTION)),
    "read a provider": ("Scheduler", lambda: get("records", "provider#keap")),
    "rewrite a profile": ("Scheduler", lambda: update("records", PROFILE, "profile")),
    "lift the hold": ("Scheduler", lambda: update("authorizations", HOLD_KEY, "opened_at")),
    "read a ticket": ("Scheduler", lambda: DynamoCircuits("records", "authorizations").get("ticket#1")),
    "rewrite a pinned profile": ("Callback", lambda: update("records", PROFILE, "profile")),
    "replace a provider": ("Callback", lambda: update("records", "provider#keap", "profile")),
    "store a profile": ("Callback", lambda: StoredProfiles("records").keep(built_in.load_built_in()["keap"])),
    "close a circuit": ("Callback", lambda: update("records", "client#keap", "opened_at")),
    "create a record": ("Callback", lambda: DynamoRecords("records").create(connection())),
    "make a ticket": ("Callback", lambda: put("authorizations", "ticket#1")),
    "set the hold": ("Callback", lambda: put("authorizations", HOLD_KEY)),
    "end the hold": ("Callback", lambda: update("authorizations", HOLD_KEY, "opened_at")),
    "look into the due index": ("Callback", lambda: list(DynamoRecords("records").due("0", NOW))),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_role_is_refused_what_its_code_never_does(
    what: str, records: DynamoRecords, authorizations: StoredAuthorizations
) -> None:
    role, attempt = FORBIDDEN[what]
    attempt_of_anyone = suppress(ClientError, PortUnavailable)
    with attempt_of_anyone:
        attempt()
    with acting_as(role), pytest.raises((ClientError, PortUnavailable), match="AccessDenied"):
        attempt()


def test_the_index_is_no_way_around_the_table(records: DynamoRecords) -> None:
    """A query of the table itself, by the rights on its index, is refused."""
    with acting_as("Scheduler"), pytest.raises(ClientError, match="AccessDenied"):
        client("dynamodb").query(
            TableName=records.table,
            KeyConditionExpression="pk = :key",
            ExpressionAttributeValues={":key": {"S": CONNECTION}},
        )


def test_a_role_without_a_statement_is_refused(records: DynamoRecords) -> None:
    rights: Any = Rights("Getter")
    with pytest.raises(ClientError, match="AccessDenied"):
        rights.check("GetItem", {"TableName": records.table, "Key": {"pk": {"S": CONNECTION}}})
