"""Protects least privilege: who may do what is written out here a second time, and nothing may be added by accident."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.template.stack import (
    FUNCTIONS,
    as_list,
    collect_grants,
    grants,
    of_type,
    properties,
    translate_template,
    words,
)

SECRETS = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${SecretPrefix}/"
#: In China the service is named with either suffix.
SECRETS_MANAGER = {
    "secretsmanager.${AWS::Region}.amazonaws.com",
    "secretsmanager.${AWS::Region}.${AWS::URLSuffix}",
}
CLIENTS, TOKENS = SECRETS + "clients/*", SECRETS + "tokens/*"


def allow(resource: str, *actions: str) -> set[tuple[str, str]]:
    return {(action, resource) for action in actions}


def log(function: str) -> set[tuple[str, str]]:
    return allow(f"{function}Logs.Arn", "logs:CreateLogStream", "logs:PutLogEvents")


EXPECTED = {
    "Scheduler": log("Scheduler")
    | allow("${RecordsTable.Arn}/index/due", "dynamodb:Query")
    | allow("RecordsTable.Arn", "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem")
    | allow("AuthorizationsTable.Arn", "dynamodb:BatchGetItem")
    | allow("RotationQueue.Arn", "sqs:SendMessage")
    | allow("SchedulerDeadLetterQueue.Arn", "sqs:SendMessage"),
    "Rotator": log("Rotator")
    | allow("RecordsTable.Arn", "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem")
    | allow("${RecordsTable.Arn}/index/due", "dynamodb:Query")
    | allow("AuthorizationsTable.Arn", "dynamodb:BatchGetItem")
    | allow(
        "RotationQueue.Arn",
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ChangeMessageVisibility",
        "sqs:SendMessage",
    )
    | allow(CLIENTS, "secretsmanager:GetSecretValue")
    | allow(
        TOKENS,
        "secretsmanager:CreateSecret",
        "secretsmanager:PutSecretValue",
        "secretsmanager:RestoreSecret",
        "secretsmanager:UpdateSecretVersionStage",
        "secretsmanager:DescribeSecret",
        "secretsmanager:TagResource",
    )
    | allow("VaultKey.Arn", "kms:Decrypt", "kms:GenerateDataKey")
    | allow("SealKey.Arn", "kms:Decrypt", "kms:GenerateDataKey")
    | allow("EventBus.Arn", "events:PutEvents"),
    "Callback": log("Callback")
    | allow("RecordsTable.Arn", "dynamodb:GetItem", "dynamodb:UpdateItem")
    | allow("AuthorizationsTable.Arn", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
    | allow(CLIENTS, "secretsmanager:GetSecretValue")
    | allow("VaultKey.Arn", "kms:Decrypt")
    | allow("SealKey.Arn", "kms:GenerateDataKey")
    | allow("RotationQueue.Arn", "sqs:SendMessage"),
    "Getter": log("Getter")
    | allow(TOKENS, "secretsmanager:GetSecretValue")
    | allow("VaultKey.Arn", "kms:Decrypt")
    | allow("RotatorFunction.Arn", "lambda:InvokeFunction"),
    "Tick": allow("SchedulerFunction.Arn", "lambda:InvokeFunction")
    | allow("SchedulerDeadLetterQueue.Arn", "sqs:SendMessage"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_role_may_do_exactly_what_its_function_needs(name: str) -> None:
    assert collect_grants(f"{name}Role") == EXPECTED[name]


def test_there_is_no_other_role() -> None:
    assert set(of_type("AWS::IAM::Role")) == {f"{name}Role" for name in EXPECTED}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_runs_as_its_own_role(function: str) -> None:
    assert words(properties(f"{function}Function")["Role"]) == f"{function}Role.Arn"


def test_only_rotator_can_unseal_and_callback_can_only_seal() -> None:
    can = {name: {action for action, resource in EXPECTED[name] if resource == "SealKey.Arn"} for name in EXPECTED}
    assert {name for name, actions in can.items() if "kms:Decrypt" in actions} == {"Rotator"}
    assert can["Callback"] == {"kms:GenerateDataKey"}


def test_neither_scheduler_nor_callback_can_read_a_token() -> None:
    assert not any(resource == TOKENS for name in ("Scheduler", "Callback") for _, resource in EXPECTED[name])


def test_wildcards_stand_only_at_the_end_of_a_secrets_name() -> None:
    for name in EXPECTED:
        for action, resource in collect_grants(f"{name}Role"):
            assert "*" not in action
            assert "*" not in resource or resource in {CLIENTS, TOKENS}


def of_items(*keys: str) -> dict[str, Any]:
    return {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(keys)}}


#: The items and attributes to which a statement is narrowed. tests/adapters/test_rights.py shows that the functions
#: work with these, and what they are refused.
CONDITIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("Scheduler", "ClaimConnections"): {
        **of_items("connection#*"),
        "ForAllValues:StringEquals": {"dynamodb:Attributes": ["pk", "due_shard", "due_at", "change_id"]},
        "StringEquals": {"dynamodb:ReturnValues": ["NONE", "UPDATED_NEW"]},
    },
    ("Scheduler", "KeepCircuits"): of_items("client#*", "endpoint#*"),
    ("Scheduler", "ReadProfiles"): of_items("profile#*"),
    ("Scheduler", "ReadTheHold"): {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["hold#"]}},
    ("Callback", "KeepRecords"): of_items("connection#*"),
    ("Callback", "ReadProfiles"): of_items("profile#*"),
    ("Callback", "FollowTickets"): of_items("attempts#*", "state#*", "ticket#*"),
    ("Callback", "KeepStatesAndUsedCodes"): of_items("attempts#*", "code#*", "state#*"),
}


def test_scheduler_and_callback_are_narrowed_to_their_items() -> None:
    """No other policy of a function carries a condition."""
    found = {
        (name, statement["Sid"]): statement["Condition"]
        for name in EXPECTED
        for policy in properties(f"{name}Role").get("Policies", [])
        for statement in policy["PolicyDocument"]["Statement"]
        if "Condition" in statement
    }
    assert found == CONDITIONS


@pytest.mark.parametrize("role", ["Scheduler", "Callback"])
def test_each_right_on_a_table_is_narrowed(role: str) -> None:
    [policy] = properties(f"{role}Role")["Policies"]
    for statement in policy["PolicyDocument"]["Statement"]:
        if words(statement["Resource"]) in {"RecordsTable.Arn", "AuthorizationsTable.Arn"}:
            assert "Condition" in statement, statement["Sid"]


def test_tracing_grants_nothing_unless_it_is_switched_on() -> None:
    policy = translate_template()["TracingPolicy"]
    assert policy["Condition"] == "HasTracing"
    assert set(grants(policy["Properties"]["PolicyDocument"]["Statement"])) == {
        ("xray:PutTraceSegments", "*"),
        ("xray:PutTelemetryRecords", "*"),
    }


def test_there_is_no_other_ready_policy() -> None:
    assert set(of_type("AWS::IAM::ManagedPolicy")) == {"ConsumerPolicy", "OperatorPolicy", "DoctorPolicy"}


def test_consumers_read_tokens_and_ask_getter_and_nothing_else() -> None:
    statements = properties("ConsumerPolicy")["PolicyDocument"]["Statement"]
    assert set(grants(statements)) == {
        ("secretsmanager:GetSecretValue", TOKENS),
        ("secretsmanager:DescribeSecret", TOKENS),
        ("kms:Decrypt", "VaultKey.Arn"),
        ("lambda:InvokeFunction", "GetterFunction.Arn"),
    }


def test_an_operator_runs_the_command_and_reads_no_token_from_its_secret() -> None:
    """Nor does an operator unseal. `tests/stack/test_operator.py` shows that the commands need each of these."""
    stack = "arn:${AWS::Partition}:cloudformation:${AWS::Region}:${AWS::AccountId}:stack/${AWS::StackName}/*"
    schedules = "arn:${AWS::Partition}:scheduler:${AWS::Region}:${AWS::AccountId}:schedule/default/*"
    records = ("BatchGetItem", "GetItem", "PutItem", "Scan", "UpdateItem")
    clients = ("CreateSecret", "DescribeSecret", "GetSecretValue", "PutSecretValue", "RestoreSecret")
    assert set(grants(properties("OperatorPolicy")["PolicyDocument"]["Statement"])) == (
        allow(stack, "cloudformation:DescribeStackResource", "cloudformation:DescribeStacks")
        | allow("RecordsTable.Arn", *(f"dynamodb:{action}" for action in records))
        | allow(
            "AuthorizationsTable.Arn",
            *(f"dynamodb:{action}" for action in ("BatchGetItem", "GetItem", "PutItem", "UpdateItem")),
        )
        | allow(schedules, "scheduler:GetSchedule", "scheduler:UpdateSchedule")
        | allow("TickRole.Arn", "iam:PassRole")
        | allow(CLIENTS, *(f"secretsmanager:{action}" for action in clients))
        | allow(TOKENS, "secretsmanager:DeleteSecret", "secretsmanager:DescribeSecret")
        | allow("VaultKey.Arn", "kms:Decrypt", "kms:GenerateDataKey")
        | allow("SealKey.Arn", "kms:GenerateDataKey")
        | allow("RotatorFunction.Arn", "lambda:InvokeFunction")
        | allow("RotationQueue.Arn", "sqs:SendMessage")
        | allow("EventBus.Arn", "events:PutEvents")
    )


def test_the_policy_for_doctor_reads_settings_and_no_content() -> None:
    content = {"dynamodb:GetItem", "secretsmanager:GetSecretValue", "lambda:GetFunction"}
    granted = set(grants(properties("DoctorPolicy")["PolicyDocument"]["Statement"]))
    assert {action for action, _ in granted if not re.match(r"\w+:(Describe|Get|List)[A-Z]", action)} == set()
    assert not {action for action, _ in granted} & content
    assert {action for action, resource in granted if resource == "*"} == {
        "cloudwatch:DescribeAlarms",
        "cloudwatch:GetMetricStatistics",
        "lambda:GetAccountSettings",
        "secretsmanager:ListSecrets",
        "servicequotas:ListServiceQuotas",
    }


@pytest.mark.parametrize("policy", ["ConsumerPolicy", "OperatorPolicy"])
def test_people_and_consumers_decrypt_through_secrets_manager_only(policy: str) -> None:
    statements = properties(policy)["PolicyDocument"]["Statement"]
    (decrypt,) = (statement for statement in statements if "kms:Decrypt" in as_list(statement["Action"]))
    ((operator, condition),) = decrypt["Condition"].items()
    assert operator == "StringEquals"
    assert condition.keys() == {"kms:ViaService"}
    assert {words(name) for name in condition["kms:ViaService"]} == SECRETS_MANAGER


@pytest.mark.parametrize("role", of_type("AWS::IAM::Role"))
def test_a_role_takes_the_boundary_that_an_organization_demands(role: str) -> None:
    boundary = properties(role)["PermissionsBoundary"]
    assert boundary == {"Fn::If": ["HasBoundary", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]}


@pytest.mark.parametrize(
    ("role", "service"), [(f"{name}Role", "lambda") for name in FUNCTIONS] + [("TickRole", "scheduler")]
)
def test_a_role_is_assumed_by_one_service(role: str, service: str) -> None:
    (statement,) = properties(role)["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": f"{service}.amazonaws.com"}
    assert as_list(statement["Action"]) == ["sts:AssumeRole"]


def test_only_the_api_the_queue_and_the_schedule_start_functions() -> None:
    permissions = of_type("AWS::Lambda::Permission").values()
    assert {permission["Properties"]["Principal"] for permission in permissions} == {"apigateway.amazonaws.com"}
    assert all("SourceArn" in permission["Properties"] for permission in permissions)
