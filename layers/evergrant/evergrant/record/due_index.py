"""The due date of a record, as the due index shows it to the scheduler."""

from __future__ import annotations

from ..times import TICK_SECONDS
from .change import RecordChange, RecordFields
from .connection import Connection, find_earliest
from .refresh_schedule import choose_shard


def schedule_due(connection: Connection, at: int | None) -> RecordFields:
    """Put the connection into the due index at ``at`` (epoch seconds), or take it out with None."""
    return {"due_at": at, "due_shard": None if at is None else choose_shard(connection.name)}


def schedule_refresh(connection: Connection, at: int | None) -> RecordFields:
    """Plan the next refresh for ``at`` (epoch seconds); None: there is none."""
    return {"refresh_at": at, **schedule_due(connection, find_earliest(at, connection.warn_at))}


def deliver_soon(connection: Connection, change: RecordChange, now: int) -> RecordChange:
    """Make a change that carries events due at the next tick: the next pass delivers them."""
    if not change.events:
        return change
    refresh_at = change.fields.get("refresh_at", connection.refresh_at)
    next_tick = now + TICK_SECONDS
    return change.set(schedule_due(connection, next_tick if refresh_at is None else min(refresh_at, next_tick)))
