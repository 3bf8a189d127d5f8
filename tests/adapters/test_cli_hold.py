"""Protects `evergrant hold` and `release`: all refreshes stop and go on, but not those of stale records."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from evergrant.adapters.aws.profiles import StoredProfiles
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.sdk import client
from evergrant.profiles.model import content_hash
from evergrant.record.connection import STALE
from evergrant.record.status import Status
from evergrant.times import format_rfc3339
from tests.adapters.cli_desk import Desk
from tests.adapters.samples import NOW, SEALED, connection

SCHEDULE = {
    "Name": "evergrant-tick",
    "GroupName": "default",
    "ScheduleExpression": "rate(1 minute)",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "Target": {"Arn": "arn:scheduler", "RoleArn": "arn:role"},
    "State": "ENABLED",
    "Arn": "arn:schedule",
}


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, records: DynamoRecords, queue_url: str) -> Desk:
    return Desk(monkeypatch, records, queue_url)


def connect(desk: Desk, name: str) -> None:
    keap = desk_profiles(desk).load_named("keap")
    desk_profiles(desk).keep(keap)
    record = connection(
        name,
        profile_hash=content_hash(keap),
        published_generation=7,
        sealed=SEALED,
        expires_at=NOW + 3600,
        refresh_at=NOW + 1800,
        due_at=NOW + 1800,
        due_shard="0",
    )
    desk.records.create(record)


def desk_profiles(desk: Desk) -> StoredProfiles:
    return StoredProfiles(desk.records.table)


@pytest.fixture
def schedule(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The stack's schedule. moto has none that CloudFormation made."""
    state: dict[str, Any] = dict(SCHEDULE)
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def play(itself: Any, operation: str, params: Any) -> Any:
        if operation == "DescribeStackResource":
            assert params["LogicalResourceId"] == "SchedulerFunctionTick"
            return {"StackResourceDetail": {"PhysicalResourceId": state["Name"]}}
        if operation == "GetSchedule":
            return {**state, "ResponseMetadata": {}}
        if operation == "UpdateSchedule":
            if "refused" in state:
                raise ClientError({"Error": {"Code": "AccessDeniedException"}}, operation)
            assert {name: params[name] for name in params if name != "State"} == {
                name: value for name, value in SCHEDULE.items() if name not in ("State", "Arn")
            }, "an update replaces all of a schedule"
            state["State"] = params["State"]
            return {}
        return call(itself, operation, params)

    monkeypatch.setattr(BaseClient, "_make_api_call", play)
    return state


def publish(name: str, generation: int) -> None:
    client("secretsmanager").create_secret(
        Name=f"evergrant/tokens/{name}", SecretString="{}", ClientRequestToken=f"{generation:016x}{'0' * 48}"
    )


def test_a_hold_shows_first_and_ends_with_a_release(desk: Desk, schedule: dict[str, Any]) -> None:
    assert "release" in desk("hold", "--reason", "a restore")
    assert schedule["State"] == "DISABLED"
    assert desk("status", status=3).splitlines()[0].startswith("All refreshes are held (a restore)")
    shown = desk.json("status", status=3)["hold"]
    assert shown == {"held": True, "since": format_rfc3339(NOW), "reason": "a restore"}
    assert desk.json("hold", "--reason", "another")["reason"] == "a restore", "the first one stays"

    assert desk.json("release") == {"held": False, "stale": [], "schedule": "enabled"}
    assert schedule["State"] == "ENABLED"
    assert desk.json("status")["hold"] is None
    schedule["State"] = "DISABLED"
    assert "Nothing is held" in desk("release")
    assert schedule["State"] == "ENABLED", "by an operator's hand, it was off"


def test_a_schedule_that_cannot_be_switched_is_said(desk: Desk, schedule: dict[str, Any]) -> None:
    schedule["refused"] = True
    assert "AccessDeniedException" in desk("hold")
    assert desk.json("status", status=3)["hold"]["held"] is True, "its ticks do nothing"


def test_stale_records_of_another_table_need_their_owners(
    desk: Desk,
    schedule: dict[str, Any],
) -> None:
    """The table has another name than when the hold began, so each record is compared."""
    for name, published in (("keap/behind", 9), ("keap/current", 7)):
        connect(desk, name)
        publish(name, published)
    desk("hold")
    client("dynamodb").update_item(
        TableName="authorizations",
        Key={"pk": {"S": "hold#"}},
        UpdateExpression="SET detail = :other",
        ExpressionAttributeValues={":other": {"S": "the-table-before"}},
    )
    assert desk.json("release")["stale"] == ["keap/behind"]
    behind, current = desk.record("keap/behind"), desk.record("keap/current")
    assert (behind.status, behind.last_error, behind.refresh_at) == (Status.AUTHORIZATION_REQUIRED, STALE, None)
    assert (current.status, current.last_error) == (Status.ACTIVE, None)
    assert "older than the token that was published" in desk("status", "keap/behind", status=3)


def test_the_same_table_is_compared_on_request(desk: Desk, schedule: dict[str, Any]) -> None:
    connect(desk, "keap/behind")
    publish("keap/behind", 8)
    desk("hold")
    assert desk.json("release")["stale"] == []
    desk("hold")
    assert desk.json("release", "--restored")["stale"] == ["keap/behind"]
