"""Connections and everything around them, with a monitor at every port, and the worlds that come of it.

A world can be photographed and put back, so that every fault is tried from the very same state, and two histories that
led to the same state are followed once. The deployed code acts in it, from the message or request on.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from typing import Any, cast
from unittest import mock

from evergrant.connect import operator_actions
from evergrant.connect.code_exchange import CodeExchange
from evergrant.connect.grant_save import GrantSave, NewGrant, require_connected
from evergrant.connect.links import Authorization
from evergrant.errors import EvergrantError
from evergrant.oauth.client import Client
from evergrant.oauth.issuance import describe_issuance
from evergrant.oauth.token_set import TokenSet
from evergrant.ports import PortUnavailable, RotationPorts
from evergrant.profiles.model import HEADLESS_GRANTS, Profile, content_hash
from evergrant.record import queued_save, token_document
from evergrant.record.circuit import Circuit
from evergrant.record.connection import Connection
from evergrant.record.refresh_schedule import schedule_refresh
from evergrant.record.status import Status
from evergrant.rotation import handler
from evergrant.rotation import tick as scheduling
from evergrant.rotation.connection_pass import Rotation
from evergrant.secret import Secret
from evergrant.settings import Settings
from evergrant.times import DAY_SECONDS, TICK_SECONDS
from tests.proof.faults import Faults
from tests.proof.monitor import FORCED, NEVER_IN_CLEAR, Monitor, Seen, token_set
from tests.proof.ports import Bus, Profiles, Queue, Records, Seal, Vault
from tests.proof.provider import OTHERS, StrictProvider, grant_of
from tests.unit import memory, rotation_world
from tests.unit.memory import Crash, FakeClock, MemoryKey

NAME, OTHER = rotation_world.NAME, "keap/other"
INVOCATION = 60
REDELIVERY, DELIVERIES = 360, 5
#: Names by chance, as :func:`determined` gives them.
_UUID = re.compile(r"00000000(?:-0000-4000-8000-[0-9a-f]{12}|00004000[0-9a-f]{16})")


class Simulation:
    """One connection in one scenario, and perhaps another one of the same client."""

    def __init__(
        self,
        profile: Profile,
        *,
        lifetime: int = rotation_world.LIFETIME,
        due: bool = True,
        faults_of: Callable[[FakeClock, Callable[[], object]], Faults] = Faults,
        corrected: Sequence[Profile] = (),
        others: Sequence[str] = (),
        **fields: Any,
    ) -> None:
        self.clock = FakeClock()
        self.faults = faults_of(self.clock, lambda: self.meanwhile())
        self.profile = profile
        self.settings = Settings()
        #: What comes by while a worker stalls; who comes by in the end where nothing heals by itself.
        self.meanwhile: Callable[[], object] = self.worker
        self.person: Callable[[], bool] | None = None
        self.monitor = Monitor(self)
        self.records = Records(self.faults, self.clock, self.monitor)
        self.queue = Queue(self.faults, self.clock, self.monitor)
        self.bus, self.vault = Bus(self.faults, self.monitor), Vault(self.faults, self.monitor)
        self.provider = StrictProvider(self.faults, self.clock, lifetime, profile.rotation.reuse_grace)
        self.provider.received = self.monitor.received
        self.provider.stake = self.monitor.stake
        self.provider.sends = self.monitor.sends
        #: The answers that each invocation has, which end with it.
        self.hands: list[set[str]] = []
        self.circuits = memory.MemoryCircuits(self.faults)
        self.seal = Seal(self.faults, self.clock)
        self.ports = RotationPorts(
            self.records,
            cast(Any, Profiles(self.faults, [profile, *corrected])),
            self.vault,
            self.seal,
            self.provider,
            self.queue,
            self.clock,
            self.bus,
            self.circuits,
        )
        #: No tick comes before.
        self.next_tick = 0.0
        base = rotation_world.world(profile, lifetime=lifetime, due=due, **fields)
        #: How long what happens every day is waited for.
        self.patience = 3 * DAY_SECONDS // 2
        #: The end of the first access token.
        self.first_end = base.record().expires_at or 0
        self.vault.clients["login"] = Client(
            "login", None, (), ("api.example.com",), {"username": Secret("ann"), "password": Secret("canary-password")}
        )
        for number, name in enumerate((NAME, *others)):
            tokens = base.stored if base.record().sealed else None
            self._furnish(replace(base.record(), name=name), tokens, OTHERS + number - 1 if number else 0)
        self._held = (
            *((self.records, name) for name in ("items", "change_ids", "down_until")),
            *((self.seal, name) for name in ("down_until",)),
            *((self.vault, name) for name in ("versions", "current_version", "clients")),
            *((self.queue, name) for name in ("messages",)),
            *((self.bus, name) for name in ("events",)),
            *((self.provider, name) for name in ("live", "used", "sent", "number", "newest", "resent")),
            *((self.provider, name) for name in ("oddities", "after_answer", "asked_to_revoke", "begun", "issued")),
            *((self.faults, name) for name in ("pending",)),
            *((self.circuits, name) for name in ("items", "change_ids")),
            *((self.clock, name) for name in ("time",)),
            *((self.monitor, name) for name in ("seen", "sets")),
            *((self, name) for name in ("next_tick",)),
        )

    def _furnish(self, record: Connection, tokens: TokenSet | None, grant: int) -> None:
        """A record with the first token set of a grant, published where it is."""
        record = replace(record, **schedule_refresh(record, record.refresh_at))
        self.provider.live[grant] = f"refresh-{grant}-0"
        self.provider.newest[grant] = f"access-{grant}-0"
        self.provider.issued[f"refresh-{grant}-0"] = float(record.issued_at or 0)
        self.records.items[record.name] = record
        if tokens is None:
            return
        refresh_token = None if record.grant == "client_credentials" else Secret(f"refresh-{grant}-0")
        tokens = replace(
            tokens,
            access_token=Secret(f"access-{grant}-0"),
            refresh_token=refresh_token,
            expiry_rule=record.expiry_rule or tokens.expiry_rule,
            refresh_expires_at=record.refresh_expires_at,
        )
        self.monitor.written_down(tokens)
        entry = self.vault.clients[record.client]
        issuance = describe_issuance(self.profile, record, entry)
        sealed = MemoryKey(record.name, record.generation).seal(tokens.encode(issuance))
        self.records.items[record.name] = record = replace(record, sealed=sealed)
        if self.provider.lifetime >= self.settings.direct_read_min_lifetime:
            document = token_document.build_document(record, self.profile, tokens)
            self.vault.put(record.name, document, token_document.derive_request_token(record, document))

    # --- photographs ------------------------------------------------------------------------------------------

    def photograph(self) -> tuple[Any, ...]:
        return tuple(_copied(getattr(owner, name)) for owner, name in self._held)

    def put_back(self, photograph: tuple[Any, ...]) -> None:
        for (owner, name), value in zip(self._held, photograph, strict=True):
            setattr(owner, name, _copied(value))

    def likeness(self) -> bytes:
        """Equal for worlds that differ in nothing but the names that chance gives."""
        seen, provider = self.seen, self.provider
        late = self.faults.pending and (self.faults.pending, self.records.change_ids, self.circuits.change_ids)
        parts = (
            memory.describe(self.records.items),
            repr(
                (
                    late,
                    self.clock.time,
                    self.next_tick,
                    self.records.down_until,
                    self.seal.down_until,
                    self.provider.oddities,
                )
            ),
            repr((self.vault.current_version, sorted(self.vault.versions), self.vault.clients)),
            repr((self.queue.messages, self.circuits.items)),
            repr(sorted((body["type"], body["at"]) for body in self.bus.events.values())),
            repr((provider.live, provider.begun, provider.used, provider.sent, provider.resent, provider.newest)),
            repr(
                (
                    sorted(seen.received),
                    sorted(seen.kept),
                    seen.windows,
                    sorted(seen.mark_event_persisted.values()),
                    seen.given_up,
                    sorted(seen.rejected),
                )
            ),
            repr(
                (
                    sorted(key in self.bus.events for key in seen.mark_event_persisted),
                    bool(provider.after_answer),
                    provider.asked_to_revoke,
                )
            ),
        )
        names: dict[str, str] = {}
        text = _UUID.sub(lambda found: names.setdefault(found[0], f"<{len(names)}>"), "\n".join(parts))
        return blake2b(text.encode(), digest_size=16).digest()

    # --- what there is ----------------------------------------------------------------------------------------

    @property
    def record(self) -> Connection:
        return self.records.items[NAME]

    @property
    def seen(self) -> Seen:
        return self.monitor.seen

    def circuit(self, client: str) -> Circuit:
        return self.circuits.items.get(client, Circuit(client))

    def stored(self, record: Connection) -> TokenSet | None:
        return token_set(record.sealed) if record.sealed else None

    def grants_of(self, name: str) -> list[int]:
        """The numbers of a connection's grants, the newest last."""
        if name == NAME:
            return [grant for grant in self.provider.live if grant < OTHERS]
        return [OTHERS + list(self.records.items).index(name) - 1]

    def alive(self, record: Connection) -> bool:
        """Whether the stored refresh token is the live one of its grant."""
        stored = self.stored(record)
        token = stored.refresh_token.reveal() if stored and stored.refresh_token else None
        return token is not None and token in self.provider.live.values() and not self.provider.has_ended(token)

    def overtaken(self, name: str) -> bool:
        """Whether an older version came in after a newer one."""
        versions = [version for version, body in self.vault.versions.items() if body["connection"] == name]
        return self.vault.current_version.get(name) != max(versions, default=None)

    def owner_of(self, token: str) -> Connection:
        """The connection whose grant a refresh token is of."""
        [record] = [record for name, record in self.records.items.items() if grant_of(token) in self.grants_of(name)]
        return record

    # --- who acts ---------------------------------------------------------------------------------------------

    @contextmanager
    def invocation(self, *, forced: bool = False, answers: Sequence[str] = ()) -> Iterator[Rotation]:
        """One Lambda invocation: what it holds when it is killed is lost, and nothing else.

        ``answers`` are those that it is given; ``forced`` says that an operator has it send.
        """
        before, hand = self.faults.in_hand, set(answers)
        self.faults.in_hand = hand
        self.hands.append(hand)
        decided = FORCED.set(forced)
        self.faults.killed_at = self.clock.now() + INVOCATION
        try:
            yield Rotation(self.ports, self.settings, self.clock.now() + INVOCATION - 1)
        except Crash as crash:
            if self.record.grant not in HEADLESS_GRANTS:  # where another answer is to be had at any time
                self.monitor.killed(str(crash))
            raise
        finally:
            self.faults.in_hand = before
            self.hands = [other for other in self.hands if other is not hand]
            FORCED.reset(decided)

    def worker(self, message: Mapping[str, Any] | None = None) -> bool:
        """A worker of the rotation queue. Whether the message is done with."""
        message = message or {"connection": NAME}
        carried = memory.read_queued(message) if message.get("task") == queued_save.TASK else {}
        with self.invocation(answers=self.monitor.answers(carried)) as rotation:
            return handler.process_task(rotation, message)

    def ask(self, **wanted: Any) -> dict[str, Any]:
        """A caller asks for a token, and waits for the answer."""
        self.monitor.asked(wanted.get("rejected"))
        with self.invocation(forced=wanted.get("force", False)) as rotation:
            answered = handler.handle_request(rotation, self.ports, {"connection": NAME, **wanted})
        if "access_token" in answered:
            self.monitor.served(answered["access_token"])
        return answered

    def tick(self) -> None:
        self.next_tick = self.clock.now() + TICK_SECONDS
        deadline = self.clock.now() + INVOCATION - 1
        with self.invocation(), suppress(PortUnavailable):  # the next one takes what is left
            ports = self.ports
            scheduling.tick(
                scheduling.TickPorts(ports.records, ports.circuits, ports.profiles, ports.queue, ports.clock), deadline
            )

    def rotate(self) -> None:
        """What `evergrant rotate` does, and `evergrant client set`."""
        self.ask(force=True)

    def reconnect(self, profile: Profile | None = None) -> None:
        """A person connects the account again: a new grant, by a new code. See authorization.Flow."""
        pinned = content_hash(profile) if profile else self.record.profile_hash
        wanted = Authorization(NAME, "keap", pinned, dict(self.record.variables), None, "https://e/")
        exchange = CodeExchange(self.provider, self.clock, self.settings)
        granting = GrantSave(self.records, self.ports.seal, self.queue, self.clock, self.settings)
        with self.invocation():
            try:
                profile = self.ports.profiles.load_pinned(wanted.profile_hash)
                client = self.vault.client("keap")
                current = self.records.get(NAME)
                assert current
                require_connected(current)
                data_key = self.ports.seal.prepare(NAME, current.generation + 1)
                tokens = exchange.exchange(profile, wanted, client, "code-1", "verifier").tokens
                issuance = describe_issuance(profile, wanted, client)
                granting.save(current, NewGrant(wanted, "authorization_code", profile, tokens, issuance), data_key)
                self.queue.send({"connection": NAME})
            except (PortUnavailable, EvergrantError):
                self.monitor.killed("telling the person")  # who tries again

    def reparse(self, corrected: Profile) -> None:
        """An operator has the answer in hand read by a corrected profile."""
        self.ask(reparse=content_hash(corrected))

    def operate(self, *steps: Callable[..., Connection]) -> None:
        """What an operator does, who tries again when a service fails."""
        for step in steps:
            with suppress(PortUnavailable, EvergrantError):
                step(self.records, NAME, self.clock)

    def disconnect_and_revoke(self) -> None:
        """What 'evergrant disconnect' does: the record first, then rotator is asked to revoke."""
        self.operate(partial(operator_actions.disconnect, revoke=True))
        if self.record.status is Status.DISCONNECTED:
            self.ask(revoke=True)


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, (dict, list)) else value


class Log:
    """What rotator writes for people, and what it counts: seen, and thrown away."""

    def __getattr__(self, level: str) -> Callable[..., None]:
        def written(*args: Any, **details: Any) -> None:
            assert not NEVER_IN_CLEAR.search(f"{args} {details}"), "a token in a log"

        return written


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
        mock.patch("evergrant.record.refresh_schedule.random.uniform", lambda low, high: (low + high) / 2),
        mock.patch.multiple(handler, logger=Log(), metrics=Log()),
    ):
        yield
