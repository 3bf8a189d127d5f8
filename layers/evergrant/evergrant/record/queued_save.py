"""What the table would not take, as a message of the rotation queue: sealed, and fenced as it was."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .connection import Connection, Sealed

TASK = "save"


def encode_message(connection: Connection, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The message that carries ``changes`` of ``connection``."""
    return {
        "task": TASK,
        "connection": connection.name,
        "generation": connection.generation,
        "authorization_id": connection.authorization_id,
        "status": connection.status,
        "changes": {name: _encoded(value) for name, value in changes.items()},
    }


def decode_changes(message: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`encode_message`."""
    return {name: _decoded(name, value) for name, value in message["changes"].items()}


def _encoded(value: Any) -> Any:
    if isinstance(value, Sealed):
        return {key: b64encode(part).decode() for key, part in asdict(value).items()}
    return value


def _decoded(name: str, value: Any) -> Any:
    if name in ("sealed", "unreadable_response") and value is not None:
        return Sealed(**{key: b64decode(part) for key, part in value.items()})
    return value
