"""The protocols' ports in memory, each call of which can be made to fail before or after its effect.

They are as the adapters are: a conditional write that the SDK repeats meets its own change and is a success, a message
sent twice is there twice, and what is current in the vault is what arrived last.
"""

from __future__ import annotations

import json
import uuid
from base64 import b64decode
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
from typing import Any
from urllib.parse import parse_qsl

from evergrant.adapters.aws.records import DueConnection, is_already_applied
from evergrant.errors import Conflict, LostResponse, NotSent, UnknownClient
from evergrant.http_messages import HttpRequest, HttpResponse
from evergrant.oauth.client import Client
from evergrant.oauth.issuance import describe_issuance
from evergrant.oauth.response_issuer import list_issuers
from evergrant.oauth.token_set import TokenSet
from evergrant.ports import Clock, Due, PortUnavailable, RotationPorts
from evergrant.profiles.model import Profile, content_hash
from evergrant.record import queued_save
from evergrant.record.circuit import Circuit
from evergrant.record.connection import (
    ANY_STATE,
    FIELDS,
    NO_EVENTS,
    Connection,
    Events,
    RecordChange,
    RecordFields,
    RecordState,
)
from evergrant.record.sealed import Sealed
from evergrant.record.state_machine import require_writable
from evergrant.secret import Secret

_NAMES = tuple(sorted(FIELDS))
_values = attrgetter(*_NAMES)
#: Each byte by its complement, there and back.
_COMPLEMENT = bytes(range(255, -1, -1))
CLIENT = Client("keap", "client-1", (Secret("canary-client-secret"),), ("api.example.com",))


class Crash(BaseException):
    """The worker is gone: no code of ours runs after this, not even an ``except Exception``."""


class FakeClock:
    def __init__(self, now: float = 1_800_000_000) -> None:
        self.time = float(now)

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def advance(self, seconds: float) -> None:
        self.time += seconds


@dataclass
class Faults:
    """Counts every call to a port, and breaks the chosen one.

    ``kind``: "before" and "after" make a service fail before or after its effect, "crash-before" and "crash-after"
    kill the worker there.
    """

    at: int | None = None
    kind: str = "crash-before"
    calls: list[str] = field(default_factory=list)

    def around(self, name: str, effect: Callable[[], Any], failure: Callable[[], Exception]) -> Any:
        self.calls.append(name)
        hit = self.at == len(self.calls)
        if hit and self.kind == "crash-before":
            raise Crash(name)
        if hit and self.kind == "before":
            raise failure()
        result = effect()
        if hit and self.kind == "crash-after":
            raise Crash(name)
        if hit and self.kind == "after":
            raise failure()
        return result


def describe(value: Any) -> str:
    """A value in full, sealed ones too: what two worlds are compared by."""
    if isinstance(value, Sealed):
        return f"{value.key!r} {value.text!r}"
    if isinstance(value, Connection):
        return f"{value} {describe(value.sealed)} {describe(value.unreadable_response)}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {describe(item)}" for key, item in value.items()) + "}"
    if isinstance(value, HttpRequest):
        return f"{value.url} {value.body!r}"
    return repr(value)


def _unavailable() -> Exception:
    return PortUnavailable("made to fail")


