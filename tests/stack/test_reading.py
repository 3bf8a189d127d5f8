"""Protects what consumers rely on: the secret, getter, and getter's HTTP API, each with only the grants it needs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local import connections
from local.aws import REGION
from local.browser import Page
from local.connections import Connection
from local.consumer_stack import Consumer
from local.providers import fingerprint
from local.world import World
from tests.stack.deployed import PATIENCE_SECONDS, Control, EventsQueue, read_document


def test_a_consumer_with_the_layer_and_the_policy_calls_both_apis(
    world: World, consumer: Consumer, keap: Page, wealthyhood: None
) -> None:
    targets = [world.target(connection) for connection in (connections.KEAP, connections.WEALTHYHOOD)]

    tallies = consumer.call(targets, seconds=0)

    good = {"calls": 1, "failed": 0, "failures": []}
    assert tallies == {"keap/main": good, "wealthyhood/main": good}


def test_any_sdk_reads_the_token_from_the_secret(world: World, keap: Page, as_role: Callable[[str, str], Any]) -> None:
    secret = as_role("consumer", "secretsmanager").get_secret_value(SecretId="evergrant/tokens/keap/main")

    document = json.loads(secret["SecretString"])
    answer = httpx.get(str(world.providers["keap"].urls()["api_url"]), headers=document["headers"])
    assert answer.status_code == 200
    assert "refresh_token" not in document


def test_a_consumer_invokes_getter(world: World, keap: Page, as_role: Callable[[str, str], Any]) -> None:
    answer = as_role("consumer", "lambda").invoke(
        FunctionName=world.stack.outputs["GetterFunctionArn"], Payload=b'{"connection": "keap/main", "min_ttl": 60}'
    )

    document = json.loads(answer["Payload"].read())
    assert document["access_token"] == read_document(world, "keap/main")["access_token"]
    assert document["expires_in"] > 60


def test_getter_has_a_refused_token_renewed(
    world: World, keap: Page, refused: Mapping[str, Connection], as_role: Callable[[str, str], Any]
) -> None:
    name = refused["keap"].name
    old = getter_answer(world, as_role, {"connection": name})["access_token"]
    world.providers["keap"].provider.kill_access_token(fingerprint(old))

    # A token only a few seconds old is not renewed, and until then getter goes on answering with it.
    deadline, new = time.monotonic() + PATIENCE_SECONDS, {"access_token": old}
    while new["access_token"] == old and time.monotonic() < deadline:
        new = getter_answer(world, as_role, {"connection": name, "rejected": fingerprint(old)})

    assert new["access_token"] != old
    assert httpx.get(str(world.providers["keap"].urls()["api_url"]), headers=new["headers"]).status_code == 200


def test_a_fleet_of_getters_that_were_refused_one_token_causes_one_refresh(
    world: World, events_queue: EventsQueue, as_role: Callable[[str, str], Any]
) -> None:
    name, size = connections.KEAP.for_account("fleet").name, 8
    world.connect(connections.KEAP.for_account("fleet"))
    events_queue.wait_for("Connection Authorized", name, 1)
    functions, together = as_role("consumer", "lambda"), Barrier(size)
    refused = fingerprint(read_document(world, name)["access_token"])
    request = json.dumps({"connection": name, "rejected": refused}).encode()

    def ask(_: int) -> dict[str, Any]:
        together.wait(PATIENCE_SECONDS)
        # Each of those that are under way at once is another process, of getter and of rotator.
        answer = functions.invoke(FunctionName=world.stack.outputs["GetterFunctionArn"], Payload=request)
        document: dict[str, Any] = json.loads(answer["Payload"].read())
        return document

    with Control(world.providers["keap"]).requests() as arrived, ThreadPoolExecutor(size) as pool:
        # A token only a few seconds old is kept, and its refusal is no news for so long.
        deadline = time.monotonic() + PATIENCE_SECONDS
        generations: set[object] = {1}
        while generations != {2} and time.monotonic() < deadline:
            answers = list(pool.map(ask, range(size)))
            generations = {answer.get("generation") for answer in answers}

    assert generations == {2}, answers
    assert len({answer["access_token"] for answer in answers}) == 1
    assert len(arrived) == 1, arrived


@pytest.fixture(scope="module")
def one_connection(world: World) -> Credentials:
    """A consumer that may read keap/main over HTTP, and nothing else."""
    iam, name = world.aws.client("iam"), "reads-keap-main"
    iam.create_user(UserName=name)
    allowed = f"arn:aws:execute-api:{REGION}:*:{world.stack.outputs['ApiId']}/*/GET/tokens/keap/main"
    statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": allowed}
    iam.put_user_policy(
        UserName=name,
        PolicyName="read",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Credentials(key["AccessKeyId"], key["SecretAccessKey"])


def test_the_http_api_answers_a_signed_request_of_one_who_may(
    world: World, keap: Page, one_connection: Credentials
) -> None:
    answer = send_signed(f"{world.stack.api_url}/tokens/keap/main?min_ttl=60", one_connection)

    assert answer.status_code == 200
    assert answer.json()["access_token"] == read_document(world, "keap/main")["access_token"]
    assert "no-store" in answer.headers["cache-control"]


def test_the_http_api_refuses_who_may_read_another_connection_only(
    world: World, wealthyhood: None, one_connection: Credentials
) -> None:
    assert send_signed(f"{world.stack.api_url}/tokens/wealthyhood/main", one_connection).status_code == 403


def test_the_http_api_refuses_a_request_without_a_signature(world: World, keap: Page) -> None:
    assert httpx.get(f"{world.stack.api_url}/tokens/keap/main").status_code == 403


def test_the_http_api_says_that_a_connection_is_not_known(world: World) -> None:
    answer = send_signed(f"{world.stack.api_url}/tokens/keap/absent", Credentials("test", "test"))

    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["code"] == "unknown_connection"


def send_signed(url: str, credentials: Credentials) -> httpx.Response:
    request = AWSRequest("GET", url)
    SigV4Auth(credentials, "execute-api", REGION).add_auth(request)
    return httpx.get(url, headers=dict(request.headers), timeout=40)


def getter_answer(world: World, as_role: Callable[[str, str], Any], request: dict[str, str]) -> dict[str, Any]:
    answer = as_role("consumer", "lambda").invoke(
        FunctionName=world.stack.outputs["GetterFunctionArn"], Payload=json.dumps(request).encode()
    )
    document: dict[str, Any] = json.loads(answer["Payload"].read())
    assert "error" not in document, document
    return document
