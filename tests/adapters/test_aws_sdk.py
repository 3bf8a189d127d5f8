"""Protects how failures of AWS are reported, and how long a call may take."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from evergrant.adapters.aws.sdk import client, read_error_code, unavailable
from evergrant.errors import Conflict
from evergrant.ports import PortUnavailable
from evergrant.settings import Budgets
from tests.adapters.hooks import lost_answers, on

DENIED = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "arn:secret"}}, "GetItem")


def test_an_error_of_aws_is_named_by_its_code_and_chained() -> None:
    with pytest.raises(PortUnavailable, match=r"^reading: AccessDeniedException$") as caught, unavailable("reading"):
        raise DENIED
    assert caught.value.__cause__ is DENIED


@pytest.mark.parametrize(
    "error", [EndpointConnectionError(endpoint_url="x"), ReadTimeoutError(endpoint_url="x"), NoCredentialsError()]
)
def test_a_service_that_is_not_reached_is_named_by_the_kind_of_failure(error: Exception) -> None:
    with pytest.raises(PortUnavailable, match=f"^reading: {type(error).__name__}$"), unavailable("reading"):
        raise error


@pytest.mark.parametrize("error", [Conflict("x"), KeyError("x"), PortUnavailable("inner")])
def test_our_own_errors_pass_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, unavailable("reading"):
        raise error
    assert caught.value is error


def test_an_error_without_a_code_has_an_empty_one() -> None:
    assert read_error_code(ClientError({}, "GetItem")) == ""


def test_a_client_is_made_once(aws: None) -> None:
    assert client("sqs") is client("sqs")
    assert client("sqs") is not client("kms")


@pytest.mark.parametrize("service", ["dynamodb", "sqs"])
def test_calls_between_a_response_and_its_save_fit_the_save_budget(aws: None, service: str) -> None:
    """All calls between a response and its save fit into the budget of a save."""
    # A table that hangs must leave time for the queue, before Lambda ends the invocation.
    config = client(service).meta.config
    attempts = config.retries["total_max_attempts"]
    assert attempts * config.read_timeout <= Budgets().save
    assert attempts * config.connect_timeout <= Budgets().save


@pytest.mark.parametrize("service", ["dynamodb", "sqs", "kms", "secretsmanager", "events"])
def test_no_call_outlasts_a_lease(aws: None, service: str) -> None:
    config = client(service).meta.config
    assert config.retries["total_max_attempts"] * (config.connect_timeout + config.read_timeout) < Budgets().lease


def test_an_answer_that_is_lost_is_asked_for_again(aws: None) -> None:
    with lost_answers("sqs", "CreateQueue", count=1) as lost:
        assert client("sqs").create_queue(QueueName="q")["QueueUrl"]
    assert lost


def test_asking_again_comes_to_an_end(aws: None) -> None:
    asked: list[Any] = []
    with (
        on("sqs", "before-send.sqs.ListQueues", lambda **_: asked.append(1)),
        lost_answers("sqs", "ListQueues", count=99),
        pytest.raises(ReadTimeoutError),
    ):
        client("sqs").list_queues()
    assert len(asked) == client("sqs").meta.config.retries["total_max_attempts"]
