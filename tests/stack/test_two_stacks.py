"""Protects two stacks in one account and Region: both are created, and each has connections of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local import connections
from local.deploy import build, deploy
from local.world import World
from scripts import take_up

CONNECTION = connections.WEALTHYHOOD.for_account("twice")
PARAMETERS = {
    "SecretPrefix": "second",
    "AllowLoopback": "true",
    "RotatorConcurrency": "2",
    "DirectReadMinLifetime": "0",
    "ConsumerCacheSeconds": "0",
    "AlertOnAdministration": "true",
}


@pytest.fixture(scope="module")
def second(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Another stack from the same template, beside the first, with its client stored."""
    home: Path = tmp_path_factory.mktemp("second")
    stack = deploy(world.aws, build(home, lambda _: None), home, lambda _: None, PARAMETERS, "second")
    other = replace(world, stack=stack)
    client, host = world.clients["wealthyhood"], world.providers["wealthyhood"].host
    entry = {"client_id": client.client_id, "client_secrets": [client.client_secret], "hosts": [host]}
    other.evergrant("client", "set", "wealthyhood", given=json.dumps(entry))
    return other


def test_no_output_of_one_stack_names_what_the_other_has(world: World, second: World) -> None:
    shared = {name for name, value in world.stack.outputs.items() if second.stack.outputs[name] == value}
    assert shared == set()
    assert second.stack.outputs.keys() == world.stack.outputs.keys()


def test_the_same_connection_in_both_has_a_token_set_in_each(world: World, second: World) -> None:
    for each in (world, second):
        each.connect(CONNECTION)
    tokens = [json.loads(each.evergrant("get", CONNECTION.name, "--json"))["access_token"] for each in (world, second)]
    assert len(set(tokens)) == 2
    second.evergrant("disconnect", CONNECTION.name, "--yes")
    assert json.loads(world.evergrant("status", CONNECTION.name, "--json"))["connections"][0]["status"] == "active"


def test_rotator_of_one_stack_reads_no_client_of_the_other(world: World, second: World) -> None:
    """Its policies name the stack's own prefix, keys and tables."""
    iam, role = world.aws.client("iam"), _find_role(second)
    documents = [
        json.dumps(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    granted = "".join(documents)
    for name in ("RecordsTableName", "AuthorizationsTableName", "VaultKeyArn", "SealKeyArn"):
        assert world.stack.outputs[name] not in granted
        assert second.stack.outputs[name] in granted
    assert ":secret:second/clients/" in granted
    assert ":secret:evergrant/" not in granted


def test_a_log_line_becomes_a_metric_an_alarm_and_a_message(second: World) -> None:
    """What rotator writes is what the alarm watches, and its message is published to the alert topic.

    The emulator makes no metric of a log line: this test does that, as the embedded metric format says. It looks at one
    period where AWS looks at two.
    """
    aws, outputs = second.aws, second.stack.outputs
    cloudwatch, iam, sqs = aws.client("cloudwatch"), aws.client("iam"), aws.client("sqs")
    queue = sqs.create_queue(QueueName="second-alerts")["QueueUrl"]
    address = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allowed = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": address}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    aws.client("sns").subscribe(TopicArn=outputs["AlertTopicArn"], Protocol="sqs", Endpoint=address)
    role = _find_role(second)
    denied = {"Effect": "Deny", "Action": "events:PutEvents", "Resource": "*"}
    iam.put_role_policy(
        RoleName=role, PolicyName="no-bus", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [denied]})
    )
    try:
        second.connect(CONNECTION)
        second.evergrant("rotate", CONNECTION.name, "--json", statuses=(0, 1))
        metric = _find_metric(second, "DependencyErrors")
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="no-bus")
    cloudwatch.put_metric_data(**metric)
    for _ in range(10):
        received = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=2).get("Messages", [])
        said = [json.loads(json.loads(message["Body"])["Message"]) for message in received]
        if found := [message for message in said if "AlarmName" in message]:
            break
    assert [message["NewStateValue"] for message in found] == ["ALARM"]
    assert "DependencyErrors" in found[0]["AlarmName"]


def test_a_change_of_the_wall_is_an_event_that_a_rule_matches(world: World, second: World) -> None:
    """The deployed patterns, with the stack's real names, and CloudTrail's events."""
    events, key = second.aws.client("events"), second.stack.outputs["SealKeyArn"]
    function = second.stack.outputs["RotatorFunctionArn"]
    changes: list[tuple[str, str, dict[str, Any]]] = [
        ("kms", "PutKeyPolicy", {"resources": [{"ARN": key}]}),
        ("lambda", "UpdateFunctionCode20150331v2", {"requestParameters": {"functionName": function}}),
        ("lambda", "AddPermission20150331v2", {"requestParameters": {"functionName": function.rpartition(":")[2]}}),
        ("iam", "UpdateAssumeRolePolicy", {"requestParameters": {"roleName": _find_role(second)}}),
    ]
    patterns = [rule["EventPattern"] for rule in events.list_rules()["Rules"] if "CloudTrail" in rule["EventPattern"]]
    assert len(patterns) == 3, "the first stack has none"
    for service, call, detail in changes:
        happened = {
            "id": "1",
            "account": "000000000000",
            "source": f"aws.{service}",
            "time": "2026-09-01T20:06:16Z",
            "region": "eu-west-1",
            "resources": [],
            "detail-type": "AWS API Call via CloudTrail",
            "detail": {"eventSource": f"{service}.amazonaws.com", "eventName": call, **detail},
        }
        tested = [events.test_event_pattern(EventPattern=it, Event=json.dumps(happened))["Result"] for it in patterns]
        assert tested.count(True) == 1, call


