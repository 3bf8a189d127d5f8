"""Clients that their provider refuses, and what that means for their connections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evergrant.record.circuit import Circuit
from evergrant.record.connection import Connection
from evergrant.record.status import INACTIVE_STATUSES, Status
from evergrant.times import format_rfc3339

from .codes import describe_code
from .output import format_span, format_until
from .run import Run

#: Statuses that a refusal of the client outweighs: these connections wait for the client.
_OUTWEIGHED = frozenset({Status.ACTIVE, Status.DEGRADED})


def find_refused_clients(run: Run, records: Iterable[Connection]) -> dict[str, Circuit]:
    """Find the open circuits of these connections' clients, with one read for each client."""
    clients = {record.client for record in records if record.status not in INACTIVE_STATUSES}
    seen = (run.deployment.circuits.get(name) for name in sorted(clients))
    return {circuit.client: circuit for circuit in seen if circuit.is_open}


def apply_client_refusal(record: Connection, circuits: Mapping[str, Circuit]) -> Connection:
    """Return the record as it would be if it were due now: refused, if its client is refused.

    Rotator saves that when the connection falls due; the operator has to see it before.
    """
    circuit = circuits.get(record.client)
    if circuit is None or record.status not in _OUTWEIGHED or record.unreadable_response is not None:
        return record
    return replace(record, status=Status.CLIENT_REFUSED, last_error=circuit.error)


def find_affected(circuit: Circuit, records: Iterable[Connection]) -> list[Connection]:
    """Find the connections that wait for their client, ordered by the expiry of their tokens."""
    waiting = [
        record for record in records if record.client == circuit.client and record.status is Status.CLIENT_REFUSED
    ]
    return sorted(waiting, key=lambda record: (record.expires_at or 0, record.name))


def describe_refusal(circuit: Circuit, records: Sequence[Connection], now: int) -> str:
    """Describe the refusal of a client and its effect on ``records``, the connections that wait for it."""
    kept = f"{len(records)} connections are" if len(records) != 1 else f"{records[0].name} is"
    expiry = ""
    if records and records[0].expires_at is not None:
        left = records[0].expires_at - now
        first = "its token" if len(records) == 1 else "the first token"
        verb = f"expires in {format_span(left)}" if left > 0 else f"expired {format_span(-left)} ago"
        expiry = f"; {first} {verb}"
    said = f"its provider refuses client {circuit.client} since {format_span(now - (circuit.refused_at or now))}"
    return f"{said}: {describe_code(circuit.error)}. {kept} not refreshed{expiry}"


def build_client_view(circuit: Circuit, records: Sequence[Connection]) -> dict[str, Any]:
    """Build the JSON of a refused client. Times in RFC 3339 UTC."""
    connections = [record.name for record in records]
    return {"client": circuit.client, **build_refusal_view(circuit), "connections": connections}


def build_refusal_view(circuit: Circuit) -> dict[str, Any]:
    """Build the JSON of a refusal alone."""
    return {
        "refused_since": _format_time(circuit.refused_at),
        "error": circuit.error,
        "next_probe_at": _format_time(circuit.probe_at),
    }


def list_facts(circuit: Circuit, now: int) -> list[tuple[str, str]]:
    """List the same for a person; nothing for a client that is accepted."""
    if circuit.refused_at is None:
        return []
    since = f"{format_rfc3339(circuit.refused_at)}, {format_until(circuit.refused_at, now)}"
    return [
        ("refused since", f"{since}: {describe_code(circuit.error)}"),
        ("tried again", format_until(circuit.probe_at, now)),
    ]


def _format_time(at: int | None) -> str | None:
    return None if at is None else format_rfc3339(at)
