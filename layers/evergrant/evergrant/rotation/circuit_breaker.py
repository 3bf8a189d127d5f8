"""The circuit breaker: stops requests for a client that is refused, and wakes its connections afterwards.

A refresh reads its client's item once, in the preparation, and writes nothing to it while nothing is wrong. The read is
half a percent of what the three writes cost, and takes milliseconds. Any way to spare it would have to inform every
connection of a client by a write each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from ..errors import Conflict
from ..oauth.error_response import Refusal
from ..ports import Circuits, Clock, PortUnavailable, Queue
from ..record import circuit as circuits
from ..record import failures, lost_response, outbox, queued_wakeup, state_machine
from ..record.circuit import Circuit, CircuitChanges
from ..record.connection import Connection, Events, RecordChange
from ..record.refresh_schedule import schedule_refresh
from ..record.status import EventType
from .refresh_attempt import RefreshAttempt


@dataclass(frozen=True, slots=True)
class CircuitDecision:
    """What a connection that is due may do, by its client's circuit as it was read.

    ``held`` is the change of a connection that is held back, None for one that may pass; ``probes`` says that it may
    pass as the probe, once it has claimed that. ``version`` is that of the client's entry.
    """

    circuit: Circuit
    version: str | None
    held: RecordChange | None = None
    probes: bool = False

    def ignore_client_refusal(self, connection: Connection) -> Connection:
        """Return the connection as its own failures are judged; as it is while the circuit is open."""
        return connection if self.circuit.is_open else state_machine.ignore_client_refusal(connection)


class CircuitBreaker:
    """The circuits of all clients, for one pass over one connection after the other."""

    def __init__(self, circuits: Circuits, queue: Queue, clock: Clock, lease: int) -> None:
        self._circuits = circuits
        self._queue = queue
        self._clock = clock
        #: How long one worker has a connection to itself, in seconds.
        self._lease = lease
        self._handed_out: tuple[str, Events] | None = None

    def decide(self, connection: Connection, version: str | None, *, force: bool) -> CircuitDecision:
        """Decide whether a connection that is due may send a request.

        Parameters
        ----------
        version
            Of the client's entry as this pass has read it: another one than was refused may be tried at once.
        force
            An operator wants to know: the probe need not wait for its hour.

        Raises
        ------
        PortUnavailable
        """
        self._handed_out = None
        circuit = self._circuits.get(connection.client)
        while circuit.is_open:
            if force or circuit.may_probe(connection.name, version, self._now):
                return CircuitDecision(circuit, version, probes=True)
            if connection.name in circuit.waiting or len(circuit.waiting) >= circuits.MAX_WAITING:
                return self._hold_back(connection, circuit, version)
            try:
                # Only if it is still open: the worker that closes it wakes the connections that it finds waiting.
                waits = {f"waiting.{connection.name}": self._now}
                circuit = self._change(circuit, waits)
            except Conflict as conflict:
                circuit = conflict.current
        if circuit.waiting:
            self._wake(circuit)  # the worker that closed it did not come to that
        return CircuitDecision(circuit, version)

    def claim(self, connection: Connection, decision: CircuitDecision) -> bool:
        """Claim the probe, if this is one; False when another worker was quicker. Raises PortUnavailable."""
        if not decision.probes:
            return True
        circuit = decision.circuit
        only_if = {"refused_at": circuit.refused_at, "probe_at": circuit.probe_at}
        try:
            self._circuits.change(circuit.client, circuits.claim_probe(decision.version, self._now), only_if=only_if)
        except Conflict:
            return False
        return True

    def apply_refusal(self, attempt: RefreshAttempt, refusal: Refusal, decision: CircuitDecision) -> RecordChange:
        """Find out whether the client is refused, and return what the refusal changes in the connection."""
        connection, kind = attempt.connection, failures.classify_refusal(attempt.connection, refusal)
        if failures.says_nothing_of_client(refusal):
            self.release_probe(decision, RecordChange())  # another connection may probe at once
            return self._apply(attempt, refusal)
        # The provider may reject a replay because it has used the token before, by a response that may mean either.
        if kind == "client_rejected" or (kind == "rejected_unknown" and not attempt.in_doubt):
            circuit = self._record_rejection(connection, refusal, decision)
            if circuit and circuit.is_open:
                return self._apply_client_refusal(attempt, refusal, circuit)
            return self._apply(attempt, refusal)
        if kind == "grant_rejected":
            self.record_acceptance(connection, decision)
        change = self._apply(replace(attempt, connection=decision.ignore_client_refusal(connection)), refusal)
        if kind != "grant_rejected":
            self.release_probe(decision, change)
        return change

    def record_acceptance(self, connection: Connection, decision: CircuitDecision) -> None:
        """Close the circuit: the provider accepted the client. The connections that wait are due, one by one."""
        circuit = decision.circuit
        if not circuit.is_changed_by_acceptance(connection.name, self._now):
            return
        with suppress(Conflict, PortUnavailable):  # then the next connection that is accepted closes it
            circuit = self._change(circuit, circuits.record_acceptance(circuit, connection.name, self._now))
            self._wake(circuit)

    def release_probe(self, decision: CircuitDecision, change: RecordChange) -> None:
        """Give the probe to the next connection that is due, since this one brought no result."""
        if decision.probes:
            again = min(change.fields.get("refresh_at") or self._now, self._now + failures.CLIENT_PROBE_SECONDS)
            with suppress(Conflict, PortUnavailable):
                self._change(decision.circuit, {"probe_at": again})

    def mark_event_persisted(self) -> None:
        """Remove the circuit's event, which a connection's outbox has now, and delivers."""
        handed_out, self._handed_out = self._handed_out, None
        if handed_out:
            client, events = handed_out
            with suppress(Conflict, PortUnavailable):  # then it is handed out again, by the same id
                self._circuits.change(client, {f"outbox.{event_id}": None for event_id in events}, only_if={})

    # --- small steps ------------------------------------------------------------------------------------------

    def _record_rejection(self, connection: Connection, refusal: Refusal, decision: CircuitDecision) -> Circuit | None:
        """Record that a connection was rejected, and open the circuit if that is enough.

        Returns the circuit as it then is; None when the table does not take it: then the connection stands for itself.
        """
        # A connection that never had a token may be what is wrong: its variables, say.
        certain = refusal.kind == "client_rejected" and connection.generation > 0
        error, version, now = refusal.code or refusal.kind, decision.version, self._now
        circuit = decision.circuit
        with suppress(PortUnavailable):
            circuit = self._write(
                circuit, lambda seen: circuits.record_rejection(seen, connection, version, error, now, certain=certain)
            )
            # Judged by what is written, so that of two workers that record at the same time one sees both.
            while circuit.is_client_at_fault(connection.name, now, certain=certain):
                others = circuit.recent_rejections(now) - {connection.name}
                try:
                    changes = circuits.open_circuit(circuit, connection, version, error, now, certain=certain)
                    circuit = self._change(circuit, changes)
                except Conflict as conflict:
                    circuit = conflict.current
                else:
                    # They may have been taken for dead grants: woken, they look again and say what they are.
                    self._send_wakeups(others)
            return circuit
        return None

    def _apply_client_refusal(self, attempt: RefreshAttempt, refusal: Refusal, circuit: Circuit) -> RecordChange:
        """Apply a refusal of the client: one event for all its connections, which is the circuit's."""
        connection = attempt.connection
        change = self._apply(attempt, replace(refusal, kind="client_rejected"))
        own = {key: body for key, body in change.events.items() if not _reports_client(body)}
        events = self._hand_out(connection, circuit)
        change = RecordChange(change.fields, own).set({"rejected_at": None})
        if connection.name not in {body["detail"]["connection"] for body in events.values() if body}:
            change = change.without("alerted_at")  # no alert was sent for this one
        if not attempt.in_doubt and circuit.probe_at is not None:
            change = change.set(schedule_refresh(connection, circuit.probe_at))
        return change | outbox.add_events(connection, events)

    def _apply(self, attempt: RefreshAttempt, refusal: Refusal) -> RecordChange:
        if attempt.in_doubt:
            return lost_response.apply_refusal_in_doubt(attempt.connection, attempt.profile, refusal, self._now)
        return failures.apply_refusal(attempt.connection, refusal, self._now)

    def _hold_back(self, connection: Connection, circuit: Circuit, version: str | None) -> CircuitDecision:
        change = circuits.hold_back(connection, circuit, self._now)
        events = outbox.add_events(connection, self._hand_out(connection, circuit))
        return CircuitDecision(circuit, version, change | events)

    def _hand_out(self, connection: Connection, circuit: Circuit) -> Events:
        """Return the circuit's event, for the outbox of the connection that opened the circuit.

        Any connection takes it once the worker of that one has had its time.
        """
        events = {
            event_id: dict(body)
            for event_id, body in circuit.outbox.items()
            if body["detail"]["connection"] == connection.name or body["at"] + self._lease <= self._now
        }
        self._handed_out = (circuit.client, events) if events else None
        return events

    def _wake(self, circuit: Circuit) -> None:
        waiting = sorted(circuit.waiting)
        for start in range(0, len(waiting), circuits.MAX_REMOVED_AT_ONCE):
            some = waiting[start : start + circuits.MAX_REMOVED_AT_ONCE]
            if not self._send_wakeups(some, start):
                return
            with suppress(Conflict, PortUnavailable):  # then they are woken again, and find nothing to do
                removed = {f"waiting.{name}": None for name in some}
                self._circuits.change(circuit.client, removed, only_if={"refused_at": None})

    def _send_wakeups(self, connections: Iterable[str], after: int = 0) -> bool:
        messages = queued_wakeup.build_messages(connections, after)
        try:
            return self._queue.send_many(messages) == len(messages)
        except PortUnavailable:
            return False

    def _write(self, circuit: Circuit, changes_of: Callable[[Circuit], CircuitChanges]) -> Circuit:
        while True:
            try:
                return self._change(circuit, changes_of(circuit))
            except Conflict as conflict:
                circuit = conflict.current

    def _change(self, circuit: Circuit, changes: CircuitChanges) -> Circuit:
        """Change a circuit if it is as open, or as closed, as it was read."""
        return self._circuits.change(circuit.client, changes, only_if={"refused_at": circuit.refused_at})

    @property
    def _now(self) -> int:
        return int(self._clock.now())


def _reports_client(body: object) -> bool:
    return isinstance(body, dict) and body["type"] == EventType.CLIENT_REFUSED
