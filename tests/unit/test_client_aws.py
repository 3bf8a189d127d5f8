"""Protects what only shows with botocore itself: real sessions are accepted, and the SDK never asks getter twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import boto3
import botocore.session
import moto
import pytest

from evergrant_client import (
    Evergrant,
    NotConfigured,
    TemporarilyUnavailable,
)
from tests.unit.client_fakes import GETTER, START, Clock, FakeAws, build_answer

KEAP = "keap/main"
SECRET = "evergrant/tokens/keap/main"


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def evergrant(aws: FakeAws, clock: Clock) -> Evergrant:
    return Evergrant(prefix="evergrant", getter=GETTER, session=aws, clock=clock)


def test_lambda_is_never_called_twice_by_the_sdk(evergrant: Evergrant, aws: FakeAws) -> None:
    aws.getter = lambda _: build_answer(KEAP, "t", expires_at=START + 3600)
    evergrant.token(KEAP)
    config = aws.configs["lambda"]
    assert config.retries["total_max_attempts"] == 1
    assert config.read_timeout > 25  # getter lets its callers wait so long


@pytest.mark.parametrize("kind", ["boto3", "botocore"])
def test_real_clients_read_a_real_secret(clock: Clock, aws: FakeAws, kind: str) -> None:
    aws.publish(KEAP, "t", expires_at=START + 3600)
    text = aws.secrets[SECRET]
    assert isinstance(text, str)
    with moto.mock_aws():
        session = boto3.Session(region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
        session.client("secretsmanager").create_secret(Name=SECRET, SecretString=text)
        taken = session if kind == "boto3" else session._session
        evergrant = Evergrant(prefix="evergrant", session=taken, clock=clock)
        assert evergrant.token(KEAP) == "t"
        evergrant._forget()  # as for a snapshot: connections are closed
        assert evergrant.token(KEAP) == "t"
        with pytest.raises(NotConfigured):
            evergrant.token("keap/absent")


@pytest.fixture
def failing_lambda() -> Iterator[tuple[str, list[str]]]:
    """A real HTTP server in the place of Lambda's endpoint, which says that it failed, or hangs up first."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            if "hangs-up" in self.path and len(asked) == 1:
                self.close_connection = True
                return
            self.send_response(500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_connection_that_died_while_it_was_kept_costs_a_second_try(
    clock: Clock, failing_lambda: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, asked = failing_lambda
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", endpoint)
    with moto.mock_aws(config={"core": {"passthrough": {"urls": [endpoint + ".*"]}}}):
        session = botocore.session.get_session()
        session.set_config_variable("region", "eu-west-1")
        evergrant = Evergrant(getter="hangs-up", read_secrets=False, session=session, clock=clock)
        with pytest.raises(TemporarilyUnavailable, match="500"):
            evergrant.token(KEAP)
    assert len(asked) == 2


def test_failing_lambda_is_asked_once(
    clock: Clock, failing_lambda: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, asked = failing_lambda
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", endpoint)
    with moto.mock_aws(config={"core": {"passthrough": {"urls": [endpoint + ".*"]}}}):
        session = botocore.session.get_session()
        session.set_config_variable("region", "eu-west-1")
        evergrant = Evergrant(prefix="evergrant", getter="getter", session=session, clock=clock)
        with pytest.raises(TemporarilyUnavailable):
            evergrant.token(KEAP)
    assert asked == ["/2015-03-31/functions/getter/invocations"]
