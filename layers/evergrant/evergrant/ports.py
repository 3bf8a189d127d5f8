"""What the protocols need of the world. Adapters under :mod:`evergrant.adapters.aws` and
:mod:`evergrant.adapters.http` provide it.

Every port may raise what its service raises; the protocols are written so that a failure of any one call, before or
after its effect, loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .http_messages import HttpRequest, HttpResponse
from .oauth.client import Client
from .oauth.response_issuer import Issuers
from .profiles.model import Profile
from .record.circuit import Circuit
from .record.connection import ANY_STATE, NO_EVENTS, Connection, Events, RecordFields, RecordState
from .record.sealed import Sealed


class PortUnavailable(Exception):
    """A service of AWS did not do what was asked: throttled, denied, down or too late. Its cause is chained."""


class Clock(Protocol):
    def now(self) -> float:
        """Epoch seconds."""

    def sleep(self, seconds: float) -> None: ...


class Due(Protocol):
    """What the due index shows of a connection. Of a record that lacks a field, it is empty."""

    @property
    def name(self) -> str: ...
    @property
    def due_at(self) -> int: ...
    @property
    def expires_at(self) -> int | None: ...
    @property
    def client(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def profile_hash(self) -> str: ...


class Records(Protocol):
    """Connection records, each change one conditional write."""

    def get(self, connection: str) -> Connection | None:
        """A strongly consistent read."""

    def create(self, connection: Connection) -> None:
        """Write a record that does not exist yet. Raises Conflict with the one that does."""

    def change(
        self,
        connection: str,
        fields: RecordFields,
        *,
        events: Events = NO_EVENTS,
        only_if: RecordState = ANY_STATE,
        lease_free_at: int | None = None,
    ) -> Connection:
        """Change fields of an existing record, all or nothing (optimistic locking).

        Parameters
        ----------
        fields
            Field to new value; None removes it.
        events
            Event by id for the outbox; None removes it from there.
        only_if
            Field to the value that it must have; None: it must be absent. A change of status requires the old one.
        lease_free_at
            Also require that the lease is free, or has expired, at this time.

        Returns
        -------
        Connection
            The record after the change.

        Raises
        ------
        Conflict
            A condition failed. ``current`` is the record as it is, None when there is none. A change that turns out
            to be there already (an SDK's retry of a write that had happened) is success.
        """

    def claim(self, connection: str, due_at: int, until: int) -> bool:
        """Move ``due_at`` of a record on to ``until``, and read nothing of it.

        False if it is no longer ``due_at``, or there is no record. Scheduler may write nothing else of a record.
        """

    def due(self, shard: str, before: int) -> Iterator[Due]:
        """Connections of one shard of the due index that are due before ``before``, the most overdue first."""


class Circuits(Protocol):
    """One item for each client, and each token endpoint, with which something is, or lately was, wrong."""

    def get_many(self, keys: Collection[str]) -> Mapping[str, Circuit]:
        """Strongly consistent reads, in one call; an empty circuit where there is no item."""

    def change(self, key: str, changes: Mapping[str, Any], *, only_if: Mapping[str, Any]) -> Circuit:
        """Change the item, or make it, all or nothing; ``changes`` and ``only_if`` as of :meth:`Records.change`.

        ``failures.<connection>`` and ``refusals.<connection>`` name single entries.

        Raises
        ------
        Conflict
            A condition failed. ``current`` is the circuit as it is.
        """


class Seal(Protocol):
    """Envelope encryption bound to a connection and a generation."""

    def prepare(self, connection: str, generation: int) -> DataKey:
        """Fetch a data key, before the refresh attempt, so that sealing itself needs no service."""

    def unseal(self, sealed: Sealed, connection: str, generation: int) -> bytes: ...


class DataKey(Protocol):
    def seal(self, plain: bytes) -> Sealed: ...


class Vault(Protocol):
    """Secrets Manager: clients are read, tokens are published."""

    def client(self, name: str) -> Client:
        """Raises UnknownClient, InvalidClient."""

    def publish(
        self,
        connection: str,
        document: Mapping[str, Any],
        request_token: str,
        *,
        anew: bool = False,
        may_restore: Callable[[], bool] = lambda: True,
    ) -> None:
        """Make ``document`` the current value of the connection's secret, creating the secret if need be.

        ``request_token`` names the version and begins with its generation: a newer one stays current. ``anew`` says
        that it was published before, and is not current any more. ``may_restore`` is asked before a secret that is
        marked for deletion is restored: the connection may have been disconnected while this was under way.
        """

    def find_current(self, connection: str) -> str | None:
        """The request token of what consumers get now, None when they get nothing."""


class Provider(Protocol):
    def send(self, request: HttpRequest, *, hosts: tuple[str, ...], timeout: float) -> HttpResponse:
        """Send once, on a fresh connection, to an allowed host; whole answer within ``timeout`` seconds.

        Raises
        ------
        NotSent
            The request cannot have reached the provider.
        LostResponse
            It may have.
        """


class Queue(Protocol):
    def send(self, message: Mapping[str, Any], delay: int = 0) -> None:
        """Put a message into the rotation queue, to arrive after ``delay`` seconds (at most 900)."""

    def send_many(self, messages: Sequence[tuple[Mapping[str, Any], int]]) -> int:
        """Send messages, each with its delay. Returns how many were taken."""


class Bus(Protocol):
    def put(self, events: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
        """Deliver events by id; return the ids that were taken. Raises PortUnavailable where it took none."""


class Authorizations(Protocol):
    """Connect tickets and pending states, by the hash of their secret. They expire by what they say, not by TTL."""

    def put(self, key: str, fields: Mapping[str, Any], purge_at: int) -> None:
        """Store what is not there yet. Raises Conflict when it is."""

    def get(self, key: str) -> dict[str, Any] | None:
        """A strongly consistent read."""

    def change(self, key: str, changes: Mapping[str, Any], *, only_if: Mapping[str, Any]) -> None:
        """Raises Conflict, with the item's fields as ``current``, when a field is not as ``only_if`` demands."""


class Profiles(Protocol):
    def load_pinned(self, content_hash: str) -> Profile:
        """Raises UnknownProfile."""


class KnownProfiles(Profiles, Protocol):
    def list_issuers(self) -> Issuers:
        """The issuers of every known provider, built in or added."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What every protocol needs of the outside."""

    records: Records
    profiles: Profiles
    vault: Vault
    seal: Seal
    provider: Provider
    queue: Queue
    clock: Clock


@dataclass(frozen=True, slots=True)
class RotationPorts(Ports):
    """What rotator needs beside that."""

    bus: Bus
    circuits: Circuits


@dataclass(frozen=True, slots=True)
class ConnectPorts(Ports):
    """What callback needs beside that, and more of the profiles."""

    profiles: KnownProfiles
    authorizations: Authorizations
