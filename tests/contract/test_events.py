"""Protects the functions as Lambda runs them: complete in what they need, and their answers as each caller sees them.

Every file of ``events/`` is fed to the function it is named after, so the samples cannot rot.
"""

from __future__ import annotations

import json

import pytest

from local.providers import ProviderServer
from tests.contract.contract import PREFIX, Contract, event
from tests.template.stack import ROOT

#: An event's file name starts with its function's.
SAMPLES = sorted(path.stem for path in (ROOT / "events").glob("*.json"))


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_event_is_answered_and_not_with_a_crash(contract: Contract, sample: str) -> None:
    function = getattr(contract, sample.partition("-")[0])
    answer = function.invoke(event(sample))
    assert "errorType" not in answer, function.log.read_text()


def test_there_is_a_sample_for_every_trigger() -> None:
    assert set(SAMPLES) == {
        "callback-connect-get",
        "callback-connect-post",
        "callback-return",
        "getter-direct",
        "getter-http",
        "rotator-queue",
        "rotator-request",
        "scheduler-tick",
    }


def test_a_tick_says_how_much_it_sent(contract: Contract) -> None:
    answer = contract.scheduler.invoke(event("scheduler-tick"))
    assert answer.keys() == {"claimed", "sent", "left", "held", "unfinished"}


def test_a_batch_of_connections_that_are_gone_is_done_with(contract: Contract) -> None:
    assert contract.rotator.invoke(event("rotator-queue")) == {"batchItemFailures": []}


@pytest.mark.parametrize("asked", ["rotator-request", "getter-direct"])
def test_an_unknown_connection_is_a_typed_error(contract: Contract, asked: str) -> None:
    answer = getattr(contract, asked.partition("-")[0]).invoke(event(asked))
    assert set(answer) == {"error"}
    assert answer["error"]["code"] == "unknown_connection"
    assert "keap/main" in answer["error"]["message"]
    assert answer["error"]["hint"]


def test_an_unknown_connection_is_a_problem_document_over_http(contract: Contract) -> None:
    answer = contract.getter.invoke(event("getter-http"))
    assert answer["statusCode"] == 404
    assert answer["headers"]["content-type"] == "application/problem+json"
    problem = json.loads(answer["body"])
    assert problem["status"] == 404
    assert problem["code"] == "unknown_connection"
    assert {"type", "title", "detail"} <= problem.keys()


@pytest.mark.parametrize("asked", ["rotator", "getter"])
def test_a_request_that_makes_no_sense_is_a_typed_error(contract: Contract, asked: str) -> None:
    answer = getattr(contract, asked).invoke({"connection": "../../etc", "min_ttl": -1})
    assert answer["error"]["code"] in {"invalid_request", "invalid_name"}


@pytest.mark.parametrize("page", ["callback-connect-get", "callback-connect-post", "callback-return"])
def test_an_unknown_link_is_a_page_that_says_so(contract: Contract, page: str) -> None:
    answer = contract.callback.invoke(event(page))
    assert answer["statusCode"] in {400, 404}
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    assert headers["content-type"].startswith("text/html")
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "<html" in answer["body"]


def test_a_ticket_or_code_is_neither_in_the_page_nor_in_the_log(contract: Contract) -> None:
    """A ticket or a code of the request appears neither in the page nor in the log."""
    for page, secret in (
        ("callback-connect-get", event("callback-connect-get")["pathParameters"]["ticket"]),
        ("callback-return", event("callback-return")["queryStringParameters"]["code"]),
    ):
        answer = contract.callback.invoke(event(page))
        assert secret not in json.dumps(answer)
        assert secret not in contract.callback.log.read_text()


def test_a_due_connection_is_refreshed_published_and_read(contract: Contract, wealthyhood: ProviderServer) -> None:
    assert contract.rotator.invoke(event("rotator-queue")) == {"batchItemFailures": []}

    secret = contract.aws.client("secretsmanager").get_secret_value(SecretId=f"{PREFIX}/tokens/wealthyhood/reports")
    published = json.loads(secret["SecretString"])
    answer = contract.getter.invoke({"connection": "wealthyhood/reports", "min_ttl": 60})
    assert answer["access_token"] == published["access_token"]
    assert answer["headers"]["Authorization"] == f"Bearer {published['access_token']}"
    assert published["access_token"] not in contract.rotator.log.read_text()
    assert published["access_token"] not in contract.getter.log.read_text()


@pytest.mark.parametrize("sample", ["scheduler-tick", "rotator-queue", "callback-return", "getter-direct"])
def test_the_sdk_logs_nothing_even_at_lambdas_debug(contract: Contract, sample: str) -> None:
    """The SDK logs nothing below INFO under Lambda's own runtime at DEBUG, in any function.

    The template keeps that level at INFO; an operator can still change it on the function.
    """
    function = contract.start(sample.partition("-")[0].title(), AWS_LAMBDA_LOG_LEVEL="DEBUG")
    assert "errorType" not in function.invoke(event(sample)), function.log.read_text()
    lines = [json.loads(line) for line in function.log.read_text().splitlines() if line.startswith("{")]
    loggers = {line.get("logger", "").split(".")[0] for line in lines if line.get("level") == "DEBUG"}
    assert not loggers & {"boto3", "botocore", "urllib3"}
