"""The real template, deployed once to an emulated AWS that enforces IAM, with simulated providers in this process."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import pytest
from rich.console import Console

import local.world
from local import browser, connections
from local.connections import Connection
from local.consumer_stack import Consumer, deploy_consumer
from local.providers import OPENID, Client, Provider, ProviderServer
from local.strict_rules import list_under_other_keys
from local.terminal import Steps
from local.tools import STATE
from local.world import World, local_world
from tests.stack.commands import forked_commands
from tests.stack.deployed import EventsQueue

#: Tests may be spread over processes, each of which has a stack of its own.
HOME = STATE / "stack-tests" / os.environ.get("PYTEST_XDIST_WORKER", "alone")
OPENID_PROFILE = """
name = "openid"
title = "A strict server"

[authorize]
url = "https://{host}/authorize"
scopes = ["openid", "read", "write"]
issuer = "https://login.openid.example"
issuer_always = true
refresh_token_remedy = "Ask for offline access."

[exchange]
url = "https://{host}/token"

[refresh]
url = "https://{host}/token"

[revoke]
url = "https://{host}/revoke"
scope = "token"

[subject]
from = "id_token"
issuers = ["https://login.openid.example"]
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The torture takes the longest: where tests are spread over processes, one begins with it."""
    items.sort(key=lambda item: "test_torture" not in item.nodeid)


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The stack, set up by the `evergrant` command as it is installed; later runs of it are forked from one process."""
    with (
        local_world(HOME, Steps(Console(quiet=True)), enforce_iam=True) as world,
        forked_commands(HOME) as run,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(local.world, "run_evergrant", run)
        yield world
        outputs = world.stack.outputs
        assert not list_under_other_keys(world.aws, outputs["SecretPrefix"], outputs["VaultKeyArn"])


@pytest.fixture(scope="session")
def consumer(world: World) -> Consumer:
    return deploy_consumer(world, HOME, lambda detail: None)


@pytest.fixture(scope="session")
def events_queue(consumer: Consumer) -> EventsQueue:
    return EventsQueue(consumer)


@pytest.fixture(scope="session")
def refused(world: World) -> Mapping[str, Connection]:
    """By provider, connections whose token is to be refused; made early, because it has to be of some age by then."""
    found = {each.provider.name: each.for_account("refused") for each in (connections.KEAP, connections.INVESTSUITE)}
    for connection in found.values():
        world.connect(connection)
    return found


@pytest.fixture(scope="session")
def keap(world: World, events_queue: EventsQueue, refused: Mapping[str, Connection]) -> browser.Page:
    """Keap's account `main` is connected, by way of the consent page; the page that said so."""
    page = world.connect(connections.KEAP)
    events_queue.wait_for("Connection Authorized", "keap/main")
    assert page is not None
    return page


@pytest.fixture(scope="session")
def openid(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderServer]:
    """A server that does all that the standards offer against a confused client, known to the stack as `openid`."""
    secret = secrets.token_hex(16)
    with ProviderServer(Provider(OPENID)) as server:
        server.provider.register(
            Client("evergrant-at-openid", secret, redirect_uris=(world.stack.redirect_uri("openid"),))
        )
        profile = tmp_path_factory.mktemp("openid") / "openid.toml"
        profile.write_text(OPENID_PROFILE.format(host=server.host), encoding="utf-8")
        world.evergrant("provider", "add", str(profile))
        world.evergrant("client", "set", "openid", "--client-id", "evergrant-at-openid", given=f"{secret}\n")
        yield server


@pytest.fixture(scope="session")
def wealthyhood(world: World, events_queue: EventsQueue) -> None:
    """Wealthyhood's account `main` is connected."""
    world.connect(connections.WEALTHYHOOD)
    events_queue.wait_for("Connection Authorized", "wealthyhood/main")


@pytest.fixture(scope="session")
def credentials_of(world: World, consumer: Consumer) -> Callable[[str], dict[str, str]]:
    """Credentials with the rights of one of the stack's roles, as boto3's clients and sessions take them.

    They are those of an IAM user with the role's policies. On AWS only Lambda can assume the role itself.
    """
    iam, functions = world.aws.client("iam"), world.aws.client("lambda")
    arns: Mapping[str, str] = {
        name.lower(): functions.get_function(FunctionName=world.stack.outputs[f"{name}FunctionArn"])["Configuration"][
            "Role"
        ]
        for name in ("Scheduler", "Rotator", "Callback", "Getter")
    } | {"consumer": consumer.role_arn}

    @cache
    def make_key(role: str) -> tuple[str, str]:
        name, of_role = f"as-{role}", arns[role].rpartition("/")[2]
        iam.create_user(UserName=name)
        documents = [
            iam.get_role_policy(RoleName=of_role, PolicyName=policy)["PolicyDocument"]
            for policy in iam.list_role_policies(RoleName=of_role)["PolicyNames"]
        ]
        for attached in iam.list_attached_role_policies(RoleName=of_role)["AttachedPolicies"]:
            arn = attached["PolicyArn"]
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            documents.append(iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])
        for number, document in enumerate(documents):
            copy = iam.create_policy(PolicyName=f"{name}-{number}", PolicyDocument=json.dumps(document))["Policy"]
            iam.attach_user_policy(UserName=name, PolicyArn=copy["Arn"])
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def credentials(role: str) -> dict[str, str]:
        return dict(zip(("aws_access_key_id", "aws_secret_access_key"), make_key(role), strict=True))

    return credentials


@pytest.fixture(scope="session")
def as_role(world: World, credentials_of: Callable[[str], dict[str, str]]) -> Callable[[str, str], Any]:
    """A boto3 client that acts as one of the stack's roles: `as_role("getter", "dynamodb")`."""
    return lambda role, service: world.aws.client(service, **credentials_of(role))
