"""Messages of the rotation queue that concern a circuit: its probes, and the dispatch after it has closed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DISPATCH, PROBE = "dispatch", "probe"


def create_message(circuit: str) -> Mapping[str, Any]:
    """Create the message that sends what a circuit held back, by the circuit's key."""
    return {"task": DISPATCH, "circuit": circuit}


def create_probe(connection: str, circuit: str, claimed_until: int) -> Mapping[str, Any]:
    """Create the message of a circuit's probe. It counts only while the record is due as the tick has claimed it."""
    return {"task": PROBE, "connection": connection, "circuit": circuit, "claimed_until": claimed_until}
