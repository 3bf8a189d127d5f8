"""Protects whole days: short-lived tokens are served fresh from morning to evening, no provider is asked more often
than their lives demand, and no secret is written more often than Secrets Manager takes.

The scheduler's tick, the rotation queue, rotator and getter run together, five simulated seconds at a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from evergrant.adapters.observability import metrics
from evergrant.connect import operator_actions
from evergrant.getter.token_reader import MIN_TTL_SECONDS, TokenReader
from evergrant.http_messages import HttpRequest, HttpResponse
from evergrant.oauth.client import Client
from evergrant.ports import RotationPorts
from evergrant.profiles import built_in
from evergrant.profiles.model import content_hash
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.handler import handle_request, process_batch
from evergrant.rotation.tick import TickPorts, tick
from evergrant.secret import Secret
from evergrant.settings import Settings
from evergrant.times import DAY_SECONDS, TICK_SECONDS
from tests.unit.memory import (
    FakeClock,
    Faults,
    MemoryBus,
    MemoryCircuits,
    MemoryProfiles,
    MemoryRecords,
    MemorySeal,
    MemoryVault,
)
from tests.unit.memory import answer as answered

INVESTSUITE = built_in.load_built_in()["investsuite"]
NAME, HOST = "investsuite/main", "suite.example.com"
CLIENT = Client(
    "investsuite",
    None,
    (),
    (HOST,),
    {"access_key_id": Secret("key-1"), "secret_access_key": Secret("canary-secret")},
)
#: A consumer reads this often (seconds).
EVERY = 5
#: One write to a secret per 10 minutes, sustained; about 100 versions of one secret, and none younger than a day is
#: pruned (Secrets Manager user guide, "AWS Secrets Manager quotas" and "What's in a Secrets Manager secret?").
LEAST_BETWEEN_WRITES, MOST_VERSIONS = 600, 100


class Suite:
    """InvestSuite's server: a log-in, a refresh, and tokens that live for so many seconds."""

    def __init__(self, clock: FakeClock, lifetime: int) -> None:
        self.clock, self.lifetime = clock, lifetime
        self.live: dict[str, float] = {}
        self.asked: list[str] = []

    def send(self, request: HttpRequest, *, hosts: tuple[str, ...], timeout: float) -> HttpResponse:
        path, sent = request.url.removeprefix(f"https://{HOST}"), json.loads(request.body)
        if path == "/auth/login/":
            assert sent == {"access_key_id": "key-1", "secret_access_key": "canary-secret"}
        else:
            assert path == "/auth/refresh-token/"
            assert sent == {"refresh_token": f"refresh-{len(self.asked)}"}
        self.asked.append(path)
        number = len(self.asked)
        self.live[f"access-{number}"] = self.clock.now() + self.lifetime
        body = {"access_token": f"access-{number}", "refresh_token": f"refresh-{number}", "expires_at": self.lifetime}
        return answered(200, body)


class RepeatingSuite(Suite):
    """Hands out the same access token until it has expired, with the seconds that it has left."""

    def send(self, request: HttpRequest, *, hosts: tuple[str, ...], timeout: float) -> HttpResponse:
        response = super().send(request, hosts=hosts, timeout=timeout)
        issued = json.loads(response.body)
        living = [name for name, ends_at in self.live.items() if ends_at > self.clock.now()]
        first = living[0]
        if first != issued["access_token"]:
            del self.live[issued["access_token"]]
        left = int(self.live[first] - self.clock.now())
        return answered(200, {**issued, "access_token": first, "expires_at": left})


