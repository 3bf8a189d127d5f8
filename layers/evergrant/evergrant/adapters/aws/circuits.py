"""The circuits: an item ``client#NAME`` or ``endpoint#URL`` of the record table, where something was wrong.

Entries of its maps are attributes of the item itself (``failures.keap/main``). An update can set no entry of a map that
is not there yet (DynamoDB, "Update expressions"), and an item that is made by its first update has none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...errors import Conflict
from ...ports import PortUnavailable
from ...record.circuit import Circuit, Failure
from .conditional_update import update_item
from .items import from_attribute
from .sdk import client, unavailable

_MAPS = ("failures", "refusals")
_PLAIN = {field.name for field in fields(Circuit)} - {"key", *_MAPS}
#: What one BatchGetItem takes (API_BatchGetItem).
_MAX_KEYS = 100


@dataclass(frozen=True, slots=True)
class DynamoCircuits:
    """:class:`evergrant.ports.Circuits` over DynamoDB."""

    table: str

    def get(self, key: str) -> Circuit:
        """Read one circuit."""
        return self.get_many((key,))[key]

    def get_many(self, keys: Collection[str]) -> Mapping[str, Circuit]:
        found: dict[str, Circuit] = {key: Circuit(key) for key in keys}
        ordered = sorted(found)
        for start in range(0, len(ordered), _MAX_KEYS):
            wanted = [_build_key(key) for key in ordered[start : start + _MAX_KEYS]]
            for item in self._get_items(wanted):
                key = item["pk"]["S"]
                found[key] = _to_circuit(key, item)
        return found

    def change(self, key: str, changes: Mapping[str, Any], *, only_if: Mapping[str, Any]) -> Circuit:
        updated = update_item(
            self.table,
            _build_key(key),
            {(name,): value for name, value in changes.items()},
            lambda expression: expression.conditions(only_if),
            purpose="changing the circuit",
        )
        circuit = _to_circuit(key, updated.item or {})
        if not updated.applied:
            raise Conflict(f"The circuit {key}", circuit)
        return circuit

    def _get_items(self, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Read a batch. DynamoDB may leave out some keys where it is throttled; they are asked for once more."""
        request: dict[str, Any] = {self.table: {"Keys": wanted, "ConsistentRead": True}}
        items: list[dict[str, Any]] = []
        for _ in range(2):
            with unavailable("reading the circuits"):
                answer = client("dynamodb").batch_get_item(RequestItems=request)
            items += answer["Responses"].get(self.table, [])
            request = answer.get("UnprocessedKeys") or {}
            if not request:
                return items
        raise PortUnavailable("reading the circuits: UnprocessedKeys")


def _build_key(key: str) -> dict[str, Any]:
    return {"pk": {"S": key}}


def _to_circuit(key: str, item: Mapping[str, Any]) -> Circuit:
    """Attributes that this version does not know are passed over."""
    known: dict[str, Any] = {name: from_attribute(value) for name, value in item.items() if name in _PLAIN}
    for kind in _MAPS:
        prefix = f"{kind}."
        known[kind] = {
            name.removeprefix(prefix): Failure(*from_attribute(value))
            for name, value in item.items()
            if name.startswith(prefix)
        }
    return Circuit(key, **known)
