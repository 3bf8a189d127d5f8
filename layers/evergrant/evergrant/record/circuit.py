"""A client's circuit: whether a provider refuses its credentials, and who may find out. Pure; times are epoch seconds.

The circuit opens for all of a client's connections when one of them is refused for the client's sake. It also opens
when two of them are refused within a day by an answer that may mean either client or grant, and none is accepted
in between. While it is open, one connection probes, once an hour. Whatever the provider accepts closes it.

A connection that goes on being refused while another one of its client is accepted has a trouble of its own (a
variable that is wrong, say): it no longer testifies against the client until it was accepted itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..times import DAY_SECONDS
from . import failures, token_save
from .connection import Connection, EventType, Status, create_event

#: Two rejections that may mean either speak against the client only if they began within so many seconds.
REJECTION_WINDOW_SECONDS = DAY_SECONDS
#: Connections that the item remembers to wake. Those beyond look again by themselves, hourly.
MAX_WAITING = 500
#: Rejected connections that the item remembers, those that were rejected last: each refresh reads it.
MAX_REJECTED = 500
#: Entries that one change takes out at most: an expression of DynamoDB is 4 KB at most.
MAX_REMOVED_AT_ONCE = 100

Changes = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Circuit:
    """What is remembered of a client while something is wrong with it, one item of the table; of most there is none.

    ``refused_at`` says since when the circuit is open; ``error`` is the provider's allow-listed code, ``version`` that
    of the client's entry which was refused. ``probe_at`` is when the next probe may go; ``suspected`` says that no
    answer named the client, so that a connection which was not refused itself need not wait for that. ``rejected``
    holds since when each connection has been rejected, ``waiting`` which ones were held back, ``outbox`` the event
    that tells of it until it is on its way.
    """

    client: str
    refused_at: int | None = None
    error: str | None = None
    version: str | None = None
    probe_at: int | None = None
    suspected: bool | None = None
    accepted_at: int | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    outbox: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether nothing but a probe is spent for the client."""
        return self.refused_at is not None

    def recent_rejections(self, now: int) -> frozenset[str]:
        """The connections whose rejection may be the client's fault."""
        return frozenset(
            name
            for name, since in self.rejected.items()
            if self._live(since) and since > now - REJECTION_WINDOW_SECONDS
        )

    def is_client_at_fault(self, connection: str, now: int, *, certain: bool) -> bool:
        """Whether the rejection of a connection, written down already, opens the circuit."""
        since = self.rejected.get(connection)
        if self.is_open or since is None or not self._live(since):
            return False
        return certain or len(self.recent_rejections(now)) > 1

    def may_probe(self, connection: str, version: str | None, now: int) -> bool:
        """Whether this connection may ask now: the hour is over, the client's entry is another one, or it is not among
        those by which the client is suspected."""
        uninvolved = bool(self.suspected) and connection not in self.rejected
        return now >= (self.probe_at or 0) or version != self.version or uninvolved

    def is_changed_by_acceptance(self, connection: str, now: int) -> bool:
        """Whether it changes anything that this connection was accepted."""
        return self.is_open or connection in self.rejected or bool(self.recent_rejections(now))

    def _live(self, since: int) -> bool:
        return self.accepted_at is None or since > self.accepted_at


def record_rejection(
    circuit: Circuit, connection: Connection, version: str | None, error: str, now: int, *, certain: bool
) -> Changes:
    """A connection was rejected, perhaps for the client's sake. The first time counts, until it is accepted.

    Its own record says when that was of a grant that died too long ago to be remembered here.
    """
    others = circuit.rejected.keys() - {connection.name}
    forgotten = sorted(others, key=circuit.rejected.__getitem__)[: max(len(others) + 1 - MAX_REJECTED, 0)]
    since = now if certain else connection.rejected_at or now
    changes: Changes = {f"rejected.{name}": None for name in forgotten[:MAX_REMOVED_AT_ONCE]}
    changes[f"rejected.{connection.name}"] = circuit.rejected.get(connection.name, since)
    if circuit.is_open:
        changes |= {f"waiting.{connection.name}": now, "error": error, "version": version, "suspected": None}
    return changes


def open_circuit(
    circuit: Circuit, connection: Connection, version: str | None, error: str, now: int, *, certain: bool
) -> Changes:
    """The client is to blame: one event for all its connections, naming those that were rejected so far."""
    known = sorted(circuit.recent_rejections(now) | {connection.name})
    return {
        "refused_at": now,
        f"waiting.{connection.name}": now,
        "error": error,
        "version": version,
        "probe_at": compute_next_probe_at(now),
        "suspected": None if certain else True,
        **create_event(
            EventType.CLIENT_REFUSED, connection, now, reason=error, client=connection.client, connections=known[:20]
        ),
    }


def claim_probe(version: str | None, now: int) -> Changes:
    """A probe goes, and the next one an hour later; the client's entry that it shows is the one that counts."""
    return {"probe_at": compute_next_probe_at(now), "version": version, "suspected": None}


def record_acceptance(circuit: Circuit, connection: str, now: int) -> Changes:
    """The provider accepted the client, whatever it answered else."""
    return {**_closed(circuit), "accepted_at": now, f"rejected.{connection}": None, f"waiting.{connection}": None}


def reset_rejections(circuit: Circuit) -> Iterator[Changes]:
    """The operator stored other credentials: whatever was held against the old ones is void. In several changes, the
    last of which closes the circuit."""
    rejected = sorted(circuit.rejected)
    for start in range(0, len(rejected), MAX_REMOVED_AT_ONCE):
        yield {f"rejected.{name}": None for name in rejected[start : start + MAX_REMOVED_AT_ONCE]}
    yield {**_closed(circuit), "accepted_at": None}


def hold_back(connection: Connection, circuit: Circuit, now: int) -> Changes:
    """What is written of a connection that is due and held back: no event of its own, and a look again after the
    next probe, not all in one moment."""
    if connection.status is Status.CLIENT_REFUSED and (connection.refresh_at or 0) > now:
        return {}  # woken, and closed again before it came
    again = token_save.schedule_refresh(connection, max(circuit.probe_at or now, now) + random.randint(30, 600))  # noqa: S311
    if connection.status is Status.CLIENT_REFUSED or (
        connection.status is Status.AUTHORIZATION_REQUIRED and connection.name not in circuit.rejected
    ):
        return again
    return {
        **again,
        "status": Status.CLIENT_REFUSED,
        "failures": max(connection.failures, 1),
        "last_error": circuit.error,
        "last_error_at": now,
        "rejected_at": None,
    }


def compute_next_probe_at(now: int) -> int:
    """About an hour ahead, jittered by an eighth."""
    return now + int(failures.CLIENT_PROBE_SECONDS * random.uniform(0.875, 1.125))  # noqa: S311


def _closed(circuit: Circuit) -> Changes:
    # An event that is not on its way yet is no longer true, and would be told at the next trouble, months later.
    untold: Changes = {f"outbox.{key}": None for key in circuit.outbox}
    if circuit.is_open:
        untold |= dict.fromkeys(("refused_at", "error", "version", "probe_at", "suspected"))
    return untold
