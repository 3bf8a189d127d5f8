"""Builds several connections of one client at one provider, with everything around them in memory."""

from __future__ import annotations

import heapq
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

from evergrant.adapters.observability import metrics
from evergrant.errors import ConnectionProblem, NotSent, TemporarilyUnavailable
from evergrant.http_messages import HttpRequest, HttpResponse
from evergrant.oauth.token_set import TokenSet
from evergrant.ports import PortUnavailable, RotationPorts
from evergrant.profiles import built_in
from evergrant.profiles.model import content_hash
from evergrant.record import refresh_schedule
from evergrant.record.alerts import is_alert
from evergrant.record.circuit import Circuit, create_client_key, create_endpoint_key
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.handler import process_task
from evergrant.rotation.refresh_demand import Result, TokenDemand
from evergrant.rotation.tick import Tick, TickPorts, tick
from evergrant.secret import Secret
from evergrant.settings import Settings
from evergrant.times import TICK_SECONDS
from tests.unit.memory import (
    CLIENT,
    Crash,
    FakeClock,
    Faults,
    MemoryBus,
    MemoryCircuits,
    MemoryProfiles,
    MemoryQueue,
    MemoryRecords,
    MemorySeal,
    MemoryVault,
    answer,
    seal_again,
    seal_for,
    unseal,
)

KEAP = built_in.load_built_in()["keap"]
ENDPOINT = "https://api.example.com/token"
CLIENT_KEY, ENDPOINT_KEY = create_client_key("keap"), create_endpoint_key(ENDPOINT)


#: What a provider says instead of a token set.
REFUSED_CLIENT = answer(401, {"error": "invalid_client"})
DEAD_GRANT = answer(400, {"error": "invalid_grant"})
BLANK = answer(401, b"")
DOWN = answer(503, b"<html>", content_type="text/html")


@dataclass
class Provider:
    """Rotates as it should, except for the connections of ``says``, and unless it says ``to_all`` to all others."""

    faults: Faults
    clock: FakeClock
    says: dict[str, HttpResponse | Exception] = field(default_factory=dict)
    to_all: HttpResponse | Exception | None = None
    lifetime: int = 86_400
    asked: list[str] = field(default_factory=list)
    asked_at: list[float] = field(default_factory=list)

    def send(self, request: HttpRequest, *, hosts: tuple[str, ...], timeout: float) -> HttpResponse:
        name = dict(parse_qsl(request.body.decode()))["refresh_token"].partition(" ")[0]
        self.asked.append(name)
        self.asked_at.append(self.clock.now())
        failure = lambda: NotSent("made to fail")  # noqa: E731
        return self.faults.around("provider.send", lambda: self._answer(name), failure)  # type: ignore[no-any-return]

    def _answer(self, name: str) -> HttpResponse:
        said = self.says.get(name, self.to_all)
        if isinstance(said, Exception):
            raise said
        new = {"access_token": f"new-{len(self.asked)}", "refresh_token": f"{name} next", "expires_in": self.lifetime}
        return said or answer(200, new)


