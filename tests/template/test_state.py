"""Protects what must outlive a mistake: tables, keys and unsaved token sets, kept, recoverable and encrypted."""

from __future__ import annotations

import pytest

from tests.template.stack import (
    FUNCTIONS,
    as_list,
    of_type,
    properties,
    read_template,
    translate_template,
    words,
)

KEPT = {
    "RecordsTable": "AWS::DynamoDB::Table",
    "AuthorizationsTable": "AWS::DynamoDB::Table",
    "VaultKey": "AWS::KMS::Key",
    "SealKey": "AWS::KMS::Key",
    "RotationDeadLetterQueue": "AWS::SQS::Queue",
}
ACCOUNT = "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"


@pytest.mark.parametrize("name", KEPT)
def test_state_is_kept_when_the_stack_is_deleted_or_the_resource_replaced(name: str) -> None:
    resource = translate_template()[name]
    assert resource["Type"] == KEPT[name]
    # "ExceptOnCreate": a first deployment that fails leaves nothing behind.
    assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
    assert resource["UpdateReplacePolicy"] == "Retain"


def test_every_table_and_key_is_among_the_kept() -> None:
    assert {*of_type("AWS::DynamoDB::Table"), *of_type("AWS::KMS::Key")} <= KEPT.keys()


def test_nothing_kept_has_a_name_that_would_stop_the_next_deployment() -> None:
    for name in KEPT:
        assert not {"TableName", "QueueName"} & properties(name).keys()


