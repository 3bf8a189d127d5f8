"""The circuit breaker: holds requests back while a client is refused or a token endpoint does not work.

A refresh reads the two circuits once, in the preparation, in one call, and writes nothing to them while nothing is
wrong. The connections that are held back stay due; the tick passes them over, and sends the probes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from ..errors import Conflict, LostResponse, NotSent
from ..oauth.error_response import Refusal
from ..oauth.token_set import TokenSet
from ..ports import Circuits, Clock, PortUnavailable, Queue
from ..record import circuit as circuits
from ..record import queued_dispatch, queued_wakeup, refusals
from ..record.circuit import Answer, Circuit, Surroundings
from ..record.connection import Connection
from ..record.probes import MIN_INTERVAL_SECONDS, compute_next_probe_at
from ..times import TICK_SECONDS
from .refresh_attempt import AttemptOutcome
from .refresh_demand import TokenDemand

#: How often a change of a circuit is tried over other workers' changes: it only informs other connections.
_MAX_TRIES = 3
#: Ticks send the probes; after this delay none does.
_OVERDUE_SECONDS = 2 * TICK_SECONDS
#: Reasons of an unsent request that lie with this deployment, or this connection, and not with the endpoint.
_OWN_REASONS = frozenset({"host", "request", "address"})


class CircuitBreaker:
    """The circuits of all clients and endpoints, for one pass over one connection after the other."""

    def __init__(self, circuits: Circuits, queue: Queue, clock: Clock) -> None:
        self._circuits = circuits
        self._queue = queue
        self._clock = clock

    def look(self, connection: Connection, endpoint: str, version: str | None) -> Surroundings:
        """Read the circuits of a connection, and the hold. ``version`` is its client's. Raises PortUnavailable."""
        client_key = circuits.create_client_key(connection.client)
        endpoint_key = circuits.create_endpoint_key(endpoint)
        found = self._circuits.get_many((circuits.HOLD_KEY, client_key, endpoint_key))
        return Surroundings(found[client_key], found[endpoint_key], version, found[circuits.HOLD_KEY])

    def find_obstacle(self, connection: Connection, surroundings: Surroundings, demand: TokenDemand) -> Circuit | None:
        """Find the open circuit that holds the connection back. Its probe passes, and so does what an operator forces.

        Nothing passes the hold: a refresh token of a restored table may have been used.

        Another entry of the client than was refused may be tried at once, by one connection. So may a connection
        without a valid token where no tick sent a probe in time: it may not be due, and a caller may wait for it. So
        may one whose refresh token was spared, just before its end.
        """
        held_by = surroundings.open_circuit
        if held_by is not None and held_by.is_hold:
            return held_by
        if held_by is None or demand.force or demand.is_probe_of(held_by, connection, self._now):
            return None
        if held_by.is_client and surroundings.version != held_by.version:
            changes = {"version": surroundings.version, "has_changed": True, "probes": 0, "probed_at": self._now}
            return None if self._claim(held_by, changes) else held_by
        if connection.expires_at is not None and connection.expires_at > self._now:
            # A refresh token that was spared so far is at its own time.
            probes_from = (held_by.probed_at or 0) + MIN_INTERVAL_SECONDS
            may_probe = connection.unclear_at is not None and not held_by.is_client and self._now >= probes_from
        else:
            may_probe = self._now >= compute_next_probe_at(held_by, self._now) + _OVERDUE_SECONDS
        return None if may_probe and self._claim(held_by, {"probed_at": self._now}) else held_by

    def record(self, connection: Connection, outcome: AttemptOutcome, surroundings: Surroundings) -> Surroundings:
        """Record what an outcome says about the client and the endpoint. Returns the circuits as they then are."""
        to_client, to_endpoint = _describe(connection, outcome)
        return Surroundings(
            self._record(connection, to_client, surroundings.client, surroundings.version),
            self._record(connection, to_endpoint, surroundings.endpoint, None),
            surroundings.version,
        )

    def mark_alerted(self, circuit: Circuit) -> None:
        """Remember that the operator knows of the trouble: there is one alert a day for all connections."""
        with suppress(Conflict, PortUnavailable):  # then there is another alert
            self._circuits.change(circuit.key, {"alerted_at": self._now}, only_if={})

    def _record(self, connection: Connection, answer: Answer | None, circuit: Circuit, version: str | None) -> Circuit:
        seen = circuit
        if answer is None:
            return seen
        for _ in range(_MAX_TRIES):
            changes = circuits.record_answer(seen, connection, answer, version, self._now)
            if not changes:
                return seen
            try:
                changed = self._circuits.change(circuit.key, changes, only_if={"opened_at": seen.opened_at})
            except Conflict as conflict:
                seen = conflict.current
            except PortUnavailable:
                return seen  # the connection stands for itself
            else:
                self._resume_others(seen, changed)
                return changed
        return seen

    def _resume_others(self, before: Circuit, after: Circuit) -> None:
        """Queue what a tick would do for the connections that were held back, and wake those refused without a reason.

        Where that fails, the next tick finds them due, or they come at their own times.
        """
        with suppress(PortUnavailable):
            if before.is_open and not after.is_open:
                self._queue.send(queued_dispatch.create_message(after.key))
            elif refused := before.list_vague() - after.list_vague():
                self._queue.send_many(queued_wakeup.build_messages(refused))

    def _claim(self, circuit: Circuit, changes: Mapping[str, object]) -> bool:
        """Claim a probe. Of several workers only one does."""
        seen = {"opened_at": circuit.opened_at, "version": circuit.version, "probed_at": circuit.probed_at}
        try:
            self._circuits.change(circuit.key, changes, only_if=seen)
        except (Conflict, PortUnavailable):
            return False
        return True

    @property
    def _now(self) -> int:
        return int(self._clock.now())


def _describe(connection: Connection, outcome: AttemptOutcome) -> tuple[Answer | None, Answer | None]:
    """Describe what an outcome says about the client, and about the endpoint; None where it says nothing."""
    if isinstance(outcome, Refusal):
        return refusals.describe_to_client(connection, outcome), refusals.describe_to_endpoint(outcome)
    if isinstance(outcome, NotSent):
        is_own = outcome.reason in _OWN_REASONS
        return None, None if is_own else Answer("failed", "not_sent", detail=outcome.reason)
    if isinstance(outcome, LostResponse):
        return None, Answer("failed", "lost_response", detail=outcome.reason)
    answer = Answer("accepted" if isinstance(outcome, TokenSet) else "answered")
    return answer, answer