class MemoryRecords:
    def __init__(self, faults: Faults) -> None:
        self.items: dict[str, Connection] = {}
        self.history: list[Connection] = []
        self.change_ids: dict[str, str] = {}
        self._faults = faults

    def get(self, connection: str) -> Connection | None:
        return self._faults.around("records.get", lambda: self.items.get(connection), _unavailable)  # type: ignore[no-any-return]

    def due(self, shard: str, before: int) -> Iterator[Due]:
        found = [
            DueConnection(
                record.name, record.due_at, record.expires_at, record.client, record.endpoint or "", record.profile_hash
            )
            for record in list(self.items.values())
            if record.due_at is not None and record.due_shard == shard and record.due_at <= before
        ]
        return iter(sorted(found, key=attrgetter("due_at")))

    def claim(self, connection: str, due_at: int, until: int) -> bool:
        try:
            self.change(connection, {"due_at": until}, only_if={"due_at": due_at})
        except Conflict:
            return False
        return True

    def create(self, connection: Connection) -> None:
        if connection.name in self.items:
            raise Conflict(connection.name, self.items[connection.name])
        self.items[connection.name] = connection

    def change(
        self,
        connection: str,
        fields: RecordFields,
        *,
        events: Events = NO_EVENTS,
        only_if: RecordState = ANY_STATE,
        lease_free_at: int | None = None,
    ) -> Connection:
        require_writable(fields, only_if)
        effect = partial(
            self.apply, connection, RecordChange(fields, events), dict(only_if), lease_free_at, uuid.uuid4().hex
        )
        return self._faults.around("records.change", effect, _unavailable)  # type: ignore[no-any-return]

    def apply(
        self,
        connection: str,
        change: RecordChange,
        only_if: dict[str, Any],
        lease_free_at: int | None,
        change_id: str,
    ) -> Connection:
        """One arrival of a write; a repetition by the SDK arrives with the same ``change_id``."""
        current = self.items.get(connection)
        if current is None:
            raise Conflict(connection, None)
        expected = all(getattr(current, name) == value for name, value in only_if.items())
        free = lease_free_at is None or current.lease_until is None or current.lease_until <= lease_free_at
        if not (expected and free):
            if self.change_ids.get(connection) == change_id or is_already_applied(
                current, change.fields, change.events
            ):
                return current
            raise Conflict(connection, current)
        outbox = {**current.outbox, **change.events}
        held = {event_id: body for event_id, body in outbox.items() if body is not None}
        # As dataclasses.replace does it, in a third of the time: nothing here is called more often.
        changed = Connection(**{**dict(zip(_NAMES, _values(current), strict=True)), **change.fields, "outbox": held})
        self.items[connection] = changed
        self.change_ids[connection] = change_id
        self.history.append(changed)
        return changed


class MemoryCircuits:
    def __init__(self, faults: Faults) -> None:
        self.items: dict[str, Circuit] = {}
        self.change_ids: dict[str, str] = {}
        self._faults = faults

    def get_many(self, keys: Collection[str]) -> Mapping[str, Circuit]:
        effect = lambda: {key: self.items.get(key, Circuit(key)) for key in keys}  # noqa: E731
        return self._faults.around("circuits.get_many", effect, _unavailable)  # type: ignore[no-any-return]

    def change(self, client: str, changes: Mapping[str, Any], *, only_if: Mapping[str, Any]) -> Circuit:
        effect = partial(self.apply, client, dict(changes), dict(only_if), uuid.uuid4().hex)
        return self._faults.around("circuits.change", effect, _unavailable)  # type: ignore[no-any-return]

    def apply(self, client: str, changes: dict[str, Any], only_if: dict[str, Any], change_id: str) -> Circuit:
        """One arrival of a write; a repetition by the SDK arrives with the same ``change_id``."""
        current = self.items.get(client, Circuit(client))
        if any(getattr(current, name) != value for name, value in only_if.items()):
            if self.change_ids.get(client) == change_id:
                return current
            raise Conflict(client, current)
        values: dict[str, Any] = {name: value for name, value in changes.items() if "." not in name}
        for kind in ("failures", "refusals"):
            named = {**getattr(current, kind)}
            for name, value in changes.items():
                if name.startswith(f"{kind}."):
                    named[name.removeprefix(f"{kind}.")] = value
            values[kind] = {name: value for name, value in named.items() if value is not None}
        self.items[client] = replace(current, **values)
        self.change_ids[client] = change_id
        return self.items[client]


@dataclass(frozen=True)
class MemoryKey:
    connection: str
    generation: int

    def seal(self, plain: bytes) -> Sealed:
        # A stand-in that is reversible, and that no search for the text finds. The real cipher has its own tests.
        return Sealed(f"{self.connection}|{self.generation}".encode(), b"", plain.translate(_COMPLEMENT))


def seal_for(record: Connection, profile: Profile, tokens: TokenSet, client: Client = CLIENT) -> Sealed:
    """Seal a set for what its record says."""
    issuance = describe_issuance(profile, record, client)
    return MemoryKey(record.name, record.generation).seal(tokens.encode(issuance))


def read_queued(message: Mapping[str, Any]) -> RecordFields:
    """Return the fields that a queued save writes."""
    plain = unseal(Sealed.decode(message["change"]))
    return queued_save.decode_change(plain, message["connection"], message["generation"]).change.fields


