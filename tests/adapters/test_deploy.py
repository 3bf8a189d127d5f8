"""Protects `make deploy`: asks once, builds what it deploys, and protects only what has been deployed."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from scripts import deploy as deploying
from scripts.deploy import Answers, DeployError, Terminal, deploy

CONFIG = """# Defaults.
version = 0.1

[default.global.parameters]
stack_name = "evergrant"

[default.deploy.parameters]
# kept
capabilities = "CAPABILITY_IAM"

[local.deploy.parameters]
region = "eu-central-1"
"""
OUTPUTS = {
    "RecordsTableName": "evergrant-records",
    "AuthorizationsTableName": "evergrant-authorizations",
    "RedirectUri": "https://grants.example.com/callback/{provider}",
}


class Formation:
    """CloudFormation with one stack. (moto's needs packages that nothing else here does.)"""

    def __init__(self) -> None:
        self.is_protected = False

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
        assert StackName == "evergrant"
        return {"Stacks": [{"Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in OUTPUTS.items()]}]}

    def update_termination_protection(self, StackName: str, EnableTerminationProtection: bool) -> None:  # noqa: N803
        assert StackName == "evergrant"
        self.is_protected = EnableTerminationProtection


class Desk:
    """A project of its own, a person at the terminal, and a `sam` that builds and deploys."""

    def __init__(self, root: Path) -> None:
        self.root, self.said, self.asked, self.ran = root, list[str](), list[str](), list[tuple[str, ...]]()
        self.answers = {"Region": "eu-west-1", "E-mail": "ops@example.com"}
        self.built = ("python3.13", "arm64")
        self.path = root / "samconfig.toml"
        self.path.write_text(CONFIG)
        self.fails = ""
        self.formation = Formation()

    def ask(self, question: str) -> str:
        self.asked.append(question)
        return self.answers[question.split()[0]]

    def sam(self, *arguments: str) -> None:
        self.ran.append(arguments)
        if arguments[0] == self.fails:
            raise DeployError("`sam` failed")
        if arguments[0] == "build":
            package = self.root / ".aws-sam" / "build" / "EvergrantLayer" / "python" / "evergrant"
            package.mkdir(parents=True, exist_ok=True)
            (package / "__init__.py").write_text('check_target("{}", "{}")'.format(*self.built))
        else:
            tables = boto3.client("dynamodb", region_name=arguments[arguments.index("--region") + 1])
            for name in (OUTPUTS["RecordsTableName"], OUTPUTS["AuthorizationsTableName"]):
                tables.create_table(
                    TableName=name,
                    BillingMode="PAY_PER_REQUEST",
                    AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
                    KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
                )

    def deploy(self, *, interactive: bool = True, **given: Any) -> None:
        options = {"config_env": "default", "region": None, "alert_email": None, "yes": False, **given}
        terminal = Terminal(self.ask, self.said.append, interactive)
        deploy(argparse.Namespace(**options), terminal, self.sam, self.path)

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = tomllib.loads(self.path.read_text())["default"]["deploy"]["parameters"]
        return found


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    (tmp_path / "template.yaml").write_text((deploying.ROOT / "template.yaml").read_text())
    monkeypatch.setattr(deploying, "ROOT", tmp_path)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    desk, client = Desk(tmp_path), boto3.Session.client

    def choose(session: boto3.Session, service: str, **given: Any) -> Any:
        return desk.formation if service == "cloudformation" else client(session, service, **given)  # type: ignore[call-overload]

    monkeypatch.setattr(boto3.Session, "client", choose)
    with mock_aws():
        yield desk


def test_a_first_deployment_asks_for_what_has_no_default_and_remembers(desk: Desk) -> None:
    desk.deploy()
    assert [question.split()[0] for question in desk.asked] == ["Region", "E-mail"]
    assert desk.ran == [
        ("build", "--config-env", "default"),
        ("deploy", "--config-env", "default", "--region", "eu-west-1"),
    ]
    assert desk.config == {
        "capabilities": "CAPABILITY_IAM",
        "region": "eu-west-1",
        "parameter_overrides": 'AlertEmail="ops@example.com"',
    }
    assert "# kept" in desk.path.read_text()
    assert OUTPUTS["RedirectUri"] in "\n".join(desk.said)


def test_a_second_deployment_asks_nothing(desk: Desk) -> None:
    desk.answers["E-mail"] = ""
    desk.deploy()
    desk.asked.clear()
    answers = Answers(desk.path, "default")
    assert (answers.read("region"), answers.read_parameter("AlertEmail")) == ("eu-west-1", "")
    desk.fails = "deploy"
    with pytest.raises(DeployError):
        desk.deploy()
    assert desk.asked == []


def test_tables_and_stack_are_protected_once_they_are_deployed(desk: Desk) -> None:
    desk.deploy(region="eu-west-1", alert_email="")
    tables = boto3.client("dynamodb", region_name="eu-west-1")
    names = tables.list_tables()["TableNames"]
    assert len(names) == 2
    assert all(tables.describe_table(TableName=name)["Table"]["DeletionProtectionEnabled"] for name in names)
    assert desk.formation.is_protected


def test_nothing_is_protected_after_a_deployment_that_failed(desk: Desk) -> None:
    desk.fails = "deploy"
    with pytest.raises(DeployError):
        desk.deploy(region="eu-west-1", alert_email="")
    assert not desk.formation.is_protected


@pytest.mark.parametrize("built", [("python3.13", "x86_64"), ("python3.12", "arm64")])
def test_what_was_built_for_another_lambda_is_not_deployed(desk: Desk, built: tuple[str, str]) -> None:
    desk.built = built
    with pytest.raises(
        DeployError, match=f"Built for {' on '.join(built)}, and samconfig.toml deploys python3.13 on arm64"
    ):
        desk.deploy(region="eu-west-1", alert_email="")
    assert [arguments[0] for arguments in desk.ran] == ["build"]


def test_the_target_of_samconfig_is_the_one_that_is_deployed(desk: Desk) -> None:
    desk.path.write_text(
        CONFIG.replace("# kept", 'parameter_overrides = "Architecture=x86_64 AlertEmail=\\"a@example.com\\""')
    )
    desk.built = ("python3.13", "x86_64")
    desk.deploy(region="eu-west-1", alert_email="new@example.com")
    assert desk.config["parameter_overrides"] == 'Architecture=x86_64 AlertEmail="new@example.com"'


@pytest.mark.parametrize(
    ("given", "said"),
    [({"region": None}, "No Region"), ({"region": "eu-west-1", "alert_email": "ops"}, "no e-mail|not an e-mail")],
)
def test_without_a_person_what_is_missing_is_said(desk: Desk, given: dict[str, Any], said: str) -> None:
    with pytest.raises(DeployError, match=said):
        desk.deploy(interactive=False, **given)
    assert desk.ran == []


def test_a_missing_right_to_protect_does_not_hide_the_success(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": ""}}, "UpdateTerminationProtection")

    monkeypatch.setattr(desk.formation, "update_termination_protection", refuse)
    desk.deploy(region="eu-west-1", alert_email="")
    said = "\n".join(desk.said)
    assert "(AccessDenied). The deployment itself succeeded" in said
    assert OUTPUTS["RedirectUri"] in said
