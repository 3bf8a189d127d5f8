"""The circuit breaker: keeps connections from spending for a client that is refused, and wakes them afterwards.

A refresh reads its client's item once, in the preparation, and writes nothing to it while nothing is wrong. (The read
is half a percent of what the three writes cost, and takes milliseconds; any way to spare it would have to tell every
connection of a client that it is refused, by a write each.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from ..errors import Conflict
from ..oauth.error_response import Refusal
from ..ports import Circuits, Clock, PortUnavailable, Queue
from ..record import circuit as circuits
from ..record import failures, lost_response, outbox, queued_wakeup, token_save
from ..record.circuit import Changes, Circuit
from ..record.connection import Connection, EventType
from .refresh_attempt import RefreshAttempt


@dataclass(frozen=True, slots=True)
class CircuitDecision:
    """What a connection that is due may do, by its client's circuit as it was seen.

    ``held`` are the changes of a connection that is held back, None for one that may pass; ``probes`` says that it may
    pass as the probe, once it has claimed that. ``version`` is that of the client's entry.
    """

    circuit: Circuit
    version: str | None
    held: Changes | None = None
    probes: bool = False

    def ignore_client_refusal(self, connection: Connection) -> Connection:
        """The connection as what befalls it by itself is judged: its client holds it back no longer, unless it does."""
        return connection if self.circuit.is_open else failures.ignore_client_refusal(connection)


class CircuitBreaker:
    """The circuits of all clients, for one pass over one connection after the other."""

    def __init__(self, circuits: Circuits, queue: Queue, clock: Clock, lease: int) -> None:
        self._circuits = circuits
        self._queue = queue
        self._clock = clock
        #: How long one worker has a connection to itself, in seconds.
        self._lease = lease
        self._telling: tuple[str, Changes] | None = None

    def decide(self, connection: Connection, version: str | None, *, force: bool) -> CircuitDecision:
        """Whether a connection that is due may spend.

        Parameters
        ----------
        version
            Of the client's entry as it was read for this pass: another one than was refused may be tried at once.
        force
            An operator wants to know: the probe need not wait for its hour.

        Raises
        ------
        PortUnavailable
        """
        self._telling = None
        circuit = self._circuits.get(connection.client)
        while circuit.is_open:
            if force or circuit.may_probe(connection.name, version, self._now):
                return CircuitDecision(circuit, version, probes=True)
            if connection.name in circuit.waiting or len(circuit.waiting) >= circuits.MAX_WAITING:
                return self._held(connection, circuit, version)
            try:
                # Only if it is still open: whoever closes it wakes those that it finds waiting.
                waits = {f"waiting.{connection.name}": self._now}
                circuit = self._changed(circuit, waits)
            except Conflict as conflict:
                circuit = conflict.current
        if circuit.waiting:
            self._wake(circuit)  # who closed it did not come to that
        return CircuitDecision(circuit, version)

    def claim(self, connection: Connection, passage: CircuitDecision) -> bool:
        """Be the one that probes, if this is a probe; False when somebody else was quicker. Raises PortUnavailable."""
        if not passage.probes:
            return True
        circuit = passage.circuit
        only_if = {"refused_at": circuit.refused_at, "probe_at": circuit.probe_at}
        try:
            self._circuits.change(circuit.client, circuits.claim_probe(passage.version, self._now), only_if=only_if)
        except Conflict:
            return False
        return True

    def refused(self, spend: RefreshAttempt, refusal: Refusal, passage: CircuitDecision) -> Changes:
        """What a refusal changes in its connection, having found out whether it is the client that is refused."""
        connection, kind = spend.connection, failures.classify_refusal(spend.connection, refusal)
        if failures.says_nothing_of_client(refusal):
            self.release_probe(passage, {})  # another connection may probe at once
            return self._changes(spend, refusal)
        # A replay of what may have been spent already is refused for that, by an answer that may mean either.
        if kind == "client_rejected" or (kind == "rejected_unknown" and not spend.in_doubt):
            circuit = self._testified(connection, refusal, passage)
            if circuit and circuit.is_open:
                return self._of_refused_client(spend, refusal, circuit)
            return self._changes(spend, refusal)
        if kind == "grant_rejected":
            self.accepted(connection, passage)
        changes = self._changes(replace(spend, connection=passage.ignore_client_refusal(connection)), refusal)
        if kind != "grant_rejected":
            self.release_probe(passage, changes)
        return changes

    def accepted(self, connection: Connection, passage: CircuitDecision) -> None:
        """The provider accepted the client: nothing is held back any more, and what waited is due, one by one."""
        circuit = passage.circuit
        if not circuit.is_changed_by_acceptance(connection.name, self._now):
            return
        with suppress(Conflict, PortUnavailable):  # then the next one to be accepted closes it
            circuit = self._changed(circuit, circuits.record_acceptance(circuit, connection.name, self._now))
            self._wake(circuit)

    def release_probe(self, passage: CircuitDecision, changes: Changes) -> None:
        """A probe came to nothing: whoever is due next, from its connection's next try on, is the probe."""
        if passage.probes:
            again = min(changes.get("refresh_at") or self._now, self._now + failures.CLIENT_PROBE_SECONDS)
            with suppress(Conflict, PortUnavailable):
                self._changed(passage.circuit, {"probe_at": again})

    def mark_event_persisted(self) -> None:
        """The event that was handed out with the last changes is in a connection's outbox, which delivers it."""
        telling, self._telling = self._telling, None
        if telling:
            client, news = telling
            with suppress(Conflict, PortUnavailable):  # then it is handed out again, by the same id
                self._circuits.change(client, dict.fromkeys(news), only_if={})

    # --- small steps ------------------------------------------------------------------------------------------

    def _testified(self, connection: Connection, refusal: Refusal, passage: CircuitDecision) -> Circuit | None:
        """Write down that a connection was rejected, and open the circuit if that is enough.

        Returns the circuit as it then is; None when the table does not take it: then the connection stands for itself.
        """
        # A connection that never had a token may be what is wrong: its variables, say.
        certain = refusal.kind == "client_rejected" and connection.generation > 0
        error, version, now = refusal.code or refusal.kind, passage.version, self._now
        circuit = passage.circuit
        with suppress(PortUnavailable):
            circuit = self._written(
                circuit, lambda seen: circuits.record_rejection(seen, connection, version, error, now, certain=certain)
            )
            # Judged by what is written, so that of two witnesses at the same time one sees both.
            while circuit.is_client_at_fault(connection.name, now, certain=certain):
                others = circuit.recent_rejections(now) - {connection.name}
                try:
                    changes = circuits.open_circuit(circuit, connection, version, error, now, certain=certain)
                    circuit = self._changed(circuit, changes)
                except Conflict as conflict:
                    circuit = conflict.current
                else:
                    # They may have been taken for dead grants, and shall say what they are.
                    self._woken(others)
            return circuit
        return None

    def _of_refused_client(self, spend: RefreshAttempt, refusal: Refusal, circuit: Circuit) -> Changes:
        connection = spend.connection
        changes = self._changes(spend, replace(refusal, kind="client_rejected"))
        # One event for all the client's connections: the circuit's.
        own = {
            key
            for key, body in changes.items()
            if key.startswith("outbox.") and body and body["type"] == EventType.CLIENT_REFUSED
        }
        news = self._news(connection, circuit)
        if connection.name not in {body["detail"]["connection"] for body in news.values()}:
            own |= {"alerted_at"}  # nobody was told of this one
        changes = {key: value for key, value in changes.items() if key not in own} | {"rejected_at": None}
        if not spend.in_doubt and circuit.probe_at is not None:
            changes |= token_save.schedule_refresh(connection, circuit.probe_at)
        return changes | outbox.add_events(connection, news)

    def _changes(self, spend: RefreshAttempt, refusal: Refusal) -> Changes:
        if spend.in_doubt:
            return lost_response.apply_refusal_in_doubt(spend.connection, spend.profile, refusal, self._now)
        return failures.apply_refusal(spend.connection, refusal, self._now)

    def _held(self, connection: Connection, circuit: Circuit, version: str | None) -> CircuitDecision:
        return CircuitDecision(
            circuit,
            version,
            circuits.hold_back(connection, circuit, self._now)
            | outbox.add_events(connection, self._news(connection, circuit)),
        )

    def _news(self, connection: Connection, circuit: Circuit) -> Changes:
        """The event that is not on its way yet goes into the outbox of the connection that opened the circuit.

        Of whichever one comes by, once that one's worker has had its time.
        """
        news = {
            f"outbox.{key}": dict(body)
            for key, body in circuit.outbox.items()
            if body["detail"]["connection"] == connection.name or body["at"] + self._lease <= self._now
        }
        self._telling = (circuit.client, news) if news else None
        return news

    def _wake(self, circuit: Circuit) -> None:
        waiting = sorted(circuit.waiting)
        for start in range(0, len(waiting), circuits.MAX_REMOVED_AT_ONCE):
            some = waiting[start : start + circuits.MAX_REMOVED_AT_ONCE]
            if not self._woken(some, start):
                return
            with suppress(Conflict, PortUnavailable):  # then they are woken again, and find nothing to do
                struck = {f"waiting.{name}": None for name in some}
                self._circuits.change(circuit.client, struck, only_if={"refused_at": None})

    def _woken(self, connections: Iterable[str], after: int = 0) -> bool:
        messages = queued_wakeup.build_messages(connections, after)
        try:
            return self._queue.send_many(messages) == len(messages)
        except PortUnavailable:
            return False

    def _written(self, circuit: Circuit, changes_of: Callable[[Circuit], Changes]) -> Circuit:
        while True:
            try:
                return self._changed(circuit, changes_of(circuit))
            except Conflict as conflict:
                circuit = conflict.current

    def _changed(self, circuit: Circuit, changes: Changes) -> Circuit:
        """Change a circuit if it is as open, or as closed, as it was seen."""
        return self._circuits.change(circuit.client, changes, only_if={"refused_at": circuit.refused_at})

    @property
    def _now(self) -> int:
        return int(self._clock.now())
