"""Builds several connections of one client at one provider, with everything around them in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

from evergrant.errors import NotSent
from evergrant.http_messages import HttpRequest, HttpResponse
from evergrant.oauth.token_set import TokenSet
from evergrant.ports import RotationPorts
from evergrant.profiles import built_in
from evergrant.profiles.model import content_hash
from evergrant.record import queued_wakeup, refresh_schedule
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.refresh_demand import Result, TokenDemand
from evergrant.secret import Secret
from evergrant.settings import Settings
from tests.unit.memory import (
    CLIENT,
    FakeClock,
    Faults,
    MemoryBus,
    MemoryCircuits,
    MemoryKey,
    MemoryProfiles,
    MemoryQueue,
    MemoryRecords,
    MemorySeal,
    MemoryVault,
    answer,
)

KEAP = built_in.load_built_in()["keap"]
ENDPOINT = "https://api.example.com/token"


@dataclass
class Provider:
    """Rotates as it should; ``works`` is whether it accepts the client, ``dead`` whose grants it does not,
    and ``unauthorized`` what it answers to the connections that the client may not use."""

    faults: Faults
    works: bool = True
    vague: bool = False
    down: bool = False
    dead: set[str] = field(default_factory=set)
    unauthorized: Mapping[str, HttpResponse] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def send(self, request: HttpRequest, *, hosts: tuple[str, ...], timeout: float) -> HttpResponse:
        token = dict(parse_qsl(request.body.decode()))["refresh_token"]
        name = token.partition(" ")[0]
        self.asked.append(name)
        if self.down:
            raise NotSent("no route")
        failure = lambda: NotSent("made to fail")  # noqa: E731
        return self.faults.around("provider.send", lambda: self._answer(name), failure)  # type: ignore[no-any-return]

    def _answer(self, name: str) -> HttpResponse:
        if name in self.unauthorized:
            return self.unauthorized[name]
        if not self.works:
            return answer(400, b"") if self.vague else answer(401, {"error": "invalid_client"})
        if name in self.dead:
            return answer(400, b"") if self.vague else answer(400, {"error": "invalid_grant"})
        return answer(200, {"access_token": "new", "refresh_token": f"{name} next", "expires_in": 86_400})


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

    def run(self, name: str, **ask: Any) -> Result:
        return Rotation(self.ports, Settings(), self.clock.now() + 59).run(TokenDemand(name, **ask))

    def run_all(self) -> None:
        """A tick: what is due runs, in the order of the names."""
        for name in sorted(self.records.items):
            if (self.records.items[name].due_at or 0) <= self.clock.now():
                self.run(name)

    def receive(self) -> None:
        """Work through the rotation queue, and everything that comes of it."""
        messages, self.queue.messages = self.queue.messages, []
        for message, _ in messages:
            self.run(message["connection"], woken=message.get("task") == queued_wakeup.TASK)

    def pass_time(self, seconds: int, step: int = 60) -> None:
        """Ticks and messages, minute by minute."""
        for _ in range(seconds // step):
            self.clock.advance(step)
            self.run_all()
            self.receive()

    def status(self, name: str) -> Status:
        return self.records.items[name].status

    @property
    def is_open(self) -> bool:
        return self.circuits.get("keap").is_open

    def store_secret(self, version: str, *, works: bool) -> None:
        self.vault.clients["keap"] = replace(CLIENT, version=version)
        self.provider.works = works


def fleet(*names: str, due: bool = True, **behaviour: Any) -> Fleet:
    faults, clock = Faults(), FakeClock()
    records, circuits = MemoryRecords(faults), MemoryCircuits(faults)
    vault, queue, bus, provider = MemoryVault(faults), MemoryQueue(faults), MemoryBus(faults), Provider(faults)
    for name, value in behaviour.items():
        setattr(provider, name, value)
    for name in names:
        records.items[name] = connection(name, int(clock.now()), due=due)
    profiles = MemoryProfiles(KEAP)
    ports = RotationPorts(records, profiles, vault, MemorySeal(faults), provider, queue, clock, bus, circuits)
    return Fleet(ports, provider, clock, faults, records, circuits, queue, bus, vault)


def connection(name: str, now: int, *, due: bool = True) -> Connection:
    issued_at = now - 75_600
    tokens = TokenSet(Secret("old"), issued_at, issued_at + 86_400, "r", Secret(f"{name} first"))
    refresh_at = now if due else now + 7200
    return Connection(
        name,
        Status.ACTIVE,
        "authorization_code",
        "keap",
        content_hash(KEAP),
        variables={"host": "api.example.com"},
        endpoint=ENDPOINT,
        generation=1,
        published_generation=1,
        sealed=MemoryKey(name, 1).seal(tokens.encode()),
        issued_at=tokens.issued_at,
        expires_at=tokens.expires_at,
        refresh_at=refresh_at,
        due_at=refresh_at,
        due_shard=refresh_schedule.choose_shard(name),
    )