def _find_role(second: World) -> str:
    functions = second.aws.client("lambda")
    configuration = functions.get_function_configuration(FunctionName=second.stack.outputs["RotatorFunctionArn"])
    return str(configuration["Role"].rpartition("/")[2])


def _find_metric(second: World, name: str) -> dict[str, Any]:
    """Find a metric in rotator's log, and return it as CloudWatch stores it (embedded metric format)."""
    group, logs = "/aws/lambda/second/rotator", second.aws.client("logs")
    lines = [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]
    written = [json.loads(line[line.index("{") :]) for line in lines if '"_aws"' in line]
    [found, *_] = [line for line in written if name in line]
    [described] = found["_aws"]["CloudWatchMetrics"]
    dimensions = [{"Name": key, "Value": found[key]} for key in described["Dimensions"][0]]
    value = found[name][0] if isinstance(found[name], list) else found[name]
    data = {"MetricName": name, "Dimensions": dimensions, "Value": value, "Unit": "Count"}
    return {"Namespace": described["Namespace"], "MetricData": [data]}


def test_a_deleted_stack_is_taken_up_with_a_restored_table(world: World, second: World, tmp_path: Path) -> None:
    """docs/lifecycle.md, step by step. The emulator restores no table, and gives an imported one its old name.

    So the old items in the old table stand for a restored one.
    """
    client, server = world.clients["keap"], world.providers["keap"]
    server.provider.register(replace(client, redirect_uris=(*client.redirect_uris, second.stack.redirect_uri("keap"))))
    entry = {"client_id": client.client_id, "client_secrets": [client.client_secret], "hosts": [server.host]}
    second.evergrant("client", "set", "keap", given=json.dumps(entry))
    behind, current = (connections.KEAP.for_account(account) for account in ("behind", "current"))
    for each in (behind, current):
        second.connect(each)
        second.evergrant("rotate", each.name, "--json")
    table = second.stack.outputs["RecordsTableName"]
    items = second.aws.client("dynamodb").scan(TableName=table)["Items"]
    second.evergrant("rotate", behind.name, "--json")
    second.evergrant("hold", "--reason", "a restore", "--json")
    _delete(second)
    _put_back(second, table, items)
    again = _take_up(second, tmp_path)

    assert json.loads(again.evergrant("status", "--json", statuses=(3,)))["hold"]["held"] is True
    before = _read_generation(again, behind.name)
    again.evergrant("rotate", behind.name, "--json", statuses=(0, 1, 3, 4))
    assert _read_generation(again, behind.name) == before, "nothing is sent while it is held"

    assert json.loads(again.evergrant("release", "--restored", "--json"))["stale"] == [behind.name]
    assert _read_view(again, behind.name)["status"] == "authorization_required"
    before = _read_generation(again, current.name)
    again.evergrant("rotate", current.name, "--json")
    assert _read_generation(again, current.name) == before + 1, "the keys are the old ones, under the new roles"


def _read_view(world: World, name: str) -> dict[str, Any]:
    document = json.loads(world.evergrant("status", name, "--json", statuses=(0, 3)))
    view: dict[str, Any] = document["connections"][0]
    return view


def _read_generation(world: World, name: str) -> int:
    return int(_read_view(world, name)["generation"])


def _put_back(world: World, table: str, items: list[dict[str, Any]]) -> None:
    """Give a table the items that it had."""
    tables = world.aws.client("dynamodb")
    for item in tables.scan(TableName=table)["Items"]:
        tables.delete_item(TableName=table, Key={"pk": item["pk"]})
    for item in items:
        tables.put_item(TableName=table, Item=item)


def _delete(second: World) -> None:
    formation = second.aws.client("cloudformation")
    formation.delete_stack(StackName="second")
    formation.get_waiter("stack_delete_complete").wait(StackName="second", WaiterConfig={"Delay": 1})


def _take_up(second: World, home: Path) -> World:
    """Import what the deleted stack has left, and deploy over that."""
    formation, outputs = second.aws.client("cloudformation"), second.stack.outputs
    kept = {
        "RecordsTable": outputs["RecordsTableName"],
        "AuthorizationsTable": outputs["AuthorizationsTableName"],
        "VaultKey": outputs["VaultKeyArn"].rpartition("/")[2],
        "SealKey": outputs["SealKeyArn"].rpartition("/")[2],
        "RotationDeadLetterQueue": outputs["RotationDeadLetterQueueUrl"],
    }
    template, resources = home / "template.json", home / "resources.json"
    files = (f"--template={template}", f"--resources={resources}")
    take_up.main([*files, *(f"--{name}={value}" for name, value in kept.items())])
    formation.create_change_set(
        StackName="second",
        ChangeSetName="take-up",
        ChangeSetType="IMPORT",
        TemplateBody=template.read_text("utf-8"),
        ResourcesToImport=json.loads(resources.read_text("utf-8")),
    )
    wait = {"Delay": 1}
    formation.get_waiter("change_set_create_complete").wait(
        StackName="second", ChangeSetName="take-up", WaiterConfig=wait
    )
    formation.execute_change_set(StackName="second", ChangeSetName="take-up")
    formation.get_waiter("stack_import_complete").wait(StackName="second", WaiterConfig=wait)
    stack = deploy(second.aws, build(home, lambda _: None), home, lambda _: None, PARAMETERS, "second")
    for name in ("RecordsTableName", "AuthorizationsTableName", "SealKeyArn", "VaultKeyArn"):
        assert stack.outputs[name] == outputs[name]
    return replace(second, stack=stack)