class TimedQueue:
    """The rotation queue: messages arrive after their delay."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.waiting: list[tuple[float, str]] = []

    def send(self, message: Mapping[str, Any], delay: int = 0) -> None:
        self.waiting.append((self.clock.now() + delay, json.dumps(message)))

    def send_many(self, messages: Sequence[tuple[Mapping[str, Any], int]]) -> int:
        for message, delay in messages:
            self.send(message, delay)
        return len(messages)

    def arrived(self) -> list[str]:
        now = self.clock.now()
        ready = [body for at, body in self.waiting if at <= now]
        self.waiting = [(at, body) for at, body in self.waiting if at > now]
        return ready


class TimedVault(MemoryVault):
    """Writes down when the secret was written."""

    def __init__(self, faults: Faults, clock: FakeClock) -> None:
        super().__init__(faults)
        self.clients = {"investsuite": CLIENT}
        self.clock = clock
        self.writes: list[float] = []

    def put(self, connection: str, document: Mapping[str, Any], version: str) -> None:
        if version not in self.versions:
            self.writes.append(self.clock.now())
        super().put(connection, document, version)


@dataclass
class Day:
    """What a day came to: the least remaining life of any answer of getter and of any direct read (seconds)."""

    asked: list[str]
    writes: list[float]
    reads: int = 0
    least_from_getter: float = float("inf")
    least_directly: float = float("inf")
    least_recorded: float = float("inf")
    events: list[str] = field(default_factory=list)


def a_night(lifetime: int, server: type[Suite]) -> Day:
    """Twelve hours, second by second, in which no consumer asks getter."""
    return a_day(lifetime, server, hours=12, every=1, asks=False)


def a_day(lifetime: int, server: type[Suite] = Suite, hours: int = 24, every: int = EVERY, *, asks: bool = True) -> Day:
    faults, clock = Faults(), FakeClock()
    records, queue, vault = MemoryRecords(faults), TimedQueue(clock), TimedVault(faults, clock)
    provider, bus, profiles = server(clock, lifetime), MemoryBus(faults), MemoryProfiles(INVESTSUITE)
    circuits = MemoryCircuits(faults)
    ports = RotationPorts(records, profiles, vault, MemorySeal(faults), provider, queue, clock, bus, circuits)
    settings = Settings()

    def rotation() -> Rotation:
        return Rotation(ports, settings, clock.now() + 59)

    reader = TokenReader(
        lambda name: dict(vault.published[name]) if name in vault.published else None,
        lambda request: handle_request(rotation(), ports, request),
        clock.now,
    )
    authorization, grant = operator_actions.plan(INVESTSUITE, NAME, variables={"host": HOST})
    operator_actions.begin(records, authorization, grant, clock)
    day, started_at = Day(provider.asked, vault.writes), clock.now()
    while clock.now() < started_at + hours * 3600:
        if (clock.now() - started_at) % TICK_SECONDS == 0:
            tick(TickPorts(records, circuits, profiles, queue, clock), clock.now() + 50)
        messages = [{"messageId": str(number), "body": body} for number, body in enumerate(queue.arrived())]
        assert process_batch(rotation, messages, clock, clock.now() + 60) == {"batchItemFailures": []}
        metrics.clear_metrics()  # a day's metrics would be more than one invocation may hold
        if asks:
            document = reader.read(NAME)
            assert "error" not in document, document
            left = provider.live[document["access_token"]] - clock.now()
            assert datetime.fromisoformat(document["expires_at"]).timestamp() == provider.live[document["access_token"]]
            assert document["expires_in"] == left
            day.least_from_getter = min(day.least_from_getter, left)
        day.least_recorded = min(day.least_recorded, (records.items[NAME].expires_at or 0) - clock.now())
        if vault.published:
            token = vault.published[NAME]["access_token"]
            day.least_directly = min(day.least_directly, provider.live[token] - clock.now())
        day.reads += 1
        clock.advance(every)
    day.events = sorted(set(bus.types))
    assert content_hash(INVESTSUITE) == records.items[NAME].profile_hash
    return day


@pytest.mark.parametrize("lifetime", [300, 600, 1799])
def test_tokens_of_minutes_are_served_all_day_and_write_no_secret(lifetime: int) -> None:
    """Tokens that live for minutes are served fresh all day, and no secret is written."""
    day = a_day(lifetime)
    assert day.reads == DAY_SECONDS // EVERY
    assert day.least_from_getter > max(MIN_TTL_SECONDS, lifetime // 4)
    assert day.writes == []
    # One log-in, and then a refresh each half-life, with up to a tenth of a life of jitter; never more.
    assert day.asked[0] == "/auth/login/"
    assert set(day.asked[1:]) == {"/auth/refresh-token/"}
    lead = min(600, lifetime // 2)
    most, least = lifetime - lead, lifetime - lead - min(lifetime // 10, lead // 2) - EVERY
    assert DAY_SECONDS / (most + 2 * EVERY) - 1 <= len(day.asked) <= DAY_SECONDS / least + 1
    assert day.events == ["Connection Authorized", "Token Rotated"]


@pytest.mark.parametrize("lifetime", [1800, 3600])
def test_secrets_of_longer_lived_tokens_are_written_within_the_quota(lifetime: int) -> None:
    """The secret of a longer-lived token is written as seldom as Secrets Manager demands."""
    day = a_day(lifetime)
    assert day.least_from_getter >= 300
    assert day.least_directly >= 300, "a consumer that caches for five minutes never sends a dead token"
    assert len(day.writes) == len(day.asked)
    between = [later - earlier for earlier, later in zip(day.writes, day.writes[1:], strict=False)]
    assert min(between) > LEAST_BETWEEN_WRITES
    assert len(day.writes) < MOST_VERSIONS


@pytest.mark.parametrize("lifetime", [60, 300, 3600])
def test_a_server_that_repeats_tokens_is_served_without_a_dead_second(lifetime: int) -> None:
    night = a_night(lifetime, RepeatingSuite)
    assert night.reads == 12 * 3600
    assert min(night.least_recorded, night.least_directly) > 0
    assert len(night.asked) <= 2 * 12 * 3600 / lifetime + 1, "once before the end, and once at the end"
    assert night.events == ["Connection Authorized", "Token Rotated"]
