"""A client's circuit: whether a provider refuses its credentials. Pure; times are epoch seconds.

The circuit opens for all connections of a client when the provider refuses the client for one of them. It also opens
when two connections are rejected within a day by a response that may mean either client or grant, and none is accepted
in between. While it is open, one connection probes, once an hour (half-open). Any acceptance by the provider closes it.

A connection that is rejected while another one of its client is accepted has a trouble of its own, such as a wrong
variable. Its rejection no longer counts against the client until the connection is accepted itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..times import DAY_SECONDS
from . import state_machine
from .connection import Connection, RecordChange, create_event
from .failures import CLIENT_PROBE_SECONDS
from .refresh_schedule import schedule_refresh
from .status import EventType, Status

#: Two rejections that may mean either count against the client only if they began within so many seconds.
REJECTION_WINDOW_SECONDS = DAY_SECONDS
#: Connections that the item remembers to wake. Those beyond look again by themselves, hourly.
MAX_WAITING = 500
#: Rejected connections that the item remembers, the latest ones: each refresh reads it.
MAX_REJECTED = 500
#: Entries that one change removes at most: an expression of DynamoDB is 4 KB at most.
MAX_REMOVED_AT_ONCE = 100

#: Field to new value, as :meth:`evergrant.ports.Circuits.change` takes them.
CircuitChanges = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Circuit:
    """The state of one client while something is wrong with it: one item of the table. Most clients have none.

    ``refused_at`` says since when the circuit is open; ``error`` is the provider's allow-listed code, ``version`` that
    of the client's entry which was refused. ``probe_at`` is when the next probe may go. ``suspected`` says that no
    response named the client, so that a connection which was not rejected itself may probe at once. ``rejected``
    holds since when each connection has been rejected, ``waiting`` the connections held back, ``outbox`` the event
    that reports it until it is delivered.
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
        """Whether only a probe may be sent for the client."""
        return self.refused_at is not None

    def recent_rejections(self, now: int) -> frozenset[str]:
        """Return the connections whose rejection may be the client's fault."""
        return frozenset(
            name
            for name, since in self.rejected.items()
            if self._counts(since) and since > now - REJECTION_WINDOW_SECONDS
        )

    def is_client_at_fault(self, connection: str, now: int, *, certain: bool) -> bool:
        """Whether the rejection of a connection, written down already, opens the circuit."""
        since = self.rejected.get(connection)
        if self.is_open or since is None or not self._counts(since):
            return False
        return certain or len(self.recent_rejections(now)) > 1

    def may_probe(self, connection: str, version: str | None, now: int) -> bool:
        """Whether this connection may probe now.

        It may after the hour, with another client's entry, or when its own rejection is not what the client is
        suspected by.
        """
        uninvolved = bool(self.suspected) and connection not in self.rejected
        return now >= (self.probe_at or 0) or version != self.version or uninvolved

    def is_changed_by_acceptance(self, connection: str, now: int) -> bool:
        """Whether it changes anything that this connection was accepted."""
        return self.is_open or connection in self.rejected or bool(self.recent_rejections(now))

    def _counts(self, since: int) -> bool:
        return self.accepted_at is None or since > self.accepted_at


def record_rejection(
    circuit: Circuit, connection: Connection, version: str | None, error: str, now: int, *, certain: bool
) -> CircuitChanges:
    """Record that a connection was rejected, perhaps because of its client. The first time counts.

    The connection's own record says when that was of a grant that is dead for so long that it is not remembered here.
    """
    others = circuit.rejected.keys() - {connection.name}
    forgotten = sorted(others, key=circuit.rejected.__getitem__)[: max(len(others) + 1 - MAX_REJECTED, 0)]
    since = now if certain else connection.rejected_at or now
    changes: CircuitChanges = {f"rejected.{name}": None for name in forgotten[:MAX_REMOVED_AT_ONCE]}
    changes[f"rejected.{connection.name}"] = circuit.rejected.get(connection.name, since)
    if circuit.is_open:
        changes |= {f"waiting.{connection.name}": now, "error": error, "version": version, "suspected": None}
    return changes


def open_circuit(
    circuit: Circuit, connection: Connection, version: str | None, error: str, now: int, *, certain: bool
) -> CircuitChanges:
    """Blame the client: one event for all its connections, with the names of those that were rejected so far."""
    known = sorted(circuit.recent_rejections(now) | {connection.name})
    event = create_event(
        EventType.CLIENT_REFUSED, connection, now, reason=error, client=connection.client, connections=known[:20]
    )
    return {
        "refused_at": now,
        f"waiting.{connection.name}": now,
        "error": error,
        "version": version,
        "probe_at": compute_next_probe_at(now),
        "suspected": None if certain else True,
        **{f"outbox.{event_id}": body for event_id, body in event.items()},
    }


def claim_probe(version: str | None, now: int) -> CircuitChanges:
    """Claim the probe; the next one follows an hour later. The entry that it shows is the one that counts."""
    return {"probe_at": compute_next_probe_at(now), "version": version, "suspected": None}


def record_acceptance(circuit: Circuit, connection: str, now: int) -> CircuitChanges:
    """Record that the provider accepted the client, and close the circuit."""
    return {**_close(circuit), "accepted_at": now, f"rejected.{connection}": None, f"waiting.{connection}": None}


def reset_rejections(circuit: Circuit) -> Iterator[CircuitChanges]:
    """Forget all rejections of the old credentials, in several changes, the last of which closes the circuit."""
    rejected = sorted(circuit.rejected)
    for start in range(0, len(rejected), MAX_REMOVED_AT_ONCE):
        yield {f"rejected.{name}": None for name in rejected[start : start + MAX_REMOVED_AT_ONCE]}
    yield {**_close(circuit), "accepted_at": None}


def hold_back(connection: Connection, circuit: Circuit, now: int) -> RecordChange:
    """Hold back a connection that is due: no event of its own, and a look after the next probe, with jitter."""
    if connection.status is Status.CLIENT_REFUSED and (connection.refresh_at or 0) > now:
        return RecordChange()  # woken, and the circuit opened again before it came
    look_at = max(circuit.probe_at or now, now) + random.randint(30, 600)  # noqa: S311 - jitter, no secret
    change = RecordChange(schedule_refresh(connection, look_at))
    needs_its_owner = connection.status is Status.AUTHORIZATION_REQUIRED and connection.name not in circuit.rejected
    if connection.status is Status.CLIENT_REFUSED or needs_its_owner:
        return change
    return change | state_machine.move(connection.status, Status.CLIENT_REFUSED).set(
        {
            "failures": max(connection.failures, 1),
            "last_error": circuit.error,
            "last_error_at": now,
            "rejected_at": None,
        }
    )


def compute_next_probe_at(now: int) -> int:
    """Compute when the next probe may go: about an hour ahead, with jitter of an eighth."""
    return now + int(CLIENT_PROBE_SECONDS * random.uniform(0.875, 1.125))  # noqa: S311


def _close(circuit: Circuit) -> CircuitChanges:
    # An event that was not delivered is no longer true, and would be reported at the next trouble, months later.
    changes: CircuitChanges = {f"outbox.{key}": None for key in circuit.outbox}
    if circuit.is_open:
        changes |= dict.fromkeys(("refused_at", "error", "version", "probe_at", "suspected"))
    return changes
