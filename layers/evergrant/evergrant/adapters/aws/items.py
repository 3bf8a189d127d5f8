"""Connections as DynamoDB items, and back. Numbers are whole; an absent attribute is None."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from ...errors import RecordBroken
from ...record.connection import FORMAT_VERSION, Connection
from ...record.sealed import Sealed
from ...record.status import Status

_SEALED = ("sealed", "unreadable_response", "to_revoke")
_NAMES = {field.name for field in fields(Connection)}

#: The attribute that names the last change of an item. An SDK that lost a response repeats the write, which then fails
#: on its own conditions. The item shows the change's own id: so the write is known to have happened.
CHANGE_ID = "change_id"


def create_change_id() -> dict[str, Any]:
    """Create a value of :data:`CHANGE_ID` that no other change has."""
    return {"S": secrets.token_hex(16)}


def build_key(connection: str) -> dict[str, Any]:
    """Build the primary key of a connection's item."""
    return {"pk": {"S": f"connection#{connection}"}}


def to_attribute(value: Any) -> dict[str, Any]:
    """Convert one value: a text, a whole number, a flag, bytes, None, or a list or map of these."""
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
    """Invert :func:`to_attribute`."""
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
    """Convert a whole connection; fields without a value are left out."""
    values = {field.name: getattr(connection, field.name) for field in fields(Connection)}
    return {
        **build_key(connection.name),
        **{name: to_attribute(value) for name, value in values.items() if value is not None},
    }


def to_connection(item: Mapping[str, Any]) -> Connection:
    """Invert :func:`to_item`; attributes that this version does not know are passed over.

    Raises
    ------
    RecordBroken
        A field is missing or wrong, or another release wrote the item in another format.
    """
    name = item["pk"]["S"].partition("#")[2]
    try:
        version = from_attribute(item.get("format_version", {"NULL": True}))
        if version != FORMAT_VERSION:
            reason = f"it has format {version or 'none'}, and this release reads format {FORMAT_VERSION}"
            raise RecordBroken(name, reason)
        known = {name: from_attribute(value) for name, value in item.items() if name in _NAMES}
        for sealed in _SEALED:
            if known.get(sealed) is not None:
                known[sealed] = Sealed(**known[sealed])
        known["status"] = Status(known["status"])
        return Connection(**known)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordBroken(name) from error
