"""The clients' circuits: an item ``client#NAME`` of the record table for each client with which something was wrong.

Entries of its maps are attributes of the item itself (``waiting.keap/main``), since an update can set no entry of a map
that is not there yet (DynamoDB, "Update expressions"), and an item that is made by its first update has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...errors import Conflict
from ...record.circuit import Circuit
from .conditional_update import update_item
from .items import from_attribute
from .sdk import client, unavailable

_MAPS = ("rejected", "waiting", "outbox")
_PLAIN = {field.name for field in fields(Circuit)} - {"client", *_MAPS}


@dataclass(frozen=True, slots=True)
class DynamoCircuits:
    """:class:`evergrant.ports.Circuits` over DynamoDB."""

    table: str

    def get(self, client_name: str) -> Circuit:
        with unavailable("reading the client's circuit"):
            answer = client("dynamodb").get_item(TableName=self.table, Key=_key(client_name), ConsistentRead=True)
        return _circuit(client_name, answer.get("Item", {}))

    def change(self, client_name: str, changes: Mapping[str, Any], *, only_if: Mapping[str, Any]) -> Circuit:
        updated = update_item(
            self.table,
            _key(client_name),
            {(name,): value for name, value in changes.items()},
            lambda expression: expression.conditions(only_if),
            purpose="changing the client's circuit",
        )
        circuit = _circuit(client_name, updated.item or {})
        if not updated.applied:
            raise Conflict(f"The circuit of client {client_name}", circuit)
        return circuit


def _key(client_name: str) -> dict[str, Any]:
    return {"pk": {"S": f"client#{client_name}"}}


def _circuit(client_name: str, item: Mapping[str, Any]) -> Circuit:
    """Attributes that this version does not know are passed over."""
    known: dict[str, Any] = {name: from_attribute(value) for name, value in item.items() if name in _PLAIN}
    for kind in _MAPS:
        prefix = f"{kind}."
        known[kind] = {
            name.removeprefix(prefix): from_attribute(value) for name, value in item.items() if name.startswith(prefix)
        }
    return Circuit(client_name, **known)
