"""Protects the five systems' dialects where all meets: built-in profile, deployed functions, strict simulation.

What is asserted is what arrived at the provider, by the provider's own record, and what its API let pass.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import boto3
import httpx
import pytest

from evergrant_client import Evergrant
from evergrant_client.httpx import EvergrantAuth
from local import connections
from local.aws import REGION
from local.browser import Page
from local.connections import Connection
from local.consumer_stack import Consumer
from local.providers import fingerprint
from local.world import World
from tests.stack.deployed import PATIENCE_SECONDS, Control, EventsQueue, force_refresh

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
VERSIONED = "application/json; version=1.0.0"

KEAP = connections.KEAP.for_account("dialect")
INVESTREADY = connections.INVESTREADY.for_account("dialect")
APPLICATION = connections.INVESTREADY_APPLICATION.for_account("dialect-of-its-own")
MODELPORTFOLIOS = connections.MODELPORTFOLIOS.for_account("dialect")
BY_KEY = connections.INVESTSUITE.for_account("dialect")
BY_PASSWORD = replace(connections.INVESTSUITE, account="person", client="investsuite-person")
WEALTHYHOOD = connections.WEALTHYHOOD.for_account("dialect")
ALL = (KEAP, INVESTREADY, APPLICATION, MODELPORTFOLIOS, BY_KEY, BY_PASSWORD, WEALTHYHOOD)

Requests = Mapping[str, tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def asked(world: World, events_queue: EventsQueue) -> Requests:
    """By connection, its two token requests as its provider saw them: what obtained it, and a refresh."""
    person = world.clients["investsuite"]
    entry = {
        "credentials": {"username": person.username, "password": person.password},
        "hosts": [world.providers["investsuite"].host],
    }
    world.evergrant("client", "set", str(BY_PASSWORD.client), given=json.dumps(entry))
    seen = {}
    for connection in ALL:
        with control(world, connection).requests() as arrived:
            world.connect(connection)
            events_queue.wait_for("Connection Authorized", connection.name)
            assert "error" not in force_refresh(world, connection.name)
        obtained, refreshed = arrived
        seen[connection.name] = (obtained, refreshed)
    return seen


def control(world: World, connection: Connection) -> Control:
    return Control(world.providers[connection.provider.name])


def show_secret(secret: str | None) -> dict[str, str]:
    """A secret as a provider's record shows it."""
    return {"fingerprint": fingerprint(str(secret))}


def token_of(world: World, connection: Connection) -> dict[str, Any]:
    """The connection's document, from getter."""
    request = json.dumps({"connection": connection.name}).encode()
    answer = world.aws.client("lambda").invoke(
        FunctionName=world.stack.outputs["GetterFunctionArn"], Payload=request
    )  # fmt: skip
    document: dict[str, Any] = json.loads(answer["Payload"].read())
    assert "error" not in document
    return document


# --- what arrives at the token endpoints ---


@pytest.mark.parametrize("connection", ALL, ids=lambda connection: connection.name)
def test_what_was_asked_was_granted_in_the_format_the_provider_takes(connection: Connection, asked: Requests) -> None:
    for request in asked[connection.name]:
        assert (request["status"], request["error"]) == (200, None)
        assert request["content_type"].startswith(FORM if connection.provider.body_format == "form" else JSON)


def test_keap_gets_the_client_in_the_body_then_as_basic(world: World, asked: Requests) -> None:
    """Keap takes the client in the body for the code exchange, and as Basic authentication for the refresh."""
    exchange, refresh = asked[KEAP.name]
    client = world.clients["keap"]

    assert exchange["fields"]["client_id"] == client.client_id
    assert exchange["fields"]["client_secret"] == show_secret(client.client_secret)
    assert exchange["fields"]["redirect_uri"] == world.stack.redirect_uri("keap")
    assert exchange["authorization"] is None
    assert refresh["fields"].keys() == {"grant_type", "refresh_token"}
    assert refresh["authorization"] == {
        "scheme": "basic",
        "client_id": client.client_id,
        "fingerprint": fingerprint(client.client_secret),
    }


def test_investready_gets_the_redirect_uri_on_the_refresh_too(world: World, asked: Requests) -> None:
    exchange, refresh = asked[INVESTREADY.name]
    client = world.clients["investready"]

    assert exchange["fields"]["grant_type"] == "authorization_code"
    assert refresh["fields"] == {
        "grant_type": "refresh_token",
        "refresh_token": {"fingerprint": exchange["issued"]["refresh_token"]},
        "redirect_uri": world.stack.redirect_uri("investready"),
        "client_id": client.client_id,
        "client_secret": show_secret(client.client_secret),
    }
    assert exchange["authorization"] is refresh["authorization"] is None