def seal_again(connection: str, generation: int, tokens: TokenSet) -> Sealed:
    """Seal a set that was sealed before, for what it was issued for."""
    assert tokens.issued_for is not None
    return MemoryKey(connection, generation).seal(tokens.encode(tokens.issued_for))


def unseal(sealed: Sealed) -> bytes:
    """What :meth:`MemoryKey.seal` sealed, without asking anybody."""
    return sealed.text.translate(_COMPLEMENT)


class MemorySeal:
    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def prepare(self, connection: str, generation: int) -> MemoryKey:
        return self._faults.around("seal.prepare", lambda: MemoryKey(connection, generation), _unavailable)  # type: ignore[no-any-return]

    def unseal(self, sealed: Sealed, connection: str, generation: int) -> bytes:
        assert sealed.key == f"{connection}|{generation}".encode(), "sealed as something else"
        return self._faults.around("seal.unseal", partial(unseal, sealed), _unavailable)  # type: ignore[no-any-return]


class MemoryVault:
    """Secrets Manager: what is current is the version that arrived last; a repetition is no arrival."""

    def __init__(self, faults: Faults) -> None:
        self.clients = {"keap": CLIENT, "wealthyhood": replace(CLIENT, name="wealthyhood")}
        self.versions: dict[str, Mapping[str, Any]] = {}
        self.current_version: dict[str, str] = {}
        #: Connections whose secret is marked for deletion.
        self.deleted: set[str] = set()
        self._faults = faults

    @property
    def published(self) -> dict[str, Mapping[str, Any]]:
        """What consumers get, by connection."""
        current = self.current_version.items()
        return {name: self.versions[version] for name, version in current if name not in self.deleted}

    def client(self, name: str) -> Client:
        def effect() -> Client:
            if name not in self.clients:
                raise UnknownClient(name)
            return self.clients[name]

        return self._faults.around("vault.client", effect, _unavailable)  # type: ignore[no-any-return]

    def find_current(self, connection: str) -> str | None:
        return self._faults.around("vault.find_current", lambda: self.current_version.get(connection), _unavailable)  # type: ignore[no-any-return]

    def publish(
        self,
        connection: str,
        document: Mapping[str, Any],
        version: str,
        *,
        anew: bool = False,
        may_restore: Callable[[], bool] = lambda: True,
    ) -> None:
        if connection in self.deleted:
            if not may_restore():
                raise PortUnavailable("marked for deletion")
            self.deleted.discard(connection)
        self._faults.around("vault.publish", partial(self.put, connection, dict(document), version), _unavailable)
        if self.current_version.get(connection, version)[:16] < version[:16]:
            self.current_version[connection] = (
                version  # as the adapter sees to it, see evergrant.adapters.aws.secrets_manager
            )

    def put(self, connection: str, document: Mapping[str, Any], version: str) -> None:
        """One arrival of a PutSecretValue."""
        if version not in self.versions:
            self.versions[version] = document
            self.current_version[connection] = version
        assert self.versions[version] == document, "Secrets Manager refuses another value under the same token"


class MemoryQueue:
    def __init__(self, faults: Faults) -> None:
        self.messages: list[tuple[dict[str, Any], int]] = []
        self._faults = faults

    def send(self, message: Mapping[str, Any], delay: int = 0) -> None:
        self._faults.around("queue.send", partial(self.arrive, json.dumps(message), delay), _unavailable)

    def arrive(self, text: str, delay: int) -> None:
        self.messages.append((json.loads(text), delay))

    def send_many(self, messages: Sequence[tuple[Mapping[str, Any], int]]) -> int:
        texts = [(json.dumps(message), delay) for message, delay in messages]
        return self._faults.around("queue.send_many", partial(self.arrive_together, texts), _unavailable)  # type: ignore[no-any-return]

    def arrive_together(self, texts: Sequence[tuple[str, int]]) -> int:
        for text, delay in texts:
            self.arrive(text, delay)
        return len(texts)


