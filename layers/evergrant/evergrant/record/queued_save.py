"""A queued save: a response that the table did not take, in a message of the rotation queue. Pure.

The whole change is sealed, for the generation that it makes: so only a function that may seal can write a record by a
message. What it may write is listed here all the same.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ..errors import InvalidRequest
from .connection import Connection, RecordChange, RecordFields, RecordState
from .sealed import Sealed
from .status import EventType, Status

TASK = "save"
_SEALED_FIELDS = ("sealed", "unreadable_response")
#: The fields that a save writes, by the type of their values. None removes a field.
_ALLOWED: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(_SEALED_FIELDS, Sealed),
    **dict.fromkeys(("status", "grant", "client", "profile_hash", "endpoint", "scope", "redirect_uri"), str),
    **dict.fromkeys(("authorization_id", "subject", "missing_scope", "granted_scope", "lost_scope"), str),
    **dict.fromkeys(("expiry_rule", "expiry_doubt", "due_shard", "attempt_id"), str),
    **dict.fromkeys(("last_error", "last_detail", "rejected_code"), str),
    **dict.fromkeys(("generation", "published_generation", "issued_at", "expires_at", "refresh_expires_at"), int),
    **dict.fromkeys(("refresh_at", "due_at", "attempt_at", "attempt_replays", "in_doubt_since", "unclear_at"), int),
    **dict.fromkeys(("token_rejected_at", "failures", "failing_since", "alone_since", "last_error_at"), int),
    **dict.fromkeys(("last_status", "rejected_at", "alerted_at", "early_refreshes", "warn_at"), int),
    "direct_read": bool,
    "variables": Mapping,
    "authorization_failure": type(None),
}


@dataclass(frozen=True, slots=True)
class QueuedSave:
    """A save as its sender saw it: ``seen`` is what the record was, ``authorization_id`` of the grant it had."""

    change: RecordChange
    seen: RecordState
    authorization_id: str | None


def encode_change(connection: Connection, change: RecordChange) -> bytes:
    """Encode the plaintext of a change of ``connection``, to be sealed for its next generation."""
    plain = {
        "task": TASK,
        "authorization_id": connection.authorization_id,
        "status": connection.status,
        "fields": {
            name: value.encode() if isinstance(value, Sealed) else value for name, value in change.fields.items()
        },
        "events": change.events,
    }
    # Compressed, since the base64 of a kept response is encoded as base64 once more: SQS takes 256 KiB.
    return zlib.compress(json.dumps(plain, separators=(",", ":"), default=dict).encode(), level=1)


def build_message(connection: Connection, change: Sealed) -> dict[str, Any]:
    """Build the message that carries a sealed change of ``connection``."""
    return {
        "task": TASK,
        "connection": connection.name,
        "generation": connection.generation,
        "change": change.encode(),
    }


def decode_change(plain: bytes, connection: str, generation: int) -> QueuedSave:
    """Invert :func:`encode_change` for a connection that had ``generation`` before.

    Raises
    ------
    InvalidRequest
        It is no save, or of a field that no save writes.
    """
    try:
        queued = json.loads(zlib.decompress(plain))
    except (zlib.error, ValueError) as error:
        raise InvalidRequest(f"The message for {connection} holds no save.") from error
    if queued["task"] != TASK:
        raise InvalidRequest(f"The message for {connection} holds another task.")
    fields = dict(queued["fields"])
    for name in _SEALED_FIELDS:
        if fields.get(name) is not None:
            fields[name] = Sealed.decode(fields[name])
    for name, value in fields.items():
        if name not in _ALLOWED or not _is_of(value, _ALLOWED[name]):
            raise InvalidRequest(f"The message for {connection} cannot save {name}.")
    if fields.get("generation", generation + 1) != generation + 1:
        raise InvalidRequest(f"The message for {connection} is of another generation.")
    _check_events(queued["events"], connection)
    if "status" in fields:
        fields["status"] = Status(fields["status"])
    change = RecordChange(cast(RecordFields, fields), queued["events"])
    seen: RecordState = {"generation": generation, "status": Status(queued["status"])}
    return QueuedSave(change, seen, queued["authorization_id"])


def _is_of(value: Any, kind: Any) -> bool:
    return value is None or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool)))


def _check_events(events: Mapping[str, Mapping[str, Any] | None], connection: str) -> None:
    for body in events.values():
        if body is None:
            continue
        if body["type"] not in set(EventType) or body["detail"]["connection"] != connection:
            raise InvalidRequest(f"The message for {connection} holds an event of something else.")
