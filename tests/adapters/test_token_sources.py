"""Protects getter's order of asking: the secret first, and rotator where the secret is not enough. Any failure gives an
answer of stable form before the HTTP API gives up."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from evergrant.adapters.aws import token_sources
from evergrant.adapters.aws.sdk import client
from evergrant.getter.token_reader import TokenReader
from evergrant.secret import fingerprint
from evergrant.wiring.getter import build_reader
from tests.adapters.hooks import on

KEAP = "keap/main"
ROTATOR = "the-rotator"
#: Seconds that the template gives getter.
TIMEOUT = 29
UNREACHABLE = EndpointConnectionError(endpoint_url="https://example")


def document(token: str, lifetime: int = 3600) -> dict[str, Any]:
    expires_at = datetime.fromtimestamp(int(time.time()) + lifetime, UTC).isoformat()
    return {"connection": KEAP, "access_token": token, "expires_at": expires_at, "generation": 7}


class Rotator:
    """Lambda's Invoke, with one function behind it."""

    def __init__(self) -> None:
        self.answer: Any = document("from-rotator")
        self.function_error: str | None = None
        self.failure: Exception | None = None
        self.requests: list[Any] = []

    def invoke(self, *, FunctionName: str, Payload: str) -> dict[str, Any]:  # noqa: N803
        assert FunctionName == ROTATOR
        self.requests.append(json.loads(Payload))
        if self.failure:
            raise self.failure
        answer: dict[str, Any] = {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(self.answer).encode())}
        return {**answer, "FunctionError": self.function_error} if self.function_error else answer


