"""Protects the demo's verdict: it must not say that all held when something did not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest

from local.connections import INVESTREADY, INVESTREADY_APPLICATION, INVESTSUITE, WEALTHYHOOD, Connection
from local.observation import Observation, Observed
from local.providers import Client, Provider, ProviderServer
from local.providers.messages import TokenRequest
from tests.unit.simulated import Clock

LIFETIME = 60
CLIENT = Client("app", "secret", redirect_uris=("http://localhost/callback",))
Observe = Callable[[Connection], Observed]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def observe(clock: Clock) -> Iterator[Observe]:
    """Makes a provider for a connection, and observes the connection."""
    servers = []

    def start(connection: Connection) -> Observed:
        settings = {"access_token_lifetime": LIFETIME}
        server = ProviderServer(Provider(connection.provider, clients=(CLIENT,), settings=settings, clock=clock))
        servers.append(server)
        return Observed(connection, server)

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def observed(observe: Observe) -> Observed:
    return observe(WEALTHYHOOD)


def ask(seen: Observed, fields: dict[str, str]) -> str:
    """Ask the provider for tokens, and return the access token."""
    dialect = seen.connection.provider
    if dialect.body_format == "json":
        headers, body = {"content-type": "application/json"}, json.dumps(fields)
    else:
        headers, body = {"content-type": "application/x-www-form-urlencoded"}, urlencode(fields)
    answer = seen.server.provider.token(TokenRequest(headers, body.encode(), path=dialect.token_path))
    return str(answer.json()["access_token"])


def call(seen: Observed, token: str) -> None:
    headers = {"authorization": f"Bearer {token}", **seen.connection.headers}
    assert seen.server.provider.api(headers).status == 200
    seen.calls += 1


def live_on(seen: Observed, clock: Clock, *, tokens: int, every: float) -> None:
    """Have the provider issue tokens of the client's own at a distance, and its API called once with each."""
    fields = {"grant_type": "client_credentials", "client_id": "app", "client_secret": "secret"}
    for number in range(tokens):
        if number:
            clock.advance(every)
        call(seen, ask(seen, fields | dict(seen.connection.variables)))


def test_all_held_when_the_schedule_was_in_time_and_every_call_succeeded(observed: Observed, clock: Clock) -> None:
    live_on(observed, clock, tokens=4, every=30)

    assert Observation([observed]).find_failures(3) == []


def test_the_first_token_is_no_rotation(observed: Observed, clock: Clock) -> None:
    live_on(observed, clock, tokens=3, every=30)

    assert not Observation([observed]).has_rotated(3)
    assert Observation([observed]).find_failures(3) == ["wealthyhood/main was rotated 2 times, not 3."]


def test_a_token_only_a_consumer_can_have_renewed_is_not_the_schedules(observed: Observed, clock: Clock) -> None:
    """A token that only a consumer can have renewed is not counted as the schedule's work."""
    live_on(observed, clock, tokens=4, every=50)

    assert Observation([observed]).find_failures(3) == [
        "wealthyhood/main: the schedule refreshed a token only after 50 s."
    ]


def test_one_failed_call_is_enough(observed: Observed, clock: Clock) -> None:
    live_on(observed, clock, tokens=4, every=30)
    observed.calls += 1
    observed.failed = 1
    observed.reasons = {"status 401"}

    assert Observation([observed]).find_failures(3) == ["wealthyhood/main: 1 of 5 calls failed: status 401"]


def test_calls_that_the_api_never_saw_do_not_count(observed: Observed, clock: Clock) -> None:
    live_on(observed, clock, tokens=4, every=30)
    observed.calls += 1

    assert Observation([observed]).find_failures(3) == ["wealthyhood/main: 5 calls made, 4 seen by the API."]


def test_rotations_are_counted_per_connection_not_per_provider(observe: Observe, clock: Clock) -> None:
    """Rotations of one connection are not another's because they share a provider."""
    application = observe(INVESTREADY_APPLICATION)
    person = Observed(INVESTREADY, application.server)
    live_on(application, clock, tokens=4, every=30)

    assert application.rotations == 3
    assert Observation([application, person]).count_rotations(3) == 3
    assert "investready/main was rotated 0 times, not 3." in Observation([application, person]).find_failures(3)


@pytest.mark.parametrize(("log_ins", "shown"), [(1, False), (2, True)])
def test_a_fall_back_to_the_log_in_is_shown_only_if_there_was_one(
    log_ins: int, shown: bool, observe: Observe, clock: Clock
) -> None:
    seen = observe(INVESTSUITE)
    for _ in range(log_ins):
        call(seen, ask(seen, {"access_key_id": "app", "secret_access_key": "secret"}))
        clock.advance(30)

    unshown = "investsuite/main: its log-in never expired, so that no second log-in was seen."
    assert (unshown in Observation([seen]).find_failures(0)) is not shown
