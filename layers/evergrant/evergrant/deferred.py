"""A save that the table would not take, as a message of the rotation queue: sealed, and fenced as it was."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .connection import Connection, Sealed

TASK = "save"


def message(connection: Connection, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The message that carries ``changes``, the next generation of ``connection``."""
    sealed = {key: b64encode(value).decode() for key, value in asdict(changes["sealed"]).items()}
    return {
        "task": TASK,
        "connection": connection.name,
        "generation": connection.generation,
        "status": connection.status,
        "changes": {**changes, "sealed": sealed},
    }


def changes_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`message`."""
    changes: dict[str, Any] = dict(message["changes"])
    changes["sealed"] = Sealed(**{key: b64decode(value) for key, value in changes["sealed"].items()})
    return changes