class CutOff(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise ReadTimeoutError(endpoint_url="https://example")


class Account:
    """The clients that a reader made, and with which configuration."""

    def __init__(self) -> None:
        self.rotator = Rotator()
        self.configs: dict[str, Any] = {}
        self.secrets: Any = None
        self.failing = ExitStack()

    def client(self, service: str, config: Any) -> Any:
        self.configs[service] = config
        if service == "lambda":
            return self.rotator
        self.secrets = client("secretsmanager")  # one for all tests, since making one takes long
        return self.secrets

    def publish(self, text: str) -> None:
        self.secrets.create_secret(Name=f"team-a/tokens/{KEAP}", SecretString=text)

    def break_secrets(self, error: Exception) -> None:
        def fail(**_: Any) -> None:
            raise error

        self.failing.enter_context(on("secretsmanager", "before-send.secretsmanager.GetSecretValue", fail))


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    monkeypatch.setenv("EVERGRANT_PREFIX", "team-a")
    monkeypatch.setenv("EVERGRANT_ROTATOR_FUNCTION", ROTATOR)
    account = Account()
    monkeypatch.setattr(token_sources, "get_session", lambda: SimpleNamespace(create_client=account.client))
    with account.failing:
        yield account


@pytest.fixture
def reader(account: Account) -> TokenReader:
    return build_reader()


def test_a_published_token_is_read_from_the_secret(account: Account, reader: TokenReader) -> None:
    account.publish(json.dumps(document("from-secret")))
    answer = reader.read(KEAP, min_ttl=60)
    assert answer["access_token"] == "from-secret"
    assert 3590 < answer["expires_in"] <= 3600
    assert account.rotator.requests == []


def test_what_is_not_published_is_asked_of_rotator(account: Account, reader: TokenReader) -> None:
    assert reader.read(KEAP, min_ttl=60)["access_token"] == "from-rotator"
    assert account.rotator.requests == [{"connection": KEAP, "min_ttl": 60}]


def test_a_token_that_is_too_old_is_asked_of_rotator(account: Account, reader: TokenReader) -> None:
    account.publish(json.dumps(document("from-secret", lifetime=50)))
    assert reader.read(KEAP, min_ttl=60)["access_token"] == "from-rotator"


def test_a_refused_token_is_named_to_rotator_by_its_fingerprint_alone(account: Account, reader: TokenReader) -> None:
    account.publish(json.dumps(document("from-secret")))
    refused = fingerprint("from-secret")
    assert reader.read(KEAP, rejected=refused)["access_token"] == "from-rotator"
    assert account.rotator.requests == [{"connection": KEAP, "min_ttl": 0, "rejected": refused}]


@pytest.mark.parametrize(
    "error",
    [UNREACHABLE, ReadTimeoutError(endpoint_url="x"), ClientError({"Error": {"Code": "AccessDenied"}}, "x")],
)
def test_rotator_is_asked_when_secrets_manager_is_down(account: Account, reader: TokenReader, error: Exception) -> None:
    account.publish(json.dumps(document("from-secret")))
    account.break_secrets(error)
    assert reader.read(KEAP)["access_token"] == "from-rotator"


def test_a_secret_scheduled_for_deletion_is_asked_of_rotator(account: Account, reader: TokenReader) -> None:
    account.publish(json.dumps(document("from-secret")))
    account.secrets.delete_secret(SecretId=f"team-a/tokens/{KEAP}")
    assert reader.read(KEAP)["access_token"] == "from-rotator"


@pytest.mark.parametrize("text", ["a-pasted-token", "[]", "null", "{}", '{"access_token": "x"}'])
def test_a_secret_value_of_another_writer_is_skipped(account: Account, reader: TokenReader, text: str) -> None:
    account.publish(text)
    assert reader.read(KEAP)["access_token"] == "from-rotator"


def test_rotators_own_error_is_passed_on(account: Account, reader: TokenReader) -> None:
    account.rotator.answer = {"error": {"code": "authorization_required", "message": "m", "hint": "h"}}
    assert reader.read(KEAP) == account.rotator.answer


def test_a_rotator_that_breaks_is_temporarily_unavailable(account: Account, reader: TokenReader) -> None:
    account.rotator.function_error = "Unhandled"
    account.rotator.answer = {"errorMessage": "canary-token", "errorType": "KeyError"}
    error = reader.read(KEAP)["error"]
    assert error["code"] == "temporarily_unavailable"
    assert error["retry_after"] > 0
    assert "canary" not in json.dumps(error)  # the crash's text stays out


@pytest.mark.parametrize(
    "failure",
    [
        UNREACHABLE,
        ReadTimeoutError(endpoint_url="x"),
        ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke"),
        ClientError({"Error": {"Code": "AccessDeniedException"}}, "Invoke"),
    ],
)
def test_a_rotator_that_cannot_be_asked_is_temporarily_unavailable(
    account: Account, reader: TokenReader, failure: Exception
) -> None:
    account.rotator.failure = failure
    assert reader.read(KEAP)["error"]["code"] == "temporarily_unavailable"


def test_an_answer_of_rotator_that_breaks_off_is_temporarily_unavailable(
    account: Account, reader: TokenReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account.rotator, "invoke", lambda **_: {"Payload": CutOff()})
    assert reader.read(KEAP)["error"]["code"] == "temporarily_unavailable"


def test_the_next_question_is_answered_from_memory(account: Account, reader: TokenReader) -> None:
    reader.read(KEAP)
    assert reader.read(KEAP)["access_token"] == "from-rotator"
    assert len(account.rotator.requests) == 1


def test_rotator_is_never_invoked_twice_by_the_sdk(account: Account, reader: TokenReader) -> None:
    assert account.configs["lambda"].retries["total_max_attempts"] == 1


def test_all_waiting_ends_before_getter_itself_does(account: Account, reader: TokenReader) -> None:
    # A Secrets Manager that hangs, and then a rotator that does.
    secrets, functions = account.configs["secretsmanager"], account.configs["lambda"]
    attempts = (secrets.retries or {}).get("total_max_attempts", 5)  # botocore's default
    assert attempts * max(secrets.connect_timeout, secrets.read_timeout) + functions.read_timeout < TIMEOUT
    assert functions.read_timeout > 25  # as long as rotator lets its callers wait
