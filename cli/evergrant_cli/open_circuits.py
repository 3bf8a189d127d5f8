"""Open circuits and incidents of clients and endpoints, and what they mean for connections. Times are epoch seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from evergrant.record.circuit import HOLD_KEY, Circuit, create_client_key, create_endpoint_key
from evergrant.record.connection import Connection, find_earliest
from evergrant.record.probes import compute_next_probe_at
from evergrant.record.refusals import INCIDENT_PATIENCE_SECONDS
from evergrant.record.status import INACTIVE_STATUSES, Status
from evergrant.times import format_rfc3339

from .codes import describe_code
from .output import format_span, format_until
from .run import Run

#: Connections that are refreshed by schedule, and so can be held back.
_HOLDABLE = frozenset({Status.ACTIVE, Status.DEGRADED, Status.AWAITING_AUTHORIZATION, Status.CLIENT_REFUSED})


@dataclass(frozen=True, slots=True)
class Held:
    """The connections of an open circuit: all that depend on it, and those of them that are due and wait for it."""

    circuit: Circuit
    users: Sequence[Connection]
    waiting: Sequence[Connection]

    @property
    def first_expiry(self) -> int | None:
        """When the first token expires that is not refreshed meanwhile."""
        return find_earliest(*(user.expires_at for user in self.users))


def read_circuits(run: Run, records: Iterable[Connection]) -> dict[str, Circuit]:
    """Read the circuits of these connections in one call, and return those with something wrong, by their keys."""
    active = [record for record in records if record.status not in INACTIVE_STATUSES]
    keys = {create_client_key(record.client) for record in active}
    keys |= {create_endpoint_key(record.endpoint) for record in active if record.endpoint}
    found = run.deployment.circuits.get_many(sorted(keys | {HOLD_KEY}))
    return {key: circuit for key, circuit in sorted(found.items()) if circuit.is_open or circuit.incident_at}


def find_obstacle(record: Connection, circuits: Mapping[str, Circuit]) -> Circuit | None:
    """Find the open circuit that holds a connection back when it is due; the endpoint's comes before the client's."""
    if record.status not in _HOLDABLE or record.refresh_at is None or record.unreadable_response is not None:
        return None
    keys = [create_endpoint_key(record.endpoint)] if record.endpoint else []
    found = (circuits.get(key) for key in (*keys, create_client_key(record.client)))
    return next((circuit for circuit in found if circuit is not None and circuit.is_open), None)


def find_incident(record: Connection, circuits: Mapping[str, Circuit]) -> Circuit | None:
    """Find the incident of the connection's client, if the connection's grant is one of those refused."""
    circuit = circuits.get(create_client_key(record.client))
    return circuit if circuit and circuit.incident_at and record.name in circuit.refusals else None


def list_held(circuits: Mapping[str, Circuit], records: Iterable[Connection], now: int) -> list[Held]:
    """List the open circuits, each with its connections, by the expiry of their tokens."""
    users: dict[str, list[Connection]] = {key: [] for key, circuit in circuits.items() if circuit.is_open}
    for record in records:
        obstacle = find_obstacle(record, circuits)
        if obstacle is not None:
            users[obstacle.key].append(record)
    return [
        Held(
            circuits[key],
            sorted(found, key=lambda record: (record.expires_at or 0, record.name)),
            [record for record in found if is_due(record, now)],
        )
        for key, found in users.items()
    ]


def is_due(record: Connection, now: int) -> bool:
    """Whether a refresh would be sent if nothing held it back."""
    return record.refresh_at is not None and record.refresh_at <= now


def describe_target(circuit: Circuit) -> str:
    """Name the client or the endpoint of an open circuit, with what is wrong with it."""
    if circuit.is_client:
        return f"client {circuit.name}, which its provider refuses"
    return f"the endpoint {find_host(circuit)}, which does not work"


def describe_held(held: Held, now: int) -> str:
    """Describe an open circuit and its effect, in one line."""
    circuit = held.circuit
    span = format_span(now - (circuit.opened_at or now))
    error = describe_code(circuit.code, circuit.http_status, circuit.detail, is_refusal=circuit.is_client)
    trouble = "its provider has refused it" if circuit.is_client else f"{circuit.name} has failed"
    first = held.first_expiry
    token = "its token" if len(held.users) == 1 else "the first token"
    expiry = f"; {token} {_describe_expiry(first, now)}" if first is not None else ""
    return (
        f"{find_host(circuit)}: {trouble} for {span}: {error}. {_count_waiting(held)} held back{expiry}; "
        f"{describe_probe(circuit, now)}."
    )


def _count_waiting(held: Held) -> str:
    waiting, users = len(held.waiting), len(held.users)
    if users == 1:
        return f"{held.users[0].name} is" if waiting else f"{held.users[0].name} will be"
    return f"{waiting} of {users} connections {'is' if waiting == 1 else 'are'}"


def _describe_expiry(at: int, now: int) -> str:
    return f"expires in {format_span(at - now)}" if at > now else f"expired {format_span(now - at)} ago"


def describe_probe(circuit: Circuit, now: int) -> str:
    """Say when the next request goes to an endpoint that does not work, or with a client that is refused."""
    next_at = compute_next_probe_at(circuit, now)
    return f"the next probe is due {format_until(next_at, now) if next_at > now else 'now'}"


def find_advice(circuit: Circuit) -> str:
    """Say what to do about an open circuit."""
    if circuit.is_client:
        return f"evergrant client set {circuit.name}"
    return "Look at the provider's status page. Once it works, all of its connections are refreshed by themselves."


def describe_incident(circuit: Circuit, now: int) -> str:
    """Describe an incident in one line: many grants of a client, refused by the same code."""
    since, names = circuit.incident_at or now, sorted(circuit.refusals)
    codes = sorted({refusal.code for refusal in circuit.refusals.values()})
    asked_at = since + INCIDENT_PATIENCE_SECONDS
    owners = f"Their owners are asked {format_until(asked_at, now)}" if asked_at > now else "Their owners are asked now"
    return (
        f"{circuit.name}: its provider has refused the grants of {len(names)} connections at once, for "
        f"{format_span(now - since)}: "
        f"{' and '.join(map(describe_code, codes))}. {owners}, unless one is accepted before"
    )


def advise_on_incident(circuit: Circuit) -> str:
    """Say what to do about an incident."""
    return (
        f"Look at the provider's status page, and at the registration of client {circuit.name} there. "
        f"`evergrant client show {circuit.name}` lists the connections."
    )


def build_view(circuit: Circuit, now: int) -> dict[str, Any] | None:
    """Build the JSON of an open circuit; None for a closed one. Times in RFC 3339 UTC."""
    if not circuit.is_open:
        return None
    return {
        "kind": "client" if circuit.is_client else "endpoint",
        "name": circuit.name,
        "open_since": _format_time(circuit.opened_at),
        "error": circuit.code,
        "http_status": circuit.http_status,
        "detail": circuit.detail,
        "next_probe_at": _format_time(max(compute_next_probe_at(circuit, now), now)),
    }


def build_held_view(held: Held, now: int) -> dict[str, Any]:
    """Build the JSON of an open circuit with its connections."""
    return {
        **(build_view(held.circuit, now) or {}),
        "first_expiry_at": _format_time(held.first_expiry),
        "held_back": sorted(record.name for record in held.waiting),
        "connections": [record.name for record in held.users],
    }


def build_incident_view(circuit: Circuit) -> dict[str, Any] | None:
    """Build the JSON of a client's incident; None where there is none."""
    if circuit.incident_at is None:
        return None
    return {
        "client": circuit.name,
        "since": _format_time(circuit.incident_at),
        "errors": sorted({refusal.code for refusal in circuit.refusals.values()}),
        "owners_asked_at": _format_time(circuit.incident_at + INCIDENT_PATIENCE_SECONDS),
        "connections": sorted(circuit.refusals),
    }


def list_facts(circuit: Circuit, now: int) -> list[tuple[str, str]]:
    """List for a person what is wrong with a client; nothing where nothing is."""
    facts = []
    if circuit.opened_at is not None:
        since = f"{format_rfc3339(circuit.opened_at)}, {format_until(circuit.opened_at, now)}"
        facts += [
            ("refused since", f"{since}: {describe_code(circuit.code, circuit.http_status, circuit.detail)}"),
            ("probe", describe_probe(circuit, now)),
        ]
    refused = sorted(name for name, failure in circuit.failures.items() if circuit.counts(failure))
    if circuit.incident_at is not None:
        facts += [
            ("incident", describe_incident(circuit, now)),
            ("refused grants", ", ".join(sorted(circuit.refusals))),
        ]
    return [*facts, ("refused for", ", ".join(refused))]


def find_host(circuit: Circuit) -> str:
    """Return the client's name, or the host of the endpoint."""
    return circuit.name if circuit.is_client else urlsplit(circuit.name).netloc or circuit.name


def _format_time(at: int | None) -> str | None:
    return None if at is None else format_rfc3339(at)
