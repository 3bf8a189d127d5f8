"""Circuits: what the answers to one connection say about its client, and about its token endpoint. Pure.

There is one item for each client, and one for each token endpoint, with which something is, or lately was, wrong. While
a circuit is open, nothing is sent but probes (:mod:`.probes`). Times are epoch seconds.

A connection that fails while another one succeeds has a trouble of its own. Its failures do not count until it succeeds
itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ..times import DAY_SECONDS, HOUR_SECONDS
from .connection import Connection
from .status import Status

_CLIENT, _ENDPOINT = "client#", "endpoint#"
#: The key of the hold: an operator's circuit over all connections, which gets no probes. Its item is outside the record
#: table: a table that was restored must neither bring it back nor have lost it.
HOLD_KEY = "hold#"
#: Connections refused in a row after which the client is to blame, and failed ones after which the endpoint is.
_MIN_FAILED = 3
#: Failures of an endpoint count together within so many seconds.
_ENDPOINT_WINDOW_SECONDS = 120
#: So many connections refused by one code, within so many seconds and none accepted in between, are an incident.
_MIN_INCIDENT, _INCIDENT_WINDOW_SECONDS = 5, 1800
#: Entries that one item remembers: each refresh reads it.
MAX_ENTRIES = 100
#: An alert about a client or an endpoint is repeated after this time.
ALERT_AGAIN_SECONDS, _ALERT_AGAIN_AFTER_SUCCESS_SECONDS = DAY_SECONDS, HOUR_SECONDS

VAGUE = "rejected_unknown"
UNAUTHORIZED = "unauthorized_client"

#: Field to new value, as :meth:`evergrant.ports.Circuits.change` takes them.
CircuitChanges = dict[str, Any]


class Failure(NamedTuple):
    """The failure of one connection: when, and by which code."""

    at: int
    code: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What one answer says about a client or an endpoint, and how it is shown to an operator.

    ``kind`` is ``accepted`` for a token set, ``answered`` where client or endpoint did its part although the answer is
    a refusal, ``failed`` where it did not, ``neutral`` where it says neither. ``refused_code`` is the code by which a
    grant, or a request that worked before, was refused.
    """

    kind: Literal["accepted", "answered", "failed", "neutral"]
    code: str = ""
    http_status: int | None = None
    detail: str | None = None
    retry_after: int | None = None
    refused_code: str | None = None


@dataclass(frozen=True, slots=True)
class Circuit:
    """The state of one client or endpoint; most are empty.

    ``opened_at`` says since when the circuit is open; ``code``, ``http_status`` and ``detail`` describe the last
    failure. ``probes`` counts the failed probes in a row, ``probed_at`` is the last one that was planned, ``urgent_at``
    the one before the first held token expires, ``retry_at`` what Retry-After asks for. ``paced_until`` is until when a
    dispatch has filled the declared rate.

    ``answered_at`` is the last answer that showed client or endpoint at work, ``accepted_at`` the last token set: both
    are written only where they change what else the item says. ``failures`` are the connections that failed since
    their own last success, ``refusals`` those whose grants were refused after they had worked; ``incident_at`` is when
    these became many.

    Of a client, ``version`` is the entry that was refused, ``accepted_version`` the one last accepted, and
    ``has_changed`` says that they differ.
    """

    key: str
    opened_at: int | None = None
    code: str | None = None
    http_status: int | None = None
    detail: str | None = None
    probes: int = 0
    probed_at: int | None = None
    urgent_at: int | None = None
    retry_at: int | None = None
    paced_until: int | None = None
    version: str | None = None
    accepted_version: str | None = None
    has_changed: bool | None = None
    answered_at: int | None = None
    accepted_at: int | None = None
    incident_at: int | None = None
    alerted_at: int | None = None
    failures: Mapping[str, Failure] = field(default_factory=dict)
    refusals: Mapping[str, Failure] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether only probes may be sent."""
        return self.opened_at is not None

    @property
    def has_failed_probe(self) -> bool:
        """Whether the circuit is open and a probe has failed since: the third failure, if not of one connection."""
        return self.is_open and self.probes > 0

    @property
    def is_client(self) -> bool:
        """Whether this is a client's circuit, not an endpoint's."""
        return self.key.startswith(_CLIENT)

    @property
    def is_hold(self) -> bool:
        """Whether this is the operator's hold."""
        return self.key == HOLD_KEY

    @property
    def name(self) -> str:
        """The client's name, or the endpoint's URL."""
        return self.key.partition("#")[2]

    def counts(self, failure: Failure) -> bool:
        """Whether nothing has shown since that the failing connection has a trouble of its own."""
        # A refused grant shows that the client was authenticated; not that another one may use this grant type.
        since = self.accepted_at if failure.code == UNAUTHORIZED else self.answered_at
        return since is None or failure.at >= since  # within one second, the order is not known

    def has_others_failing(self, connection: str) -> bool:
        """Whether other connections fail too, with no success since."""
        return any(name != connection and self.counts(failure) for name, failure in self.failures.items())

    def list_vague(self) -> frozenset[str]:
        """List the connections that were refused without a reason, with no success of another one since."""
        return frozenset(name for name, other in self.failures.items() if other.code == VAGUE and self.counts(other))

    def is_alert_due(self, now: int) -> bool:
        """Whether an alert about it would be the first for a day, or for an hour if it has worked since."""
        if self.alerted_at is None:
            return True
        has_worked = self.answered_at is not None and self.answered_at > self.alerted_at
        return now >= self.alerted_at + (_ALERT_AGAIN_AFTER_SUCCESS_SECONDS if has_worked else ALERT_AGAIN_SECONDS)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a pass knows of the client and the endpoint of its connection. ``version`` is of the client's entry.

    ``hold`` is open while an operator holds all refreshes.
    """

    client: Circuit
    endpoint: Circuit
    version: str | None = None
    hold: Circuit = Circuit(HOLD_KEY)

    @property
    def open_circuit(self) -> Circuit | None:
        """The circuit that holds the connection back."""
        return next((circuit for circuit in (self.hold, self.endpoint, self.client) if circuit.is_open), None)


#: Where nothing is known of other connections.
NO_SURROUNDINGS = Surroundings(Circuit(_CLIENT), Circuit(_ENDPOINT))


def create_client_key(client: str) -> str:
    """Return the key of a client's circuit."""
    return f"{_CLIENT}{client}"