@pytest.mark.parametrize("connection", [KEAP, INVESTREADY, BY_KEY, BY_PASSWORD], ids=lambda each: each.name)
def test_each_refresh_uses_the_latest_refresh_token_and_brings_another(connection: Connection, asked: Requests) -> None:
    obtained, refreshed = asked[connection.name]

    assert refreshed["fields"]["refresh_token"] == {"fingerprint": obtained["issued"]["refresh_token"]}
    assert refreshed["issued"]["refresh_token"] != obtained["issued"]["refresh_token"]
    assert refreshed["issued"]["access_token"] != obtained["issued"]["access_token"]


def test_investreadys_application_asks_with_its_own_credentials_each_time(world: World, asked: Requests) -> None:
    client = world.clients["investready"]

    for request in asked[APPLICATION.name]:
        assert request["fields"] == {
            "grant_type": "client_credentials",
            "client_id": client.client_id,
            "client_secret": show_secret(client.client_secret),
        }
        assert request["issued"].keys() == {"access_token"}


def test_modelportfolios_is_asked_for_its_version_each_time(world: World, asked: Requests) -> None:
    client = world.clients["modelportfolios"]

    for request in asked[MODELPORTFOLIOS.name]:
        assert request["accept"] == VERSIONED
        assert request["fields"] == {
            "grant_type": "client_credentials",
            "client_id": client.client_id,
            "client_secret": show_secret(client.client_secret),
        }
        assert request["issued"].keys() == {"access_token"}  # found, though it is spelt accessTtoken


def test_wealthyhood_gets_the_audience_each_time(world: World, asked: Requests) -> None:
    client = world.clients["wealthyhood"]

    for request in asked[WEALTHYHOOD.name]:
        assert request["fields"] == {
            "grant_type": "client_credentials",
            "client_id": client.client_id,
            "client_secret": show_secret(client.client_secret),
            "audience": WEALTHYHOOD.variables["audience"],
        }


def test_investsuite_logs_in_with_a_key_or_password_and_refreshes_bare(world: World, asked: Requests) -> None:
    """InvestSuite is logged in to with a key or a password, and refreshed without either."""
    client = world.clients["investsuite"]
    by_key, refresh_of_key = asked[BY_KEY.name]
    by_password, refresh_of_password = asked[BY_PASSWORD.name]

    assert by_key["fields"] == {
        "access_key_id": client.client_id,
        "secret_access_key": show_secret(client.client_secret),
    }
    assert by_password["fields"] == {"username": show_secret(client.username), "password": show_secret(client.password)}
    assert by_key["path"] == by_password["path"] == "/auth/login/"
    for refresh in (refresh_of_key, refresh_of_password):
        assert refresh["path"] == "/auth/refresh-token/"
        assert refresh["fields"].keys() == {"refresh_token"}
        assert refresh["authorization"] is None


# --- what the tokens are worth ---


def test_a_consumer_calls_the_apis_of_all_five(world: World, consumer: Consumer, asked: Requests) -> None:
    before = {each.name: calls_accepted(world, each) for each in ALL}

    tallies = consumer.call([world.target(connection) for connection in ALL], seconds=0)

    assert tallies == {each.name: {"calls": 1, "failed": 0, "failures": []} for each in ALL}
    assert {each.name: calls_accepted(world, each) - before[each.name] for each in ALL} == dict.fromkeys(before, 1)


def calls_accepted(world: World, connection: Connection) -> int:
    """How many calls the API let pass with tokens of the connection's grant."""
    grant = control(world, connection).grant_of(token_of(world, connection)["access_token"])
    return int(grant["accepted_calls"])


def test_wealthyhood_is_not_called_without_saying_for_whom(world: World, consumer: Consumer, asked: Requests) -> None:
    before = control(world, WEALTHYHOOD).ask("stats")["api"]

    tally = consumer.call([world.target(WEALTHYHOOD) | {"headers": {}}], seconds=0)[WEALTHYHOOD.name]

    assert "x-user-id" in tally["failures"][0]
    assert control(world, WEALTHYHOOD).ask("stats")["api"] == before


@pytest.mark.parametrize(
    ("connection", "seconds"), [(BY_KEY, 300), (MODELPORTFOLIOS, 86400), (INVESTREADY, 7776000), (WEALTHYHOOD, 3600)]
)
def test_a_token_is_known_to_live_as_long_as_the_provider_says(
    connection: Connection, seconds: int, world: World, asked: Requests
) -> None:
    assert seconds - 60 < token_of(world, connection)["expires_in"] <= seconds


# --- what refusals come to ---


@pytest.fixture
def investsuite(world: World) -> Iterator[Control]:
    """InvestSuite, which a test can have refuse in another way for a while."""
    investsuite = control(world, BY_KEY)
    usual = investsuite.ask("settings")["dead_refresh_token"]
    yield investsuite
    investsuite.tell("settings", {"dead_refresh_token": usual})


