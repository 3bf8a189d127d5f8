"""Protects the way the command fails: in words, with a stable code, where a script expects it, without a traceback."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

from evergrant.adapters.aws.records import DynamoRecords
from evergrant_cli import deployment
from tests.adapters.cli_desk import Desk
from tests.adapters.hooks import failing, on


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, records: DynamoRecords, queue_url: str) -> Desk:
    return Desk(monkeypatch, records, queue_url)


def test_words_go_to_standard_error_and_the_document_to_standard_output(desk: Desk) -> None:
    said, aside = desk.both("status", "--stack", "none", status=1)
    assert said == ""
    assert aside.splitlines()[0] == "There is no stack none in eu-west-1."
    assert "sam deploy" in aside
    assert desk.error("status", "--stack", "none")["code"] == "stack_not_found"
    assert desk.both("status", "--stack", "none", "--json", status=1)[1] == ""


def test_the_stacks_name_may_come_from_the_environment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGRANT_STACK", "elsewhere")
    assert "elsewhere" in desk.error("status")["message"]


def test_another_stack_of_that_name_is_not_taken_for_evergrant(desk: Desk) -> None:
    del desk.outputs["RecordsTableName"]
    assert desk.error("status")["code"] == "stack_incomplete"


def test_a_service_in_trouble_is_not_taken_for_a_client_that_is_missing(desk: Desk) -> None:
    with failing("secretsmanager", "GetSecretValue", "InternalServiceError"):
        assert desk.error("connect", "keap/main")["code"] == "aws_error"


def test_what_iam_forbids_is_said_with_what_aws_says(desk: Desk) -> None:
    with failing("dynamodb", "Scan"):
        error = desk.error("status")
    assert error["code"] == "aws_access_denied"
    assert "made to fail" in error["message"]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (NoCredentialsError(), "aws_no_credentials"),
        (EndpointConnectionError(endpoint_url="https://dynamodb.eu-west-1.amazonaws.com"), "aws_unreachable"),
    ],
)
def test_aws_out_of_reach_is_said_in_words(desk: Desk, failure: Exception, code: str) -> None:
    def fail(**_: object) -> None:
        raise failure

    with on("dynamodb", "provide-client-params.dynamodb.Scan", fail):
        assert desk.error("status")["code"] == code


@pytest.mark.usefixtures("authorizations")
def test_who_may_not_look_at_client_secrets_may_still_connect(desk: Desk) -> None:
    with failing("secretsmanager", "GetSecretValue"), failing("secretsmanager", "DescribeSecret"):
        desk("connect", "keap/main", "--no-wait")


def test_who_may_not_read_a_client_still_hears_that_there_is_none(desk: Desk) -> None:
    with failing("secretsmanager", "GetSecretValue"):
        assert desk.error("connect", "keap/main")["code"] == "unknown_client"


def test_a_defect_is_not_dressed_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DynamoRecords, "all", lambda self: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        desk("status")


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An AWS configuration with one profile, beside credentials in the environment."""
    (tmp_path / "config").write_text(
        "[profile ops]\nregion = ap-south-1\naws_access_key_id = of-the-profile\naws_secret_access_key = x\n", "utf-8"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


def read_session() -> tuple[str, str]:
    session = boto3.DEFAULT_SESSION
    assert session is not None
    credentials = session.get_credentials()
    assert credentials is not None
    return credentials.access_key, session.region_name


@pytest.mark.usefixtures("configured")
def test_an_explicit_profile_outranks_credentials_in_the_environment() -> None:
    deployment.open_session(None, "ops")
    assert read_session() == ("of-the-profile", "ap-south-1")


@pytest.mark.usefixtures("configured")
def test_the_region_is_chosen_as_the_aws_cli_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    deployment.open_session(None, None)
    assert read_session() == ("of-the-environment", "us-east-1")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    deployment.open_session(None, None)
    assert read_session() == ("of-the-environment", "us-west-2")
    deployment.open_session("eu-north-1", None)
    assert read_session() == ("of-the-environment", "eu-north-1")
