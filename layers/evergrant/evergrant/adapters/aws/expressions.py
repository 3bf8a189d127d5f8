"""DynamoDB's expressions: names and values of one request, so that nothing is ever put into the text itself.

Amazon DynamoDB developer guide, "Update expressions" and "Condition and filter expressions, operators, and functions".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .items import CHANGE_ID, to_attribute


@dataclass(slots=True)
class Expression:
    """Collects ``ExpressionAttributeNames`` and ``ExpressionAttributeValues``."""

    values: dict[str, Any] = field(default_factory=dict)
    _placeholders: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> dict[str, str]:
        """The names by their placeholders."""
        return {placeholder: name for name, placeholder in self._placeholders.items()}

    def name(self, *path: str) -> str:
        """The placeholder of an attribute; of more than one name, that of a map's entry."""
        return ".".join([self._placeholders.setdefault(part, f"#n{len(self._placeholders)}") for part in path])

    def value(self, value: Any) -> str:
        """The placeholder of a value."""
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = to_attribute(value)
        return placeholder

    def update(self, changes: Mapping[tuple[str, ...], Any], change_id: Mapping[str, Any]) -> str:
        """An UpdateExpression that sets attributes by their path, removes those that become None, and marks the item
        with the change's id."""
        self.values[":change"] = change_id
        kept, removed = [f"{self.name(CHANGE_ID)} = :change"], []
        for path, value in changes.items():
            if value is None:
                removed.append(self.name(*path))
            else:
                kept.append(f"{self.name(*path)} = {self.value(value)}")
        update = f"SET {', '.join(kept)}"
        return f"{update} REMOVE {', '.join(removed)}" if removed else update

    def conditions(self, only_if: Mapping[str, Any]) -> Iterator[str]:
        """That attributes have these values; that they are absent where it is None."""
        for attribute_name, value in only_if.items():
            name = self.name(attribute_name)
            yield f"attribute_not_exists({name})" if value is None else f"{name} = {self.value(value)}"
