"""The transactional outbox: events wait in the record until the bus takes them. Pure.

An item of DynamoDB holds 400 KB at most, and a token set must always find room.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .alerts import is_alert
from .connection import Connection, Events, RecordChange

#: Events that wait in one outbox. Beyond them it takes alerts only, one of each kind at most.
MAX_PENDING_EVENTS = 100


def add_events(connection: Connection, events: Events) -> RecordChange:
    """Add the events for which there is room.

    A full outbox takes an alert only. The alert replaces the oldest event that is no alert, or else the oldest of its
    kind.
    """
    added: dict[str, Mapping[str, Any] | None] = {}
    waiting = dict(connection.outbox)
    for event_id, body in events.items():
        if body is None:
            continue
        if len(waiting) >= MAX_PENDING_EVENTS:
            if not is_alert(body):
                continue
            minor = [key for key, held in waiting.items() if not is_alert(held)]
            alike = [key for key, held in waiting.items() if held["type"] == body["type"]]
            if minor or alike:
                oldest = _find_oldest(waiting, minor or alike)
                del waiting[oldest]
                added[oldest] = None
        waiting[event_id] = body
        added[event_id] = body
    return RecordChange(events=added)


def _find_oldest(waiting: Mapping[str, Mapping[str, Any]], keys: Collection[str]) -> str:
    return min(keys, key=lambda key: int(waiting[key]["at"]))
