"""The real template, deployed once to an emulated AWS that enforces IAM, with simulated providers in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from rich.console import Console

from local import browser
from local.consumer_stack import Consumer, deploy_consumer
from local.terminal import Steps
from local.tools import STATE
from local.world import World, local_world
from tests.stack.deployed import Happenings

HOME = STATE / "stack-tests"


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    with local_world(HOME, Steps(Console(quiet=True)), enforce_iam=True) as world:
        yield world


@pytest.fixture(scope="session")
def consumer(world: World) -> Consumer:
    return deploy_consumer(world, HOME, lambda detail: None)


@pytest.fixture(scope="session")
def happenings(consumer: Consumer) -> Happenings:
    return Happenings(consumer)


@pytest.fixture(scope="session")
def refused(world: World) -> str:
    """A connection whose token is to be refused; connected early, because it has to be of some age by then."""
    world.connect(connections.KEAP.called("refused"))
    return "keap/refused"


@pytest.fixture(scope="session")
def keap(world: World, happenings: Happenings, refused: str) -> browser.Page:
    """Keap's account `main` is connected, by way of the consent page; the page that said so."""
    page = world.connect(connections.KEAP)
    happenings.wait_for("Connection Authorized", "keap/main")
    assert page is not None
    return page


@pytest.fixture(scope="session")
def wealthyhood(world: World, happenings: Happenings) -> None:
    """Wealthyhood's account `main` is connected."""
    world.connect(connections.WEALTHYHOOD)
    happenings.wait_for("Connection Authorized", "wealthyhood/main")


@pytest.fixture(scope="session")
def as_role(world: World, consumer: Consumer) -> Callable[[str, str], Any]:
    """A boto3 client that acts as one of the stack's roles: `as_role("getter", "dynamodb")`."""
    functions = world.aws.client("lambda")
    arns: Mapping[str, str] = {
        name.lower(): functions.get_function(FunctionName=world.stack.outputs[f"{name}FunctionArn"])["Configuration"][
            "Role"
        ]
        for name in ("Scheduler", "Rotator", "Callback", "Getter")
    } | {"consumer": consumer.role_arn}

    def client(role: str, service: str) -> Any:
        given = world.aws.client("sts").assume_role(RoleArn=arns[role], RoleSessionName="test")["Credentials"]
        return world.aws.client(
            service,
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
        )

    return client
