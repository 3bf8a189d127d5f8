"""The circuits: an item ``client#NAME`` or ``endpoint#URL`` of the record table, where something was wrong.

The operator's hold is an item ``hold#`` of another table (see :data:`evergrant.record.circuit.HOLD_KEY`), read in the
same call.

Entries of its maps are attributes of the item itself (``failures.keap/main``). An update can set no entry of a map that
is not there yet (DynamoDB, "Update expressions"), and an item that is made by its first update has none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...errors import Conflict
from ...ports import PortUnavailable
from ...record.circuit import HOLD_KEY, Circuit, Failure
from .conditional_update import update_item
from .items import from_attribute
from .sdk import client, unavailable

_MAPS = ("failures", "refusals")
_PLAIN = {field.name for field in fields(Circuit)} - {"key", *_MAPS}
#: What one BatchGetItem takes (API_BatchGetItem).
_MAX_KEYS = 100


@dataclass(frozen=True, slots=True)
class DynamoCircuits:
    """:class:`evergrant.ports.Circuits` over DynamoDB. ``hold_table`` is where the hold's item is."""

    table: str
    hold_table: str

    def get(self, key: str) -> Circuit:
        """Read one circuit."""
        return self.get_many((key,))[key]

    def get_many(self, keys: Collection[str]) -> Mapping[str, Circuit]:
        found: dict[str, Circuit] = {key: Circuit(key) for key in keys}
        ordered = sorted(found)
        for start in range(0, len(ordered), _MAX_KEYS):
            for item in self._get_items(ordered[start : start + _MAX_KEYS]):
                key = item["pk"]["S"]
                found[key] = _to_circuit(key, item)
        return found

    def change(self, key: str, changes: Mapping[str, Any], *, only_if: Mapping[str, Any]) -> Circuit:
        updated = update_item(
            self._find_table(key),
            _build_key(key),
            {(name,): value for name, value in changes.items()},
            lambda expression: expression.conditions(only_if),
            purpose="changing the circuit",
        )
        circuit = _to_circuit(key, updated.item or {})
        if not updated.applied:
            raise Conflict(f"The circuit {key}", circuit)
        return circuit

    def _find_table(self, key: str) -> str:
        return self.hold_table if key == HOLD_KEY else self.table

    def _get_items(self, keys: list[str]) -> list[dict[str, Any]]:
        """Read a batch. DynamoDB may leave out some keys where it is throttled; they are asked for once more."""
        request: dict[str, Any] = {}
        for key in keys:
            request.setdefault(self._find_table(key), {"Keys": [], "ConsistentRead": True})["Keys"].append(
                _build_key(key)
            )
        items: list[dict[str, Any]] = []
        for _ in range(2):
            with unavailable("reading the circuits"):
                answer = client("dynamodb").batch_get_item(RequestItems=request)
            items += [item for found in answer["Responses"].values() for item in found]
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