@dataclass
class Fleet:
    """Connections of one client that are due, and everything around them."""

    ports: RotationPorts
    provider: Provider
    clock: FakeClock
    faults: Faults
    records: MemoryRecords
    circuits: MemoryCircuits
    queue: MemoryQueue
    bus: MemoryBus
    vault: MemoryVault
    #: Messages on their way: when they arrive, and in which order they were sent.
    waiting: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list)
    sent: int = 0

    def run(self, name: str, **ask: Any) -> Result:
        return self.start().run(TokenDemand(name, **ask))

    def force(self, name: str) -> None:
        """Refresh at once, as an operator does."""
        with suppress(ConnectionProblem, TemporarilyUnavailable):
            self.run(name, caller_waits=True, force=True)

    def start(self) -> Rotation:
        return Rotation(self.ports, Settings(), self.clock.now() + 59)

    def run_all(self) -> None:
        """Have each connection that is due run, in the order of the names."""
        for name in sorted(self.records.items):
            if (self.records.items[name].due_at or 0) <= self.clock.now():
                self.run(name)

    def tick(self) -> Tick:
        ports = TickPorts(self.records, self.circuits, self.ports.profiles, self.queue, self.clock)
        return tick(ports, self.clock.now() + 50)

    def receive(self, until: float | None = None) -> None:
        """Work through the rotation queue, and everything that comes of it, up to a moment: without one, up to now."""
        until = self.clock.now() if until is None else until
        while True:
            self._take()
            if not self.waiting or self.waiting[0][0] > until:
                return
            at, _, message = heapq.heappop(self.waiting)
            self.clock.time = max(self.clock.time, at)
            with suppress(Crash, PortUnavailable):
                process_task(self.start(), message)
                metrics.clear_metrics()  # as the handler does, at the end of each invocation

    def _take(self) -> None:
        messages, self.queue.messages = self.queue.messages, []
        for message, delay in messages:
            self.sent += 1
            heapq.heappush(self.waiting, (self.clock.now() + delay, self.sent, message))

    def pass_time(self, seconds: int) -> None:
        """Ticks, and messages at their times."""
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            next_tick_at = self.clock.now() + TICK_SECONDS
            with suppress(PortUnavailable):
                self.tick()
            self.receive(next_tick_at)
            self.clock.time = max(self.clock.time, next_tick_at)

    def status(self, name: str) -> Status:
        return self.records.items[name].status

    @property
    def client(self) -> Circuit:
        return self.circuits.items.get(CLIENT_KEY, Circuit(CLIENT_KEY))

    @property
    def endpoint(self) -> Circuit:
        return self.circuits.items.get(ENDPOINT_KEY, Circuit(ENDPOINT_KEY))

    @property
    def alerts(self) -> list[str]:
        """The types of the events that are alerts."""
        return [str(event["type"]) for event in self.bus.events.values() if is_alert(event)]

    def store_entry(self, version: str) -> None:
        """Store another entry of the client."""
        self.vault.clients["keap"] = replace(CLIENT, version=version)

    def expire(self, *names: str, left: int = -1, **fields: Any) -> None:
        """Have tokens expire, in so many seconds."""
        for name in names or list(self.records.items):
            record = self.records.items[name]
            assert record.sealed
            tokens = TokenSet.decode(unseal(record.sealed))
            issued_at = int(self.clock.now()) + left - 86_400
            tokens = replace(tokens, issued_at=issued_at, expires_at=issued_at + 86_400)
            sealed = seal_again(name, record.generation, tokens)
            life: dict[str, Any] = {"issued_at": issued_at, "expires_at": tokens.expires_at, "sealed": sealed}
            self.records.items[name] = replace(record, **life, **fields)


def fleet(*names: str, due: bool = True, **behaviour: Any) -> Fleet:
    faults, clock = Faults(), FakeClock()
    records, circuits = MemoryRecords(faults), MemoryCircuits(faults)
    vault, queue, bus = MemoryVault(faults), MemoryQueue(faults), MemoryBus(faults)
    vault.clients["keap"] = replace(CLIENT, version="v1")
    provider = Provider(faults, clock, **behaviour)
    for name in names:
        records.items[name] = connection(name, int(clock.now()), due=due)
    profiles = MemoryProfiles(KEAP)
    ports = RotationPorts(records, profiles, vault, MemorySeal(faults), provider, queue, clock, bus, circuits)
    return Fleet(ports, provider, clock, faults, records, circuits, queue, bus, vault)


def connection(name: str, now: int, *, due: bool = True) -> Connection:
    issued_at = now - 75_600
    tokens = TokenSet(Secret("old"), issued_at, issued_at + 86_400, "r", Secret(f"{name} first"))
    refresh_at = now if due else now + 7200
    record = Connection(
        name,
        Status.ACTIVE,
        "authorization_code",
        "keap",
        content_hash(KEAP),
        variables={"host": "api.example.com"},
        endpoint=ENDPOINT,
        generation=1,
        published_generation=1,
        issued_at=tokens.issued_at,
        expires_at=tokens.expires_at,
        refresh_at=refresh_at,
        due_at=refresh_at,
        due_shard=refresh_schedule.choose_shard(name),
    )
    return replace(record, sealed=seal_for(record, KEAP, tokens))
