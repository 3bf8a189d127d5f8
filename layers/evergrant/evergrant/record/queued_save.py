"""A queued save: a token set that the table did not take, sealed, in a message of the rotation queue. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from .connection import Connection, RecordChange, RecordFields, RecordState
from .sealed import Sealed
from .status import Status

TASK = "save"
_SEALED_FIELDS = ("sealed", "unreadable_response")


def encode_message(connection: Connection, change: RecordChange) -> dict[str, Any]:
    """Build the message that carries a change of ``connection``."""
    return {
        "task": TASK,
        "connection": connection.name,
        "generation": connection.generation,
        "authorization_id": connection.authorization_id,
        "status": connection.status,
        "fields": {
            name: value.encode() if isinstance(value, Sealed) else value for name, value in change.fields.items()
        },
        "events": change.events,
    }


def decode_change(message: Mapping[str, Any]) -> RecordChange:
    """Invert :func:`encode_message`."""
    fields = dict(message["fields"])
    for name in _SEALED_FIELDS:
        if fields.get(name) is not None:
            fields[name] = Sealed.decode(fields[name])
    if "status" in fields:
        fields["status"] = Status(fields["status"])
    return RecordChange(cast(RecordFields, fields), message["events"])


def decode_state(message: Mapping[str, Any]) -> RecordState:
    """Return generation and status of the record as the sender saw it."""
    return {"generation": message["generation"], "status": Status(message["status"])}
