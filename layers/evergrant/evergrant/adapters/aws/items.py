"""Connections as DynamoDB items, and back. Numbers are whole; an absent attribute is None."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from ...errors import RecordBroken
from ...record.connection import Connection
from ...record.sealed import Sealed
from ...record.status import Status

_SEALED = ("sealed", "unreadable_response", "to_revoke")
_NAMES = {field.name for field in fields(Connection)}

#: The attribute that names the last change of an item. An SDK that repeats a write, having lost its answer, is refused
#: by its own conditions; that the item shows its own change is how it knows that it was itself.
CHANGE_ID = "change_id"


def create_change_id() -> dict[str, Any]:
    """A value of :data:`CHANGE_ID` that no other change has."""
    return {"S": secrets.token_hex(16)}


def build_key(connection: str) -> dict[str, Any]:
    """The primary key of a connection's item."""
    return {"pk": {"S": f"connection#{connection}"}}


def to_attribute(value: Any) -> dict[str, Any]:
    """One value as a typed attribute: a text, a whole number, a flag, bytes, None, and lists and maps of these."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool):  # which is an int too
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, bytes):
        return {"B": value}
    if value is None:
        return {"NULL": True}
    if isinstance(value, Sealed):
        return to_attribute({"key": value.key, "nonce": value.nonce, "text": value.text})
    if isinstance(value, Mapping):
        return {"M": {name: to_attribute(item) for name, item in value.items()}}
    return {"L": [to_attribute(item) for item in value]}


def from_attribute(typed: Mapping[str, Any]) -> Any:
    """The inverse of :func:`to_attribute`."""
    ((kind, value),) = typed.items()
    return value if kind in _AS_IT_IS else _PLAIN[kind](value)


_AS_IT_IS = frozenset({"S", "BOOL", "B"})
_PLAIN: dict[str, Callable[[Any], Any]] = {
    "N": int,
    "NULL": lambda _: None,
    "M": lambda value: {name: from_attribute(item) for name, item in value.items()},
    "L": lambda value: [from_attribute(item) for item in value],
}


def to_item(connection: Connection) -> dict[str, Any]:
    """A whole item; fields without a value are left out."""
    values = {field.name: getattr(connection, field.name) for field in fields(Connection)}
    return {
        **build_key(connection.name),
        **{name: to_attribute(value) for name, value in values.items() if value is not None},
    }


def to_connection(item: Mapping[str, Any]) -> Connection:
    """The inverse of :func:`to_item`; attributes that this version does not know are passed over.

    Raises
    ------
    RecordBroken
    """
    try:
        known = {name: from_attribute(value) for name, value in item.items() if name in _NAMES}
        for name in _SEALED:
            if known.get(name) is not None:
                known[name] = Sealed(**known[name])
        known["status"] = Status(known["status"])
        return Connection(**known)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordBroken(item["pk"]["S"].partition("#")[2]) from error