@pytest.mark.parametrize("table", of_type("AWS::DynamoDB::Table"))
def test_a_table_is_on_demand_and_can_be_restored_to_any_second(table: str) -> None:
    assert properties(table)["BillingMode"] == "PAY_PER_REQUEST"
    assert properties(table)["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties(table)["KeySchema"] == [{"AttributeName": "pk", "KeyType": "HASH"}]


def test_the_due_index_is_sharded_ordered_and_carries_a_ticks_fields() -> None:
    """The due index is sharded and ordered by time, and carries what a tick needs."""
    (index,) = properties("RecordsTable")["GlobalSecondaryIndexes"]
    assert index["IndexName"] == "due"
    assert index["KeySchema"] == [
        {"AttributeName": "due_shard", "KeyType": "HASH"},
        {"AttributeName": "due_at", "KeyType": "RANGE"},
    ]
    assert index["Projection"]["ProjectionType"] == "INCLUDE"
    assert set(index["Projection"]["NonKeyAttributes"]) == {"expires_at", "client", "endpoint", "profile_hash"}


def test_the_records_never_expire_and_the_authorizations_are_cleared_up() -> None:
    assert "TimeToLiveSpecification" not in properties("RecordsTable")
    ttl = properties("AuthorizationsTable")["TimeToLiveSpecification"]
    assert ttl == {"AttributeName": "purge_at", "Enabled": True}


@pytest.mark.parametrize("key", ["VaultKey", "SealKey"])
def test_a_key_rotates_and_takes_the_longest_time_to_die(key: str) -> None:
    assert properties(key)["EnableKeyRotation"] is True
    assert properties(key)["PendingWindowInDays"] == 30


@pytest.mark.parametrize("key", ["VaultKey", "SealKey"])
def test_administrators_of_a_key_cannot_decrypt_with_it(key: str) -> None:
    administration = properties(key)["KeyPolicy"]["Statement"][0]
    assert words(administration["Principal"]["AWS"]) == ACCOUNT
    assert "kms:PutKeyPolicy" in administration["Action"], "else no principal could ever change the policy again"
    forbidden = ("Decrypt", "Encrypt", "GenerateDataKey", "ReEncrypt", "CreateGrant")
    assert not any(word in action for action in administration["Action"] for word in forbidden)
    assert not any("*" in action for action in administration["Action"])


def test_the_seal_key_is_opened_by_rotators_role_alone() -> None:
    statements = properties("SealKey")["KeyPolicy"]["Statement"]
    openers = [words(it["Principal"]["AWS"]) for it in statements if "kms:Decrypt" in as_list(it["Action"])]
    assert openers == ["RotatorRole.Arn"]


def test_the_vault_key_works_only_through_secrets_manager() -> None:
    _, use = properties("VaultKey")["KeyPolicy"]["Statement"]
    assert {words(name) for name in use["Condition"]["StringEquals"]["kms:ViaService"]} == {
        "secretsmanager.${AWS::Region}.amazonaws.com",
        "secretsmanager.${AWS::Region}.${AWS::URLSuffix}",
    }


def test_the_seal_key_comes_half_a_minute_after_the_role_that_it_names() -> None:
    """KMS refuses a policy that names a role made seconds before, and CloudFormation does not try again."""
    assert read_template()["Resources"]["SealKey"]["DependsOn"] == "TickPolicy"
    assert words(properties("TickPolicy")["PolicyDocument"]["Statement"][0]["Resource"]) == "SchedulerFunction.Arn"


#: Texts that CloudFormation cannot change in place ("Update requires: Replacement" in its resource reference). With
#: another one the resource is made anew: a managed policy that other roles hold cannot be deleted, a new log group has
#: lost its logs, a new bus has no rule of another team.
CREATE_ONLY = {
    ("AWS::IAM::ManagedPolicy", "Description"): {
        "ConsumerPolicy": "Reads every connection's access token, directly or through Evergrant's getter.",
        "DoctorPolicy": "Runs evergrant doctor without its test alert. Reads settings, and no secret.",
        "OperatorPolicy": "Runs the evergrant command. For evergrant doctor, attach the policy for doctor as well.",
    },
    ("AWS::Events::EventBus", "Name"): {"EventBus": "AWS::StackName"},
    ("AWS::KMS::Alias", "AliasName"): {
        "SealKeyAlias": "alias/${AWS::StackName}-seal",
        "VaultKeyAlias": "alias/${AWS::StackName}-vault",
    },
    ("AWS::Logs::LogGroup", "LogGroupName"): {
        "ApiLogs": "/aws/vendedlogs/${AWS::StackName}/api",
        **{f"{name}Logs": f"/aws/lambda/${{AWS::StackName}}/{name.lower()}" for name in FUNCTIONS},
    },
    ("AWS::Scheduler::Schedule", "Name"): {},
    ("AWS::ApiGatewayV2::DomainName", "DomainName"): {"ApiDomain": "DomainName"},
}


@pytest.mark.parametrize(("kind", "name"), CREATE_ONLY, ids=lambda given: str(given).rpartition(":")[2])
def test_a_text_that_is_fixed_at_creation_stays(kind: str, name: str) -> None:
    found = {
        resource: words(it["Properties"][name]) for resource, it in of_type(kind).items() if name in it["Properties"]
    }
    assert found == CREATE_ONLY[kind, name]


def test_the_due_index_shows_what_it_always_showed() -> None:
    """The projection of an index cannot be changed in place: CloudFormation would remove it and fill another one."""
    (index,) = properties("RecordsTable")["GlobalSecondaryIndexes"]
    assert index["IndexName"] == "due"
    assert index["Projection"]["NonKeyAttributes"] == ["expires_at", "client", "endpoint", "profile_hash"]


def test_a_layer_for_other_teams_names_no_architecture() -> None:
    """A Region without arm64 refuses a layer that names it; one that names none runs on both."""
    (client,) = (
        it for it in of_type("AWS::Lambda::LayerVersion").values() if "-client" in words(it["Properties"]["LayerName"])
    )
    assert "CompatibleArchitectures" not in client["Properties"]


@pytest.mark.parametrize("queue", of_type("AWS::SQS::Queue"))
def test_a_queue_is_encrypted_and_keeps_messages_as_long_as_sqs_can(queue: str) -> None:
    assert properties(queue)["SqsManagedSseEnabled"] is True
    assert properties(queue)["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_the_client_layer_is_retained_and_our_own_is_not() -> None:
    """The client layer, which other teams' functions use, is retained; our own layer is not."""
    kept = {
        words(it["Properties"]["LayerName"]): it["DeletionPolicy"]
        for it in of_type("AWS::Lambda::LayerVersion").values()
    }
    assert kept == {"${AWS::StackName}-client": "Retain", "${AWS::StackName}-evergrant": "Delete"}
