"""Protects the walls: who may use the seal key, for whom a role is assumed, and that no message comes by plain HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.template.stack import FUNCTIONS, as_list, of_type, properties, words

ACCOUNT = "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"
#: What opens what is sealed, or seals it. `ReEncryptFrom` is as good as Decrypt, and a grant allows either.
USES = ("Decrypt", "Derive", "Encrypt", "Generate", "Grant", "Import", "ReEncrypt", "Replicate", "Sign")
#: For one connection and one generation. `ForAllValues` also holds without any context, so that `Null` is needed.
SEALED_FOR = {
    "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["evergrant:connection", "evergrant:generation"]},
    "Null": {
        "kms:EncryptionContext:evergrant:connection": "false",
        "kms:EncryptionContext:evergrant:generation": "false",
    },
}
PLAIN_HTTP = {"Bool": {"aws:SecureTransport": "false"}}


def list_seal_statements() -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = properties("SealKey")["KeyPolicy"]["Statement"]
    assert all(it["Effect"] == "Allow" and not {"NotAction", "NotPrincipal"} & it.keys() for it in statements)
    return statements


def test_the_seal_key_seals_as_iam_allows_and_opens_for_rotator() -> None:
    _, *uses = list_seal_statements()
    found = {(words(it["Principal"]["AWS"]), *as_list(it["Action"])) for it in uses}
    assert found == {(ACCOUNT, "kms:GenerateDataKey"), ("RotatorRole.Arn", "kms:Decrypt")}


def test_the_seal_key_is_used_for_one_connection_and_generation_only() -> None:
    _, *uses = list_seal_statements()
    assert [it["Condition"] for it in uses] == [SEALED_FOR, SEALED_FOR]


def test_who_administers_the_seal_key_neither_uses_it_nor_grants_its_use() -> None:
    administration, *_ = list_seal_statements()
    allowed = {action.removeprefix("kms:") for action in administration["Action"]}
    assert {"PutKeyPolicy", "DescribeKey", "EnableKey", "ScheduleKeyDeletion"} <= allowed
    assert {"ListGrants", "RevokeGrant"} <= allowed, "a grant from before can be found and withdrawn"
    assert not {action for action in allowed - {"ListGrants", "RevokeGrant"} for use in USES if use in action}
    assert not {action for action in allowed if "*" in action}


def test_no_policy_of_the_stack_asks_for_more_of_the_seal_key() -> None:
    documents = [it["Properties"]["PolicyDocument"] for it in of_type("AWS::IAM::ManagedPolicy").values()]
    documents += [it["Properties"]["PolicyDocument"] for it in of_type("AWS::IAM::Policy").values()]
    documents += [
        policy["PolicyDocument"]
        for role in of_type("AWS::IAM::Role").values()
        for policy in role["Properties"].get("Policies", [])
    ]
    asked = {
        action
        for document in documents
        for statement in document["Statement"]
        if "SealKey.Arn" in map(words, as_list(statement["Resource"]))
        for action in as_list(statement["Action"])
    }
    assert asked == {"kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey", "kms:GetKeyRotationStatus"}


@pytest.mark.parametrize("role", [f"{name}Role" for name in FUNCTIONS])
def test_lambda_assumes_a_role_for_this_account_only(role: str) -> None:
    """No function is named (``aws:SourceArn``): it names its role, and CloudFormation could create neither first."""
    (statement,) = properties(role)["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_scheduler_assumes_the_ticks_role_for_this_account_only() -> None:
    """Scheduler gives the ARN of a schedule's *group* (its guide, "Confused deputy prevention")."""
    (statement,) = properties("TickRole")["AssumeRolePolicyDocument"]["Statement"]
    [(operator, keys)] = statement["Condition"].items()
    group = "arn:${AWS::Partition}:scheduler:${AWS::Region}:${AWS::AccountId}:schedule-group/default"
    assert operator == "StringEquals"
    assert {name: words(value) for name, value in keys.items()} == {
        "aws:SourceAccount": "AWS::AccountId",
        "aws:SourceArn": group,
    }
    (schedule,) = of_type("AWS::Scheduler::Schedule").values()
    assert schedule["Properties"].get("GroupName", "default") == "default"


@pytest.mark.parametrize("queue", of_type("AWS::SQS::Queue"))
def test_a_queue_refuses_plain_http(queue: str) -> None:
    """It has one policy: of two, SQS would keep the later one."""
    [policy] = [
        it["Properties"]
        for it in of_type("AWS::SQS::QueuePolicy").values()
        if queue in map(words, it["Properties"]["Queues"])
    ]
    [refusal] = [it for it in policy["PolicyDocument"]["Statement"] if it["Effect"] == "Deny"]
    assert (refusal["Principal"], refusal["Action"], refusal["Condition"]) == ("*", "sqs:*", PLAIN_HTTP)
    assert words(refusal["Resource"]) in {"*", f"{queue}.Arn"}


@pytest.mark.parametrize("topic", of_type("AWS::SNS::Topic"))
def test_a_topic_refuses_plain_http(topic: str) -> None:
    [policy] = [
        it["Properties"]
        for it in of_type("AWS::SNS::TopicPolicy").values()
        if topic in map(words, it["Properties"]["Topics"])
    ]
    [refusal] = [it for it in policy["PolicyDocument"]["Statement"] if it["Effect"] == "Deny"]
    assert (refusal["Principal"], refusal["Action"], refusal["Condition"]) == ("*", "sns:Publish", PLAIN_HTTP)
    assert words(refusal["Resource"]) == topic
