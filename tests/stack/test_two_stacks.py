"""Protects two stacks in one account and Region: both are created, and each has connections of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from local import connections
from local.deploy import build, deploy
from local.world import World

CONNECTION = connections.WEALTHYHOOD.for_account("twice")
PARAMETERS = {
    "SecretPrefix": "second",
    "AllowLoopback": "true",
    "RotatorConcurrency": "2",
    "DirectReadMinLifetime": "0",
    "ConsumerCacheSeconds": "0",
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
    iam, functions = world.aws.client("iam"), world.aws.client("lambda")
    configuration = functions.get_function_configuration(FunctionName=second.stack.outputs["RotatorFunctionArn"])
    role = configuration["Role"].rpartition("/")[2]
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
