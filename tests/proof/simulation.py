"""A connection and everything around it, with a witness at every port, and the worlds that come of it.

A world can be photographed and put back, so that every fault is tried from the very same state, and two histories that
led to the same state are followed once.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, cast
from unittest import mock

from evergrant import deferred, published, rotating, schedule, transitions
from evergrant.asking import Ask
from evergrant.code_exchange import CodeExchange
from evergrant.connection import AT_REST, Connection, EventType, Status
from evergrant.dialect import Client
from evergrant.errors import Conflict, EvergrantError
from evergrant.granting import Granting, demand_connected
from evergrant.ports import PortUnavailable
from evergrant.profile import HEADLESS, Profile
from evergrant.rotation import Ports, Rotation
from evergrant.secret import Secret
from evergrant.settings import Settings
from evergrant.tickets import Authorization
from evergrant.tokens import TokenSet
from tests.proof.faults import Faults
from tests.proof.provider import StrictProvider
from tests.unit import memory, test_rotation
from tests.unit.memory import Crash, FakeClock, MemoryKey

NAME = test_rotation.NAME
INVOCATION = 60
REDELIVERY, DELIVERIES = 360, 5
_NEVER_IN_CLEAR = re.compile(r"refresh-\d|access-\d|canary")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{12}4[0-9a-f]{19}")
_EVENT_OF = {
    Status.ACTIVE: {EventType.ROTATED, EventType.AUTHORIZED},
    Status.DEGRADED: {EventType.DEGRADED},
    Status.AUTHORIZATION_REQUIRED: {EventType.AUTHORIZATION_REQUIRED},
    Status.CLIENT_REFUSED: {EventType.CLIENT_REFUSED},
    Status.DISCONNECTED: {EventType.DISCONNECTED},
}


class Records(memory.MemoryRecords):
    """The table, with a witness: what is written is fenced, sealed, and told of."""

    witness: Simulation
    down_until = 0.0

    def apply(
        self,
        connection: str,
        changes: dict[str, Any],
        only_if: dict[str, Any],
        lease_free_at: int | None,
        change_id: str,
    ) -> Connection:
        if self.witness.clock.now() < self.down_until:
            raise PortUnavailable("the table is down")
        before = self.items.get(connection)
        after = super().apply(connection, changes, only_if, lease_free_at, change_id)
        self.history.clear()
        if before is not None and after is not before and self.items[connection] is not before:
            self.witness.written(before, after)
        return after


class Queue(memory.MemoryQueue):
    witness: Simulation

    def arrive(self, text: str, delay: int) -> None:
        assert not _NEVER_IN_CLEAR.search(text), "a token in a message"
        message = json.loads(text)
        if message.get("task") == deferred.TASK:
            self.witness.kept(deferred.changes_of(message)["sealed"])
        self.messages.append((message, int(self.witness.clock.now()) + delay))


class Bus(memory.MemoryBus):
    def take(self, events: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
        assert not _NEVER_IN_CLEAR.search(str(events)), "a token in an event"
        return super().take(events)


class Vault(memory.MemoryVault):
    witness: Simulation

    def put(self, connection: str, document: Mapping[str, Any], version: str) -> None:
        assert "refresh-" not in str(document), "a refresh token where consumers look"
        seen = self.witness.seen
        assert document["access_token"] not in seen.received - seen.kept, "published before it is saved"
        super().put(connection, document, version)


class Log:
    """What rotator writes for people: seen, and thrown away."""

    def __getattr__(self, level: str) -> Callable[..., None]:
        def written(*args: Any, **details: Any) -> None:
            assert not _NEVER_IN_CLEAR.search(f"{args} {details}"), "a token in a log"

        return written


class Profiles:
    def __init__(self, faults: Faults, profile: Profile) -> None:
        self._faults = faults
        self._profile = profile

    def pinned(self, content_hash: str) -> Profile:
        return self._faults.around("profiles.pinned", lambda: self._profile, memory._unavailable)  # type: ignore[no-any-return]


@dataclass
class Seen:
    """What the witness has seen of a history."""

    #: Token sets that reached a worker; that were written down sealed; that a worker took with it when it was killed.
    received: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    windows: tuple[str, ...] = ()
    told: Mapping[str, str] = field(default_factory=dict)
    #: The newest grant that was there when the connection was disconnected.
    given_up: int = -1

    @property
    def lost(self) -> tuple[str, ...]:
        """The windows of unavoidable loss: killed with an answer that was not written down yet, nor arrived since."""
        return tuple(window for window in self.windows if window.rpartition(" ")[2] not in self.kept)


class Simulation:
    """One connection in one scenario."""

    def __init__(
        self,
        profile: Profile,
        *,
        lifetime: int = test_rotation.LIFETIME,
        due: bool = True,
        faults_of: Callable[[FakeClock, Callable[[], object]], Faults] = Faults,
        **fields: Any,
    ) -> None:
        self.clock = FakeClock()
        self.faults = faults_of(self.clock, lambda: self.meanwhile())
        base = test_rotation.world(profile, lifetime=lifetime, due=due, **fields)
        self.profile = profile
        self.meanwhile: Callable[[], object] = self.worker
        grace = profile.rotation.reuse_grace
        self.records, self.queue, self.bus = Records(self.faults), Queue(self.faults), Bus(self.faults)
        self.records.witness = self.queue.witness = self
        self.vault = Vault(self.faults)
        self.vault.witness = self
        self.seen = Seen()
        self.provider = StrictProvider(self.faults, self.clock, lifetime, grace)
        self.provider.received = self.received
        self.provider.lapsed = lambda: (self.record.expires_at or 0) <= self.clock.now()
        self.settings = Settings()
        self.circuits = memory.MemoryCircuits(self.faults)
        self.seal = memory.MemorySeal(self.faults)
        self.ports = Ports(
            self.records,
            self.seal,
            self.vault,
            self.provider,
            self.queue,
            self.bus,
            cast(Any, Profiles(self.faults, profile)),
            self.clock,
            self.circuits,
        )
        #: No tick comes before.
        self.next_tick = 0.0
        record = base.record()
        record = replace(record, **transitions.next_at(record, record.refresh_at))
        self.records.items[NAME] = record
        if record.sealed:
            refresh_token = None if record.grant == "client_credentials" else Secret("refresh-0-0")
            tokens = replace(base.stored, access_token=Secret("access-0-0"), refresh_token=refresh_token)
            self.records.items[NAME] = replace(record, sealed=MemoryKey(NAME, record.generation).seal(tokens.encode()))
            if lifetime >= self.settings.direct_read_min_lifetime:
                document = published.document(record, profile, tokens)
                self.vault.put(NAME, document, published.request_token(record, document))
        self.vault.clients["login"] = Client(
            "login", None, (), ("api.example.com",), {"username": Secret("ann"), "password": Secret("canary-password")}
        )
        self._held = (
            *((self.records, name) for name in ("items", "change_ids", "down_until")),
            *((self.vault, name) for name in ("versions", "current_version")),
            *((self.queue, name) for name in ("messages",)),
            *((self.bus, name) for name in ("events",)),
            *(
                (self.provider, name)
                for name in ("live", "spent", "sent", "number", "resent", "forced", "after_answer")
            ),
            *((self.faults, name) for name in ("pending",)),
            *((self.circuits, name) for name in ("items",)),
            *((self.clock, name) for name in ("time",)),
            *((self, name) for name in ("seen", "next_tick")),
        )

    # --- photographs ------------------------------------------------------------------------------------------

    def photograph(self) -> tuple[Any, ...]:
        return tuple(copy(getattr(owner, name)) for owner, name in self._held)

    def put_back(self, photograph: tuple[Any, ...]) -> None:
        for (owner, name), value in zip(self._held, photograph, strict=True):
            setattr(owner, name, copy(value))

    def likeness(self) -> str:
        """Equal for worlds that differ in nothing but the names that chance gives."""
        seen = self.seen
        parts = [
            memory.shown(self.records.items),
            repr(self.records.change_ids) if self.faults.pending else "",
            repr((self.vault.current_version, sorted(self.vault.versions))),
            repr((self.queue.messages, self.circuits.items)),
            repr(sorted((body["type"], body["at"]) for body in self.bus.events.values())),
            repr((self.provider.live, self.provider.spent, self.provider.sent, self.provider.resent)),
            repr(
                (
                    self.faults.pending,
                    self.clock.time,
                    self.next_tick,
                    self.records.down_until,
                    bool(self.provider.after_answer),
                )
            ),
            repr((sorted(seen.received), sorted(seen.kept), seen.windows, sorted(seen.told.values()), seen.given_up)),
            repr(sorted(key in self.bus.events for key in seen.told)),
        ]
        names: dict[str, str] = {}
        return _UUID.sub(lambda found: names.setdefault(found[0], f"<{len(names)}>"), "\n".join(parts))

    # --- the witness ------------------------------------------------------------------------------------------

    @property
    def record(self) -> Connection:
        return self.records.items[NAME]

    @property
    def stored(self) -> TokenSet | None:
        sealed = self.record.sealed
        return TokenSet.decode(bytes(255 - byte for byte in sealed.text)) if sealed else None

    def received(self, access_token: str) -> None:
        self.seen = replace(self.seen, received=self.seen.received | {access_token})
        self.faults.in_hand.add(access_token)

    def kept(self, sealed: Any) -> None:
        tokens = TokenSet.decode(bytes(255 - byte for byte in sealed.text))
        self.seen = replace(self.seen, kept=self.seen.kept | {tokens.access_token.reveal()})

    def written(self, before: Connection, after: Connection) -> None:
        assert not _NEVER_IN_CLEAR.search(repr(after)), "a token in the record"
        assert after.generation >= before.generation, "a generation went back"
        if after.sealed != before.sealed and after.sealed is not None:
            assert after.generation == before.generation + 1, "a save that is not fenced"
            self.kept(after.sealed)
        if before.spend_id and not after.spend_id and after.generation == before.generation:
            assert after.status is Status.DISCONNECTED or not self._acted(), "a marker was dropped, and it was spent"
        added = {key: body for key, body in after.outbox.items() if key not in before.outbox}
        kinds = {body["type"] for body in added.values()}
        for key, body in added.items():
            assert self.seen.told.get(key, body["type"]) == body["type"], "one event has one content"
        self.seen = replace(self.seen, told={**self.seen.told, **{key: body["type"] for key, body in added.items()}})
        if after.status is not before.status:
            self._changed(before, after, kinds)

    def _acted(self) -> bool:
        """Whether the provider has spent the stored refresh token while nobody here can know what came of it."""
        if self.record.grant in HEADLESS:
            return False
        stored = self.stored
        token = stored.refresh_token.reveal() if stored and stored.refresh_token else None
        last = self.provider.sent.get(token or "", ())
        return self.profile.rotation.rotates and token in self.provider.spent and last[-1].known != "refused"

    def _changed(self, before: Connection, after: Connection, kinds: set[str]) -> None:
        if after.status is Status.DISCONNECTED:
            self.seen = replace(self.seen, given_up=max(self.provider.live))
        by_operator = before.status in AT_REST or after.status in (Status.PAUSED, Status.AWAITING_AUTHORIZATION)
        if not by_operator:
            assert kinds & _EVENT_OF[after.status], f"{before.status} became {after.status} and nobody is told"
        if after.status is Status.AUTHORIZATION_REQUIRED and before.status not in AT_REST:
            doubtful = after.spend_id is not None and after.spend_tries > 0
            assert doubtful or not self.alive, "a person is asked for nothing"

    @property
    def alive(self) -> bool:
        """Whether the stored refresh token is the live one of its grant."""
        stored = self.stored
        return bool(stored and stored.refresh_token) and (
            cast(Any, stored).refresh_token.reveal() in self.provider.live.values()
        )

    @property
    def overtaken(self) -> bool:
        """Whether an older version came in after a newer one."""
        return self.vault.current_version.get(NAME) != max(self.vault.versions, default=None)

    # --- who acts ---------------------------------------------------------------------------------------------

    @contextmanager
    def invocation(self) -> Iterator[None]:
        """One Lambda invocation: what it holds when it is killed is lost, and nothing else."""
        before, self.faults.in_hand = self.faults.in_hand, set()
        self.faults.killed_at = self.clock.now() + INVOCATION
        try:
            yield
        except Crash as crash:
            if self.record.grant in HEADLESS:
                raise  # another answer is to be had at any time
            lost = self.faults.in_hand - self.seen.kept
            if lost:
                self.seen = replace(self.seen, windows=(*self.seen.windows, f"killed at {crash} with {min(lost)}"))
            raise
        finally:
            self.faults.in_hand = before

    def worker(self, message: Mapping[str, Any] | None = None, **ask: Any) -> bool:
        """A worker of the rotation queue, or one that is asked. Whether the message is done with."""
        with self.invocation():
            rotation = Rotation(self.ports, self.settings, self.clock.now() + INVOCATION - 1)
            if not ask:
                return rotating.work_off(rotation, message or {"connection": NAME})
            with suppress(PortUnavailable, EvergrantError):  # whoever asks is told
                rotation.run(Ask(NAME, **ask))
            return True

    def tick(self) -> None:
        """What evergrant.scheduling does with this connection."""
        self.next_tick = self.clock.now() + schedule.TICK
        with self.invocation():
            record, now = self.record, int(self.clock.now())
            if record.due_at is None or record.due_at > now + schedule.HORIZON:
                return
            until = schedule.claim_until(record.due_at, now, record.expires_at)
            with suppress(Conflict, PortUnavailable):
                self.records.change(NAME, {"due_at": until}, only_if={"due_at": record.due_at})
                self.queue.send({"connection": NAME}, delay=max(record.due_at - now, 0))

    def rotate(self) -> None:
        """What `evergrant rotate` does, and `evergrant client set`."""
        self.provider.forced = True
        self.worker(asked=True, force=True, wait=25.0)

    def reconnect(self) -> None:
        """A person connects the account again: a new grant, by a new code. See authorization.Flow."""
        wanted = Authorization(NAME, "keap", self.record.profile_hash, dict(self.record.variables), None, "https://e/")
        exchange = CodeExchange(self.provider, self.clock, self.settings)
        granting = Granting(self.records, self.seal, self.queue, self.clock, self.settings)
        with self.invocation():
            try:
                profile = self.ports.profiles.pinned(wanted.profile_hash)
                client = self.vault.client("keap")
                current = self.records.get(NAME)
                assert current
                demand_connected(current)
                data_key = self.seal.prepare(NAME, current.generation + 1)
                tokens = exchange.exchange(profile, wanted, client, "code-1", "verifier").tokens
                granting.save(current, wanted, "authorization_code", profile, tokens, data_key)
                self.queue.send({"connection": NAME})
            except (PortUnavailable, EvergrantError):
                pass  # the person is told, and tries again

    def operate(self, *steps: Callable[..., Connection]) -> None:
        """What an operator does, who tries again when a service fails."""
        for step in steps:
            with suppress(PortUnavailable, EvergrantError):
                step(self.records, NAME, self.clock)


@contextmanager
def determined() -> Iterator[None]:
    """Nothing by chance: names are counted, jitter is its middle. Two runs of one plan are the same run."""
    number = 0

    def counted() -> uuid.UUID:
        nonlocal number
        number += 1
        return uuid.UUID(int=number, version=4)

    with (
        mock.patch.object(uuid, "uuid4", counted),
        mock.patch("evergrant.schedule.random.uniform", lambda low, high: (low + high) / 2),
        mock.patch.multiple(rotating, logger=Log(), metrics=Log()),
    ):
        yield