@pytest.mark.parametrize(
    ("connection", "credentials", "refusal"),
    [(BY_KEY, {"access_key_id", "secret_access_key"}, 401), (BY_PASSWORD, {"username", "password"}, 403)],
    ids=["key-401", "password-403"],
)
def test_a_refused_refresh_token_is_replaced_by_a_log_in_at_once(
    connection: Connection,
    credentials: set[str],
    refusal: int,
    world: World,
    investsuite: Control,
    asked: Requests,
) -> None:
    investsuite.tell("settings", {"dead_refresh_token": refusal})
    grant = investsuite.grant_of(token_of(world, connection)["access_token"])
    investsuite.tell("revoke", {"grant": grant["grant"]})

    with investsuite.requests() as arrived:
        document = force_refresh(world, connection.name)

    refresh, log_in = arrived
    assert (refresh["path"], refresh["status"]) == ("/auth/refresh-token/", refusal)
    assert (log_in["path"], log_in["status"]) == ("/auth/login/", 200)
    assert log_in["fields"].keys() == credentials
    assert log_in["issued"]["access_token"] == fingerprint(document["access_token"])
    assert status_of(world, connection) == "active"


def test_an_investsuite_403_is_retried_with_a_token_of_a_new_log_in(
    world: World,
    keap: Page,
    refused: Mapping[str, Connection],
    credentials_of: Callable[[str], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    investsuite: Control,
) -> None:
    """A call that InvestSuite answers with 403 is sent again with a token of a new log-in."""
    connection = refused["investsuite"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", world.aws.endpoint)
    session: Any = boto3.Session(region_name=REGION, **credentials_of("consumer"))  # type: ignore[arg-type]
    evergrant = Evergrant(getter=world.stack.outputs["GetterFunctionArn"], session=session)
    auth = EvergrantAuth(connection.name, evergrant=evergrant)
    old = evergrant.token(connection.name)
    investsuite.tell("revoke", {"grant": investsuite.grant_of(old)["grant"]})
    before = investsuite.ask("stats")["api"]

    # A token only a few seconds old is not renewed, and until then the caller gets the refusal.
    deadline, status = time.monotonic() + PATIENCE_SECONDS, 403
    with investsuite.requests() as arrived:
        while status == 403 and time.monotonic() < deadline:
            status = httpx.get(str(world.target(connection)["url"]), auth=auth, timeout=40).status_code

    after = investsuite.ask("stats")["api"]
    assert status == 200
    assert after["refused_by_status"]["403"] > before["refused_by_status"].get("403", 0)
    assert after["ok"] - before["ok"] == 1
    assert [request["path"] for request in arrived] == ["/auth/refresh-token/", "/auth/login/"]


@pytest.fixture
def keap_that_says_invalid_request(world: World) -> Iterator[Control]:
    keap = control(world, KEAP)
    keap.tell("settings", {"dead_refresh_token": "invalid_request"})
    yield keap
    keap.tell("settings", {"dead_refresh_token": "invalid_grant"})


def test_keaps_invalid_request_for_a_dead_token_asks_for_a_person(
    world: World, events_queue: EventsQueue, asked: Requests, keap_that_says_invalid_request: Control
) -> None:
    """Keap answers invalid_request for a dead refresh token; in the end authorization is required."""
    keap = keap_that_says_invalid_request
    lost = KEAP.for_account("lost")
    world.connect(lost)
    events_queue.wait_for("Connection Authorized", lost.name)
    keap.tell("revoke", {"grant": keap.grant_of(token_of(world, lost)["access_token"])["grant"]})

    with keap.requests() as arrived:
        force_refresh(world, lost.name)
        degraded = events_queue.wait_for("Connection Degraded", lost.name)
        long_ago(world, lost, "rejected_at")
        force_refresh(world, lost.name)
        required = events_queue.wait_for("Authorization Required", lost.name)

    assert [(request["status"], request["error"]) for request in arrived] == [(400, "invalid_request")] * 2
    assert degraded["detail"]["reason"] == required["detail"]["reason"] == "invalid_request"
    world.connect(lost)
    events_queue.wait_for("Connection Authorized", lost.name, 2)
    assert status_of(world, lost) == "active"


def long_ago(world: World, connection: Connection, moment: str) -> None:
    """Have a moment in the record be an hour ago."""
    world.aws.client("dynamodb").update_item(
        TableName=world.stack.outputs["RecordsTableName"],
        Key={"pk": {"S": f"connection#{connection.name}"}},
        UpdateExpression="SET #moment = :then",
        ConditionExpression="attribute_exists(#moment)",
        ExpressionAttributeNames={"#moment": moment},
        ExpressionAttributeValues={":then": {"N": str(int(time.time()) - 3600)}},
    )


def status_of(world: World, connection: Connection) -> str:
    record = world.aws.client("dynamodb").get_item(
        TableName=world.stack.outputs["RecordsTableName"], Key={"pk": {"S": f"connection#{connection.name}"}}
    )["Item"]
    return str(record["status"]["S"])
