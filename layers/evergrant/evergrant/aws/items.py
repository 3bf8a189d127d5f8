"""Connections as DynamoDB items, and back. Numbers are whole; an absent attribute is None."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from ..connection import Connection, Sealed, Status
from ..errors import RecordBroken

_serializer, _deserializer = TypeSerializer(), TypeDeserializer()
_SEALED = ("sealed", "unread_answer", "to_revoke")
_NAMES = {field.name for field in fields(Connection)}

#: The attribute that names the last change of an item. An SDK that repeats a write, having lost its answer, is refused
#: by its own conditions; that the item shows its own change is how it knows that it was itself.
CHANGE_ID = "change_id"


def new_change_id() -> dict[str, Any]:
    """A value of :data:`CHANGE_ID` that no other change has."""
    return {"S": uuid.uuid4().hex}


def key_of(connection: str) -> dict[str, Any]:
    """The primary key of a connection's item."""
    return {"pk": {"S": f"connection#{connection}"}}


def attribute(value: Any) -> dict[str, Any]:
    """One value as a typed attribute."""
    return dict(_serializer.serialize(asdict(value) if isinstance(value, Sealed) else value))


def plain(typed: Any) -> Any:
    """The inverse of :func:`attribute`, with whole numbers as int and binaries as bytes."""
    (kind, value), *_ = typed.items()
    if kind == "N":
        return int(value)
    if kind == "B":
        return bytes(value)
    if kind == "M":
        return {name: plain(item) for name, item in value.items()}
    if kind == "L":
        return [plain(item) for item in value]
    return _deserializer.deserialize(typed)


def item_of(connection: Connection) -> dict[str, Any]:
    """A whole item; fields without a value are left out."""
    values = {field.name: getattr(connection, field.name) for field in fields(Connection)}
    return {
        **key_of(connection.name),
        **{name: attribute(value) for name, value in values.items() if value is not None},
    }


def connection_of(item: Mapping[str, Any]) -> Connection:
    """The inverse of :func:`item_of`; attributes that this version does not know are passed over.

    Raises
    ------
    RecordBroken
    """
    try:
        known = {name: plain(value) for name, value in item.items() if name in _NAMES}
        for name in _SEALED:
            if known.get(name) is not None:
                known[name] = Sealed(**known[name])
        known["status"] = Status(known["status"])
        return Connection(**known)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordBroken(item["pk"]["S"].partition("#")[2]) from error
