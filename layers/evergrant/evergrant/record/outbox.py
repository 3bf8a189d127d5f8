"""What a connection's outbox takes of new events while the bus takes none of them. Pure.

An item of DynamoDB holds 400 KB at most, and a token set must always find room.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from . import alerts
from .connection import Connection

#: Events that wait in one outbox. Beyond them there are those alone that a person needs, one of each kind at most.
MAX_PENDING_EVENTS = 100

Changes = dict[str, Any]


def add_events(connection: Connection, events: Mapping[str, Any]) -> Changes:
    """``events``, as :func:`~evergrant.record.connection.create_event` makes them, for which there is room.

    In a full outbox that is none, but for one that a person needs: it takes the place of the oldest that nobody needs,
    or else of the oldest of its kind.
    """
    changes: Changes = {}
    waiting = dict(connection.outbox)
    for name, body in events.items():
        if len(waiting) >= MAX_PENDING_EVENTS:
            if not alerts.is_alert(body):
                continue
            idle = [key for key, held in waiting.items() if not alerts.is_alert(held)]
            alike = [key for key, held in waiting.items() if held["type"] == body["type"]]
            if idle or alike:
                oldest = _find_oldest(waiting, idle or alike)
                del waiting[oldest]
                changes[f"outbox.{oldest}"] = None
        waiting[name.removeprefix("outbox.")] = body
        changes[name] = body
    return changes


def has_event(changes: Mapping[str, Any]) -> bool:
    """Whether an event comes with a change of the record."""
    return any(name.startswith("outbox.") for name in changes)


def _find_oldest(waiting: Mapping[str, Mapping[str, Any]], keys: Collection[str]) -> str:
    return min(keys, key=lambda key: int(waiting[key]["at"]))
