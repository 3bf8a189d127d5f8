"""EventBridge as far as the template's rules need it: whether a pattern matches an event, and what a target receives.

EventBridge user guide, "Creating Amazon EventBridge event patterns", "Comparison operators" and "Input
transformation".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_ABSENT = object()


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether each field of the pattern has one of its values. Of a list, one element has to."""
    for name, wanted in pattern.items():
        found = event.get(name, _ABSENT)
        if isinstance(wanted, Mapping):
            candidates = found if isinstance(found, list) else [found]
            if not any(isinstance(it, Mapping) and matches(wanted, it) for it in candidates):
                return False
        else:
            values = found if isinstance(found, list) else [found]
            if not any(_is_one_of(value, wanted) for value in values):
                return False
    return True


def transform(transformer: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """What the target receives. A path that the event lacks leaves nothing in its place."""
    values = {name: _follow(path, event) for name, path in transformer["InputPathsMap"].items()}
    return re.sub(r"<(\w+)>", lambda found: str(values[found[1]]), transformer["InputTemplate"])


def _is_one_of(value: Any, wanted: list[Any]) -> bool:
    return any(_equals(value, one) for one in wanted)


def _equals(value: Any, wanted: Any) -> bool:
    match wanted:
        case {"exists": exists}:
            return (value is not _ABSENT) is exists
        case {"prefix": prefix}:
            return isinstance(value, str) and value.startswith(prefix)
        case {"suffix": suffix}:
            return isinstance(value, str) and value.endswith(suffix)
        case str() | bool():
            return bool(value == wanted)
    raise AssertionError(f"no test knows this comparison: {wanted}")


def _follow(path: str, event: Any) -> Any:
    for name, index in re.findall(r"\.([\w-]+)(?:\[(\d+)\])?", path):
        event = event.get(name, "") if isinstance(event, Mapping) else ""
        if index:
            event = event[int(index)] if isinstance(event, list) and len(event) > int(index) else ""
    return event
