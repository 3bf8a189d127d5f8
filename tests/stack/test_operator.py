"""Protects the ready policies: each command works with the operator's, `doctor` with its own, and neither allows more.

An IAM user has a policy of the stack and nothing else, and the emulated AWS enforces it. The calls of the commands are
compared with the actions of the policy, so that no action stands there without a command that needs it.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import typer

import local.world
from evergrant_cli.main import app
from local import connections
from local.aws import LocalAws
from local.deploy import STACK
from local.world import World
from tests.stack.commands import RECORD_CALLS_TO
from tests.stack.conftest import OPENID_PROFILE
from tests.stack.deployed import PATIENCE_SECONDS

#: Where the action's name is not that of the call.
ACTIONS = {
    "lambda:Invoke": "lambda:InvokeFunction",
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "monitoring:DescribeAlarms": "cloudwatch:DescribeAlarms",
    "monitoring:GetMetricStatistics": "cloudwatch:GetMetricStatistics",
}
#: By AWS's name of an action, the name under which the emulator checks it.
EMULATED = {
    "sqs:SendMessage": "sqs:SendMessageBatch",
    "lambda:GetEventSourceMapping": "lambda:ListEventSourceMappings",
    "lambda:GetFunctionConcurrency": "lambda:PutFunctionConcurrency",
    "lambda:GetFunctionRecursionConfig": "lambda:GetFunction",
    "lambda:GetLayerVersion": "lambda:ListLayers",
}
#: Secrets Manager makes these calls with the caller's rights; GetCallerIdentity needs none (STS API reference).
BY_SECRETS_MANAGER = {"kms:Decrypt", "kms:GenerateDataKey"}
NEEDS_NO_PERMISSION = "sts:GetCallerIdentity"

CONNECTION = connections.WEALTHYHOOD.for_account("operator")
TOKEN_SET = json.dumps({"access_token": "of-another-system", "refresh_token": "too", "expires_in": 3600})


@dataclass(frozen=True)
class Identity:
    """An IAM user, the commands that it runs, and the calls that they make."""

    world: World
    name: str
    policies: tuple[str, ...]
    calls: Path
    commands: list[tuple[str, ...]] = field(default_factory=list)

    @cached_property
    def keys(self) -> dict[str, str]:
        iam = self.world.aws.client("iam")
        iam.create_user(UserName=self.name)
        for policy in self.policies:
            arn = self.world.stack.outputs[policy]
            iam.attach_user_policy(UserName=self.name, PolicyArn=arn)
            emulated = json.dumps(_name_as_the_emulator(read_policy(self.world.aws, arn)))
            iam.put_user_policy(UserName=self.name, PolicyName=policy, PolicyDocument=emulated)
        key = iam.create_access_key(UserName=self.name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def evergrant(self, *arguments: str, given: str | None = None, statuses: tuple[int, ...] = (0,)) -> str:
        self.commands.append(arguments)
        environment = self.world.environment() | self.keys | {RECORD_CALLS_TO: str(self.calls)}
        return local.world.run_evergrant(environment, arguments, given, statuses)

    def doctor(self, *arguments: str) -> dict[str, dict[str, str]]:
        """What `evergrant doctor` says, by check."""
        document = json.loads(self.evergrant("doctor", *arguments, "--json", statuses=(0, 3, 4)))
        return {check["check"]: check for check in document["checks"]}

    def verbs(self) -> set[str]:
        """The commands that were run, such as ``client set``."""
        groups = ("client", "provider")
        return {" ".join(command[: 2 if command[0] in groups else 1]) for command in self.commands}

    def actions(self) -> set[str]:
        """The actions for which the commands have needed a permission."""
        made = {ACTIONS.get(call, call) for call in self.calls.read_text().split()}
        return made - {NEEDS_NO_PERMISSION}


def _name_as_the_emulator(document: dict[str, Any]) -> dict[str, Any]:
    """The statements of a policy that the emulator checks under another action than AWS, under that action."""
    statements = []
    for statement in document["Statement"]:
        names = [EMULATED[action] for action in as_list(statement["Action"]) if action in EMULATED]
        if names:
            layers = [re.sub(r"(:layer:[^:]+):\d+$", r"\1", arn) for arn in as_list(statement["Resource"])]
            statements.append({"Effect": "Allow", "Action": names, "Resource": layers})
    return {"Version": "2012-10-17", "Statement": statements}


def read_policy(aws: LocalAws, arn: str) -> dict[str, Any]:
    iam = aws.client("iam")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document: dict[str, Any] = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    return document


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def allowed(aws: LocalAws, arn: str) -> set[str]:
    """The actions of a managed policy, but for those that Secrets Manager needs."""
    document = read_policy(aws, arn)
    found: set[str] = set()
    for statement in document["Statement"]:
        given = set(as_list(statement["Action"]))
        if "Condition" in statement:
            assert given <= BY_SECRETS_MANAGER
        else:
            found |= given
    return found


def list_verbs() -> set[str]:
    """Every command of `evergrant`, such as ``client set``."""
    root: Any = typer.main.get_command(app)
    return {
        f"{name} {verb}" if verb else name
        for name, command in root.commands.items()
        for verb in getattr(command, "commands", [""])
    }


@pytest.fixture(scope="module")
def identify(world: World, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Identity]:
    """Create an IAM user with policies of the stack, by the names of their outputs."""
    return lambda name, *policies: Identity(world, name, policies, tmp_path_factory.mktemp(name) / "calls")


@pytest.fixture(scope="module")
def alerts(world: World) -> Iterator[str]:
    """The stack as it is on AWS after its first deployment, and the URL of a queue that receives its alerts."""
    tables, sns, sqs, formation = map(world.aws.client, ("dynamodb", "sns", "sqs", "cloudformation"))
    formation.update_termination_protection(StackName=STACK, EnableTerminationProtection=True)
    names = [world.stack.outputs[f"{each}TableName"] for each in ("Records", "Authorizations")]
    for name in names:
        tables.update_table(TableName=name, DeletionProtectionEnabled=True)
    queue = sqs.create_queue(QueueName="alerts")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = world.stack.outputs["AlertTopicArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        },
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)
    yield queue
    formation.update_termination_protection(StackName=STACK, EnableTerminationProtection=False)
    sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    for name in names:
        tables.update_table(TableName=name, DeletionProtectionEnabled=False)


def test_each_command_works_with_the_operators_policy_alone(
    world: World, identify: Callable[..., Identity], tmp_path: Path
) -> None:
    operator = identify("operator", "OperatorPolicyArn")
    host, secret = world.providers["wealthyhood"].host, secrets.token_hex(16)
    profile = tmp_path / "operators.toml"
    profile.write_text(OPENID_PROFILE.format(host=host).replace('"openid"', '"operators"', 1), encoding="utf-8")
    operator.evergrant("provider", "show", "wealthyhood")
    operator.evergrant("provider", "list")
    operator.evergrant("provider", "check", str(profile))
    operator.evergrant("provider", "add", str(profile))
    set_client = ("client", "set", "operators", "--host", host, "--client-id")
    operator.evergrant(*set_client, "first", given=f"{secret}\n")
    operator.evergrant(*set_client, "second", given=f"{secret}\n")
    world.aws.client("secretsmanager").delete_secret(SecretId="evergrant/clients/operators")
    operator.evergrant(*set_client, "third", given=f"{secret}\n")
    operator.evergrant("client", "show", "operators")

    operator.evergrant(*world.connect_arguments(CONNECTION), "--json")
    operator.evergrant(*world.connect_arguments(connections.KEAP.for_account("operator")), "--no-wait", "--json")
    operator.evergrant("rotate", CONNECTION.name)
    assert json.loads(operator.evergrant("get", CONNECTION.name, "--json"))["access_token"]
    operator.evergrant("pause", CONNECTION.name)
    operator.evergrant("resume", CONNECTION.name)
    operator.evergrant("status", CONNECTION.name, statuses=(0, 3))
    operator.evergrant("status", statuses=(0, 3))
    operator.evergrant("hold", "--reason", "a try")
    assert json.loads(operator.evergrant("status", "--json", statuses=(3,)))["hold"]["reason"] == "a try"
    operator.evergrant("release", "--restored")
    keap = world.providers["keap"].host
    variables = ("--var", f"host={keap}", "--var", f"login_host={keap}")
    operator.evergrant("import", "keap/imported", *variables, given=TOKEN_SET)
    operator.evergrant("reparse", "keap/imported", statuses=(1,))
    operator.evergrant("disconnect", "keap/imported", "--yes")
    operator.evergrant("disconnect", CONNECTION.name, "--yes")
    assert operator.verbs() == list_verbs() - {"doctor"}, "each command but doctor, which has a policy of its own"
    granted = allowed(world.aws, world.stack.outputs["OperatorPolicyArn"])
    # The first is for doctor's test alert; AWS demands the other for an update of the schedule, which names its role.
    assert operator.actions() == granted - {"events:PutEvents", "iam:PassRole"}


def test_doctor_works_with_its_own_policy_alone(world: World, identify: Callable[..., Identity], alerts: str) -> None:
    physician = identify("physician", "DoctorPolicyArn")
    found = physician.doctor("--no-alert")
    # The last is refused: the clients' redirect URIs are for those who may read clients and records.
    assert physician.actions() == allowed(world.aws, world.stack.outputs["DoctorPolicyArn"]) | {"dynamodb:Scan"}
    assert found.pop("ticks")["verdict"] in ("green", "yellow"), "it is yellow before the first tick"
    assert {check: said["verdict"] for check, said in found.items() if said["verdict"] != "green"} == {
        "artifact": "red",  # it is built for the emulator's Python
        "quotas": "unknown",  # the emulator has no Service Quotas
        "alert": "unknown",
        "redirect-uris": "unknown",
    }
    assert "python3.13 on arm64" in found["artifact"]["seen"]
    assert "OperatorPolicyArn" in found["redirect-uris"]["fix"]


def test_a_test_alert_comes_and_needs_the_operators_policy_as_well(
    world: World, identify: Callable[..., Identity], alerts: str
) -> None:
    alone = identify("reader", "DoctorPolicyArn").doctor()["alert"]
    assert (alone["verdict"], "OperatorPolicyArn" in alone["fix"]) == ("unknown", True)
    both = identify("chief", "OperatorPolicyArn", "DoctorPolicyArn").doctor()["alert"]
    assert both["seen"].startswith("EventBridge accepted the test alert"), both
    came: list[str] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any("Test Alert" in message and "This is a test of stack evergrant." in message for message in came):
        assert time.monotonic() < deadline, came
        received = world.aws.client("sqs").receive_message(QueueUrl=alerts, WaitTimeSeconds=2)
        came += [message["Body"] for message in received.get("Messages", [])]
