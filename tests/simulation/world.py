"""A deployment in virtual time: tick, queue, rotator, getter, consumers, and the providers that they speak to.

What runs is the deployed code, from each handler's first call on. A run is decided by its seed. docs/simulation.md
says what it can find, and what it cannot.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from math import inf
from random import Random
from typing import Any, cast

from evergrant.errors import EvergrantError
from evergrant.getter.token_reader import TokenReader
from evergrant.ports import PortUnavailable
from evergrant.profiles.model import Profile
from evergrant.record.connection import Connection, RecordChange
from evergrant.record.sealed import Sealed
from evergrant.record.status import Status
from evergrant.rotation import handler
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.tick import TickPorts, tick
from evergrant.secret import fingerprint
from evergrant.settings import Settings
from evergrant.times import TICK_SECONDS
from tests.simulation.checks import Checks
from tests.simulation.connecting import Member, Registry
from tests.simulation.determinism import determined
from tests.simulation.internet import Internet
from tests.simulation.invariants import find_opened_at
from tests.simulation.ledger import Ledger, Sending, Track
from tests.simulation.scripts import Answer, Script, Trouble
from tests.simulation.servers import Terms
from tests.simulation.services import Batch, Bus, Queue, Records, ServiceFaults, Vault
from tests.simulation.timeline import Actor, Timeline, Turns
from tests.unit import memory

#: 2027-01-15T08:00:00Z
START = 1_800_000_000
#: Of rotator: its timeout, and what of it is kept for the answer; and of the scheduler.
INVOCATION_SECONDS, RESERVE_SECONDS, TICK_DEADLINE_SECONDS = 60, 1, 55
_USUAL_TERMS = Terms()
#: After which a person tries again where a service failed.
_PATIENCE_SECONDS = 60


class World:
    """One deployment and its providers.

    ``reads_every`` is how often the consumer of each connection reads its token from getter, in seconds; None: never.
    ``service_latency`` is the longest that a call of a service takes; above zero, calls interleave.
    """

    def __init__(
        self,
        seed: int = 1,
        *,
        checks: Checks | None = None,
        reads_every: int | None = 300,
        service_latency: float = 0.0,
    ) -> None:
        self.random = Random(seed)
        self.timeline = Timeline(START)
        self.settings = Settings()
        self.script, self.ledger = Script(), Ledger()
        self.faults = ServiceFaults(self.timeline, self.random)
        self.faults.max_latency = service_latency
        self.internet = Internet(self.timeline, self.random, self.ledger, self.script)
        self.records, self.vault = Records(self.faults), Vault(self.faults)
        self.vault.clients.clear()
        self.queue = Queue(self.faults, self.timeline, self.random, self.settings.rotators)
        self.ports = memory.rotation_ports(
            self.internet,
            self.timeline,
            faults=self.faults,
            records=self.records,
            vault=self.vault,
            queue=self.queue,
            bus=Bus(self.faults, self._delivered),
            profiles=cast(Any, self),
        )
        self.registry = Registry(self.internet, self.ports, self.settings, self.vault.clients)
        self.checks = checks or Checks()
        #: The share of invocations that are killed, each at some moment of its time.
        self.kills = 0.0
        self._reads_every = reads_every
        self._turns: dict[int, Turns] = {}
        self._reader = TokenReader(self.vault.read, self._ask_rotator, self.timeline.now)
        self._determined = determined(seed, self._note_failure)
        self.records.written = self._written
        self.queue.begin, self.queue.process = self._begin_batch, self._process
        self.internet.sent = self._sent
        self.internet.acted = self._acted
        self.timeline.after_event = self.checks.require
        self.timeline.at(START + self.random.uniform(0, TICK_SECONDS), self._tick)
        self.timeline.after(TICK_SECONDS, self._minute)

    def __enter__(self) -> World:
        self._determined.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.timeline.close()
        self._determined.__exit__(None, None, None)

    @property
    def now(self) -> float:
        return self.timeline.time

    def run(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0) -> None:
        """Let time pass. Raises Violated where an invariant does not hold."""
        self.timeline.run(self.now + seconds + 60 * minutes + 3600 * hours)

    # --- what there is --------------------------------------------------------------------------------------------

    def load_pinned(self, content_hash: str) -> Profile:
        return self.registry.profiles[content_hash]

    def record(self, name: str) -> Connection:
        return self.records.items[name]

    def status(self, name: str) -> Status:
        return self.records.items[name].status

    def member(self, name: str) -> Member:
        return self.registry.members[name]

    def find_valid_until(self, record: Connection) -> float:
        """Until when the token in the record works at its provider."""
        if record.sealed is None:
            return -inf
        return self.member(record.name).server.find_end(record.name, self.find_access_token(record))

    def find_access_token(self, record: Connection) -> str:
        """The access token in the record; empty without one."""
        return "" if record.sealed is None else read_access_token(record.sealed)

    # --- what happens ---------------------------------------------------------------------------------------------

    def connect(
        self,
        profile: Profile,
        count: int = 1,
        *,
        client: str | None = None,
        grant: str | None = None,
        terms: Terms = _USUAL_TERMS,
        within: float = 0.0,
        variables: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Connect so many accounts, at random moments of the next ``within`` seconds. Returns their names."""
        names = []
        for _ in range(count):
            member = self.registry.plan(profile, client, grant, terms, variables or {})
            self.ledger.tracks[member.name] = Track(member.name, profile.name)
            self.timeline.after(self.random.uniform(0, within), partial(self.reconnect, member.name))
            if self._reads_every:
                first = within + self.random.uniform(0, self._reads_every)
                self.timeline.after(first, partial(self._read_often, member.name))
            names.append(member.name)
        return names

    def trouble(
        self, answer: Answer, provider: str, *, start: float = 0.0, seconds: float = inf, **more: Any
    ) -> Trouble:
        """Let a provider be in trouble, from so many seconds ahead on and for so long."""
        trouble = Trouble(self.now + start, self.now + start + seconds, provider, answer, **more)
        self.script.troubles.append(trouble)
        return trouble

    def reconnect(self, name: str) -> None:
        """The account's owner connects it, again and again where a service fails."""
        self.ledger.note(self.now, name, "its owner connects it")
        try:
            self.registry.connect(self.member(name))
        except (PortUnavailable, EvergrantError):
            self.timeline.after(_PATIENCE_SECONDS, partial(self.reconnect, name))

    def force(self, name: str) -> dict[str, Any]:
        """What `evergrant rotate` does."""
        self.internet.forced.add(name)
        try:
            return self._ask_rotator({"connection": name, "force": True})
        finally:
            self.internet.forced.discard(name)

    def read(self, name: str) -> dict[str, Any]:
        """A consumer reads its token from getter. One that the API rejects is reported, once."""
        if name not in self.records.items:
            return {}
        answer = self._reader.read(name)
        self.checks.read(self, name, answer)
        track = self.ledger.tracks[name]
        if "error" not in answer and track.valid_until <= self.now:
            answer = self._reader.read(name, rejected=fingerprint(answer["access_token"]))
        return answer

    # --- the functions --------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self.timeline.after(TICK_SECONDS, self._tick)
        deadline = self.now + TICK_DEADLINE_SECONDS
        with suppress(PortUnavailable):  # the next one takes what is left
            tick(TickPorts(self.records, self.ports.circuits, cast(Any, self), self.queue, self.timeline), deadline)

    def _minute(self) -> None:
        self.timeline.after(TICK_SECONDS, self._minute)
        self.checks.minute(self)

    def _begin_batch(self, batch: Batch) -> None:
        batch.deadline = self.now + INVOCATION_SECONDS - RESERVE_SECONDS
        batch.killed_at = self.now + INVOCATION_SECONDS
        if self.kills and self.random.random() < self.kills:
            batch.killed_at = self.now + self.random.uniform(0, 5)
        batch.turns = Turns(self.timeline, handler.MAX_AT_PROVIDERS)

    def _process(self, batch: Batch, text: str) -> bool:
        """One message of a batch, as the handler processes it."""

        def begin() -> Rotation:
            return Rotation(self.ports, self.settings, batch.deadline, batch.turns)

        with _killed_at(batch.killed_at):
            message = {"messageId": "1", "body": text}
            failures = handler.process_batch(begin, [message], self.timeline, batch.deadline)
        return not failures["batchItemFailures"]

    def _ask_rotator(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A direct invocation of rotator."""
        deadline = self.now + INVOCATION_SECONDS - RESERVE_SECONDS
        rotation = Rotation(self.ports, self.settings, deadline)
        with _killed_at(self.now + INVOCATION_SECONDS):
            return handler.handle_request(rotation, self.ports, request)

    # --- what is seen ---------------------------------------------------------------------------------------------

    def _read_often(self, name: str) -> None:
        assert self._reads_every
        self.timeline.after(self._reads_every, partial(self._read_often, name))
        self.read(name)

    def _written(self, before: Connection, after: Connection, change: RecordChange) -> None:
        if after.sealed is not None and after.sealed != before.sealed:
            valid_until = self.find_valid_until(after)
            self.ledger.tracks[after.name].saved(self.now, read_access_token(after.sealed), valid_until)
        if after.status is not before.status:
            self.ledger.tracks[after.name].status_at = self.now
        if after.status is not before.status or after.last_error != before.last_error:
            self.ledger.note(self.now, after.name, f"{before.status} → {after.status} ({after.last_error})")
        self.checks.written(self, before, after)

    def _sent(self, sending: Sending) -> None:
        sending.is_through_endpoint = find_opened_at(self, f"endpoint#{sending.endpoint}") is not None
        last = self.ledger.tracks[sending.connection].last_answer
        sending.is_repeated = last is not None and last.known == "lost" and last.answered_at >= sending.at - 1
        self.checks.sent(self, sending)

    def _acted(self, sending: Sending) -> None:
        """A server has acted: what works now?"""
        track, record = self.ledger.tracks[sending.connection], self.records.items[sending.connection]
        if record.sealed is not None and self.find_valid_until(record) < self.now:
            track.withdrawn(self.now)

    def _delivered(self, events: Mapping[str, Mapping[str, Any]]) -> None:
        self.ledger.delivered(self.now, events.values())
        for event in events.values():
            self.checks.reported(self, event)

    def _note_failure(self, message: str, details: Mapping[str, Any]) -> None:
        self.checks.violate(self, "unexpected failure", str(details.get("connection")), f"{message}: {details}")


@contextmanager
def _killed_at(time: float) -> Iterator[None]:
    actor = threading.current_thread()
    if not isinstance(actor, Actor):
        yield
        return
    before, actor.killed_at = actor.killed_at, min(actor.killed_at, time)
    try:
        yield
    finally:
        actor.killed_at = before


def read_access_token(sealed: Sealed) -> str:
    """The access token of a sealed set."""
    return str(json.loads(memory.unseal(sealed))["access_token"])
