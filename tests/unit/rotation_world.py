"""Builds one connection that is due, with everything around it in memory, for the tests of the rotation protocol.

The provider here revokes the whole grant when a refresh token comes twice, so every double refresh attempt shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from evergrant.oauth.token_set import TokenSet
from evergrant.ports import PortUnavailable, RotationPorts
from evergrant.profiles import built_in
from evergrant.profiles.model import Profile, Rate, content_hash
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.refresh_demand import Result, TokenDemand
from evergrant.secret import Secret
from evergrant.settings import Settings
from tests.unit.memory import (
    FakeClock,
    Faults,
    MemoryBus,
    MemoryCircuits,
    MemoryProfiles,
    MemoryQueue,
    MemoryRecords,
    MemorySeal,
    MemoryVault,
    RotatingProvider,
    seal_for,
    unseal,
)

NAME = "keap/main"
LIFETIME = 86_400
KEAP = built_in.load_built_in()["keap"]
#: The calls to a port of one refresh, and which one of them asks the provider.
CALLS, REQUEST_CALL = 11, 7


def with_grace(profile: Profile, seconds: int) -> Profile:
    return msgspec.structs.replace(profile, rotation=msgspec.structs.replace(profile.rotation, reuse_grace=seconds))


def with_rate(profile: Profile) -> Profile:
    return msgspec.structs.replace(profile, rotation=msgspec.structs.replace(profile.rotation, rate=Rate(60, 60)))


@dataclass
class World:
    """One connection with a token set that is due, and everything around it."""

    faults: Faults
    clock: FakeClock
    records: MemoryRecords
    vault: MemoryVault
    provider: RotatingProvider
    queue: MemoryQueue
    bus: MemoryBus
    ports: RotationPorts
    settings: Settings
    dependency_errors: list[str] = field(default_factory=list)
    """What services refused, in all passes so far."""

    def run(self, **ask: Any) -> Result:
        rotation = Rotation(self.ports, self.settings, self.clock.now() + 59)
        try:
            return rotation.run(TokenDemand(NAME, **ask))
        finally:
            self.dependency_errors += rotation.dependency_errors

    def receive(self) -> None:
        """Work through the rotation queue, as the next workers would."""
        messages, self.queue.messages = self.queue.messages, []
        for message, _ in messages:
            rotation = Rotation(self.ports, self.settings, self.clock.now() + 59)
            if message.get("task") != "save" or rotation.save_from_queue(message):
                rotation.run(TokenDemand(NAME))

    def record(self) -> Connection:
        return self.records.items[NAME]

    @property
    def stored(self) -> TokenSet:
        sealed = self.record().sealed
        assert sealed
        return TokenSet.decode(unseal(sealed))


def world(profile: Profile = KEAP, *, lifetime: int = LIFETIME, due: bool = True, **fields: Any) -> World:
    faults, clock = Faults(), FakeClock()
    records, vault, queue, bus = MemoryRecords(faults), MemoryVault(faults), MemoryQueue(faults), MemoryBus(faults)
    provider = RotatingProvider(faults, clock, lifetime, profile.rotation.reuse_grace)
    issued_at = int(clock.now()) - (lifetime * 7 // 8 if due else 60)
    tokens = TokenSet(
        access_token=Secret("access-0"),
        issued_at=issued_at,
        expires_at=issued_at + lifetime,
        expiry_rule="expires_in:seconds",
        refresh_token=Secret("refresh-0"),
    )
    connection = Connection(
        name=NAME,
        status=Status.ACTIVE,
        grant="authorization_code",
        client="keap",
        profile_hash=content_hash(profile),
        variables={"host": "api.example.com", "audience": "https://api.example.com"},
        redirect_uri="https://grants.example.com/callback",
        generation=1,
        published_generation=1,
        issued_at=tokens.issued_at,
        expires_at=tokens.expires_at,
        refresh_at=int(clock.now()) if due else tokens.expires_at - 10_800,
        due_at=int(clock.now()),
        due_shard="0",
    )
    connection = replace(connection, **fields)
    if "sealed" not in fields:
        connection = replace(connection, sealed=seal_for(connection, profile, tokens))
    records.items[NAME] = connection
    profiles, circuits = MemoryProfiles(profile), MemoryCircuits(faults)
    ports = RotationPorts(records, profiles, vault, MemorySeal(faults), provider, queue, clock, bus, circuits)
    return World(faults, clock, records, vault, provider, queue, bus, ports, Settings())


def down(*_: Any, **__: Any) -> Any:
    raise PortUnavailable("made to fail")


def after_the_answer(w: World, happens: Callable[[], None]) -> None:
    """Have something happen between the provider's answer and the save."""
    send = w.provider.send

    def answered(*args: Any, **kwargs: Any) -> Any:
        response = send(*args, **kwargs)
        happens()
        return response

    w.provider.send = answered  # type: ignore[method-assign]


def break_table(w: World) -> None:
    w.records.change = down  # type: ignore[method-assign]


def table_down_after_the_answer(w: World, seconds: int) -> None:
    """From the provider's answer on, which need not be one of ours to save."""
    change = w.records.change

    def broken() -> None:
        until = w.clock.now() + seconds

        def when_up(*args: Any, **kwargs: Any) -> Connection:
            if w.clock.now() < until:
                raise PortUnavailable("the table is down")
            return change(*args, **kwargs)

        w.records.change = when_up  # type: ignore[method-assign]

    after_the_answer(w, broken)