class MemoryBus:
    def __init__(self, faults: Faults) -> None:
        self.events: dict[str, Mapping[str, Any]] = {}
        self._faults = faults

    def put(self, events: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
        return self._faults.around("bus.put", partial(self.take, dict(events)), _unavailable)  # type: ignore[no-any-return]

    def take(self, events: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
        for key, body in events.items():
            assert self.events.setdefault(key, body) == body, "one event has one content"
        return frozenset(events)

    @property
    def types(self) -> list[str]:
        return [str(event["type"]) for event in self.events.values()]


class MemoryAuthorizations:
    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}

    def put(self, key: str, fields: Mapping[str, Any], purge_at: int) -> None:
        if key in self.items:
            raise Conflict("The authorization", dict(self.items[key]))
        self.items[key] = {name: value for name, value in fields.items() if value is not None} | {"purge_at": purge_at}

    def get(self, key: str) -> dict[str, Any] | None:
        item = self.items.get(key)
        return dict(item) if item is not None else None

    def change(self, key: str, changes: Mapping[str, Any], *, only_if: Mapping[str, Any]) -> None:
        item = self.items.get(key)
        if item is None or any(item.get(name) != value for name, value in only_if.items()):
            raise Conflict("The authorization", item)
        item.update(changes)


class MemoryProfiles:
    def __init__(self, *profiles: Profile) -> None:
        self._by_hash = {content_hash(profile): profile for profile in profiles}

    def load_pinned(self, content_hash: str) -> Profile:
        return self._by_hash[content_hash]

    def list_issuers(self) -> Mapping[str, tuple[str, ...]]:
        return {profile.name: list_issuers(profile) for profile in self._by_hash.values()}


def rotation_ports(
    provider: Any, clock: Clock, *profiles: Profile, faults: Faults | None = None, **replaced: Any
) -> RotationPorts:
    """Rotator's ports, all in memory. ``replaced`` are others, by name, in the place of some."""
    faults = faults or Faults()
    ports: dict[str, Any] = {
        "records": MemoryRecords(faults),
        "profiles": MemoryProfiles(*profiles),
        "vault": MemoryVault(faults),
        "seal": MemorySeal(faults),
        "provider": provider,
        "queue": MemoryQueue(faults),
        "clock": clock,
        "bus": MemoryBus(faults),
        "circuits": MemoryCircuits(faults),
    }
    return RotationPorts(**{**ports, **replaced})


class RotatingProvider:
    """A provider whose refresh tokens work once: reuse revokes the whole grant, as RFC 9700 section 4.14.2 advises."""

    def __init__(self, faults: Faults, clock: FakeClock, lifetime: int = 86_400, grace: int = 0) -> None:
        self._faults = faults
        self._clock = clock
        self.lifetime = lifetime
        self.grace = grace
        self.live: str | None = "refresh-0"
        self.used: dict[str, tuple[float, HttpResponse]] = {}
        self.number = 0
        self.revoked = False
        self.requests: list[HttpRequest] = []
        self.script: list[HttpResponse | Exception] = []

    def send(self, request: HttpRequest, *, hosts: tuple[str, ...], timeout: float) -> HttpResponse:
        assert timeout > 0
        self.requests.append(request)
        if self.script:
            scripted = self.script.pop(0)
            if isinstance(scripted, Exception):
                raise scripted
            return scripted
        kind = self._faults.kind
        failure = LostResponse if kind == "after" else NotSent
        return self._faults.around("provider.send", lambda: self._answer(request), lambda: failure("made to fail"))  # type: ignore[no-any-return]

    def _answer(self, request: HttpRequest) -> HttpResponse:
        form = dict(parse_qsl(request.body.decode()))
        if form["grant_type"] == "authorization_code":
            return self._issue() if form["code"].startswith("code-") else answer(400, {"error": "invalid_grant"})
        token = form["refresh_token"]
        if token in self.used and self._clock.now() <= self.used[token][0] + self.grace:
            return self.used[token][1]
        if token != self.live:
            self.live, self.revoked = None, True
            return answer(400, {"error": "invalid_grant"})
        response = self._issue()
        self.used[token] = (self._clock.now(), response)
        return response

    def _issue(self) -> HttpResponse:
        self.number += 1
        self.live = f"refresh-{self.number}"
        return answer(
            200,
            {
                "access_token": f"access-{self.number}",
                "refresh_token": self.live,
                "expires_in": self.lifetime,
                "token_type": "bearer",
            },
        )


def answer(status: int, body: Mapping[str, Any] | bytes, **headers: str) -> HttpResponse:
    """A JSON answer of a provider."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, {"content-type": "application/json", **named}, raw)


def basic_of(request: HttpRequest) -> str:
    """What an HTTP Basic header says."""
    return b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