def create_endpoint_key(url: str) -> str:
    """Return the key of the circuit of a token endpoint, by its URL after variables."""
    return f"{_ENDPOINT}{url}"


def record_answer(
    circuit: Circuit, connection: Connection, answer: Answer, version: str | None, now: int
) -> CircuitChanges:
    """Record what an answer says about a client or an endpoint; nothing where it says what is known already."""
    if answer.kind == "failed":
        return _record_failure(circuit, connection, answer, version, now)
    changes: CircuitChanges = {}
    if answer.kind != "neutral":
        changes = _record_success(circuit, connection.name, version, now, is_accepted=answer.kind == "accepted")
    if answer.refused_code:
        changes |= _record_refused_grant(circuit, connection, answer.refused_code, now)
    return changes


def _record_success(
    circuit: Circuit, connection: str, version: str | None, now: int, *, is_accepted: bool
) -> CircuitChanges:
    """Close the circuit, and remember when it worked if that says something about other connections."""
    changes: CircuitChanges = {f"failures.{connection}": None} if connection in circuit.failures else {}
    if is_accepted and connection in circuit.refusals:
        changes[f"refusals.{connection}"] = None
    if circuit.is_open:
        changes |= dict.fromkeys(_OF_AN_OPEN_CIRCUIT) | {"probes": 0}
    if is_accepted and circuit.is_client and circuit.accepted_version != version:
        changes["accepted_version"] = version
    is_news = changes or any(map(circuit.counts, circuit.failures.values()))
    if is_news or (is_accepted and any(_is_recent(circuit, refusal) for refusal in circuit.refusals.values())):
        changes |= {"answered_at": now} | ({"accepted_at": now, "incident_at": None} if is_accepted else {})
    return changes


_PROBE_FIELDS = ("probed_at", "urgent_at", "retry_at")
_OF_AN_OPEN_CIRCUIT = ("opened_at", "code", "http_status", "detail", *_PROBE_FIELDS, "version", "has_changed")


def forget_failures(circuit: Circuit) -> CircuitChanges:
    """Close a client's circuit for another entry. The one accepted last stays, so that one refusal opens it again."""
    changes: CircuitChanges = {f"failures.{name}": None for name in circuit.failures}
    if circuit.is_open:
        changes |= dict.fromkeys(_OF_AN_OPEN_CIRCUIT) | {"probes": 0}
    return changes | {"alerted_at": None} if changes else changes


