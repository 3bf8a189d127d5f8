"""Protects the demo's verdict: it must not say that all held when something did not."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from local.observation import Connection, Observation
from local.providers import WEALTHYHOOD, Client, Provider, ProviderServer
from local.providers.messages import TokenRequest
from tests.unit.simulated import Clock

LIFETIME = 60
CLIENT = Client("app", "secret", audience=WEALTHYHOOD.default_audience)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def connection(clock: Clock) -> Iterator[Connection]:
    settings = {"access_token_lifetime": LIFETIME}
    server = ProviderServer(Provider(WEALTHYHOOD, clients=(CLIENT,), settings=settings, clock=clock))
    yield Connection("wealthyhood/main", server, {"x-user-id": "u"}, issues_refresh_tokens=False)
    server.stop()


def live_on(connection: Connection, clock: Clock, *, tokens: int, every: float) -> None:
    """Have the provider issue tokens at a distance, and its API called once with each."""
    provider = connection.server.provider
    fields = {
        "grant_type": "client_credentials",
        "client_id": CLIENT.client_id,
        "client_secret": CLIENT.client_secret,
        "audience": CLIENT.audience,
    }
    for number in range(tokens):
        if number:
            clock.advance(every)
        answer = provider.token(TokenRequest({"content-type": "application/json"}, json.dumps(fields).encode(), ""))
        token = answer.json()["access_token"]
        assert provider.api({"authorization": f"Bearer {token}", "x-user-id": "u"}).status == 200
        connection.calls += 1


def test_all_held_when_the_schedule_was_in_time_and_every_call_succeeded(connection: Connection, clock: Clock) -> None:
    live_on(connection, clock, tokens=4, every=30)

    assert Observation([connection]).failures(3) == []


def test_the_first_token_is_no_rotation(connection: Connection, clock: Clock) -> None:
    live_on(connection, clock, tokens=3, every=30)

    assert Observation([connection]).failures(3) == ["wealthyhood/main was rotated 2 times, not 3."]


def test_a_token_that_only_a_consumer_can_have_renewed_is_not_the_schedules_work(
    connection: Connection, clock: Clock
) -> None:
    live_on(connection, clock, tokens=4, every=50)

    assert Observation([connection]).failures(3) == ["wealthyhood/main: the schedule let a token get 50 s old."]


def test_one_failed_call_is_enough(connection: Connection, clock: Clock) -> None:
    live_on(connection, clock, tokens=4, every=30)
    connection.calls += 1
    connection.failed = 1
    connection.reasons = {"status 401"}

    assert Observation([connection]).failures(3) == ["wealthyhood/main: 1 of 5 calls failed: status 401"]


def test_calls_that_the_api_never_saw_do_not_count(connection: Connection, clock: Clock) -> None:
    live_on(connection, clock, tokens=4, every=30)
    connection.calls += 1

    assert Observation([connection]).failures(3) == ["wealthyhood/main: 5 calls made, 4 seen by the API."]