def _record_failure(
    circuit: Circuit, connection: Connection, answer: Answer, version: str | None, now: int
) -> CircuitChanges:
    """Record that client or endpoint failed this connection, and open the circuit if that is enough."""
    known = circuit.failures.get(connection.name)
    is_own_trouble = known is not None and not circuit.counts(known)
    changes: CircuitChanges = {}
    # What these codes mean depends on what other connections got since.
    is_new = known is not None and answer.code in (VAGUE, UNAUTHORIZED) and known.code != answer.code
    if is_new or not is_own_trouble:
        changes = _make_room(circuit) if known is None else {}
        changes[f"failures.{connection.name}"] = Failure(now, answer.code)
    shown: CircuitChanges = {"code": answer.code, "http_status": answer.http_status, "detail": answer.detail}
    # An urgent probe does not prolong the wait of those whose tokens have expired meanwhile.
    if answer.retry_after is not None and (circuit.retry_at is None or circuit.retry_at <= now):
        shown["retry_at"] = now + answer.retry_after
    if circuit.is_open:
        # Of a client, a probe is the request of a connection that was not refused itself.
        is_probe = not circuit.is_client or known is None
        return changes | shown | ({"probes": circuit.probes + 1} if is_probe else {})
    if is_own_trouble or answer.code == VAGUE:
        return changes
    has_changed = circuit.is_client and circuit.accepted_version not in (None, version)
    is_enough = _is_client_to_blame if circuit.is_client else _is_endpoint_to_blame
    if not is_enough(circuit, connection, answer.code, now, has_changed=has_changed):
        return changes
    opened: CircuitChanges = {"opened_at": now, "probes": 0, "probed_at": now}
    if circuit.is_client:
        opened |= {"version": version, "has_changed": has_changed}
    return changes | shown | opened


def _make_room(circuit: Circuit) -> CircuitChanges:
    """Forget one connection where the item is full: one with a trouble of its own, the oldest, before others."""
    if len(circuit.failures) < MAX_ENTRIES:
        return {}
    oldest = min(circuit.failures, key=lambda name: (circuit.counts(circuit.failures[name]), circuit.failures[name].at))
    return {f"failures.{oldest}": None}


def _is_client_to_blame(circuit: Circuit, connection: Connection, code: str, _now: int, *, has_changed: bool) -> bool:
    """Whether a refusal opens the client's circuit: the first one of a new entry, else the third in a row."""
    if has_changed and code != UNAUTHORIZED and connection.generation > 0:
        return True
    alike = {name for name, other in circuit.failures.items() if other.code == code and circuit.counts(other)}
    return len(alike | {connection.name}) >= _MIN_FAILED


def _is_endpoint_to_blame(circuit: Circuit, connection: Connection, _code: str, now: int, *, has_changed: bool) -> bool:
    """Whether a failure opens the endpoint's circuit: three connections within two minutes, or all that tried."""
    del has_changed
    window = now - _ENDPOINT_WINDOW_SECONDS
    failed = {
        name
        for name, other in circuit.failures.items()
        if circuit.counts(other) and other.at > window and other.code != VAGUE
    }
    has_answered_lately = circuit.answered_at is not None and circuit.answered_at > window
    return len(failed | {connection.name}) >= (_MIN_FAILED if has_answered_lately else 2)


def _record_refused_grant(circuit: Circuit, connection: Connection, code: str, now: int) -> CircuitChanges:
    """Record that a grant is refused which worked before: many at once, by one code, are an incident."""
    known = circuit.refusals.get(connection.name)
    is_known = known is not None and known.code == code and _is_recent(circuit, known)
    is_news = connection.generation > 0 and connection.status is not Status.AUTHORIZATION_REQUIRED and not is_known
    if not circuit.is_client or not is_news:
        return {}
    old = (name for name, other in circuit.refusals.items() if not _is_recent(circuit, other, now - DAY_SECONDS))
    changes: CircuitChanges = {f"refusals.{name}": None for name in old}
    alike = [
        other
        for other in circuit.refusals.values()
        if other.code == code and _is_recent(circuit, other, now - _INCIDENT_WINDOW_SECONDS)
    ]
    if len(circuit.refusals) - len(changes) < MAX_ENTRIES:
        changes[f"refusals.{connection.name}"] = Failure(now, code)
    if circuit.incident_at is None and len(alike) + 1 >= _MIN_INCIDENT:
        changes["incident_at"] = now
    return changes


def _is_recent(circuit: Circuit, refusal: Failure, since: int = 0) -> bool:
    """Whether a refusal came after ``since``, and no connection of the client was accepted after it."""
    return refusal.at > since and refusal.at >= (circuit.accepted_at or 0)
