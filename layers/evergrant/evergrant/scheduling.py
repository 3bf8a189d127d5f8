"""One tick: claim what is due soon, and send each connection its message with the exact delay.

A claim moves ``due_at`` on by a conditional write, so that of two ticks only one sends, and a message that gets lost is
found again in time. The cost grows with what is due, not with what exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from . import schedule
from .errors import Conflict
from .ports import Clock, PortUnavailable, Records

_BATCH = 10


class Due(Protocol):
    """What the due index shows of a connection."""

    @property
    def name(self) -> str: ...
    @property
    def due_at(self) -> int: ...
    @property
    def expires_at(self) -> int | None: ...


class DueRecords(Records, Protocol):
    """Records with their due index."""

    def due(self, shard: str, before: int) -> Iterator[Any]: ...


class BatchQueue(Protocol):
    def send_many(self, messages: Sequence[tuple[Mapping[str, Any], int]]) -> int: ...


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick did. ``unfinished`` says that time ran out or a service failed; the next tick goes on."""

    claimed: int
    sent: int
    unfinished: bool


def tick(records: DueRecords, queue: BatchQueue, clock: Clock, deadline: float) -> Tick:
    """Take everything due within the next :data:`~evergrant.schedule.HORIZON` seconds.

    Parameters
    ----------
    deadline
        Epoch seconds after which nothing more is claimed.
    """
    now = int(clock.now())
    claimed = sent = 0
    batch: list[tuple[Mapping[str, Any], int]] = []
    try:
        for partition in range(schedule.SHARDS):
            for due in records.due(str(partition), now + schedule.HORIZON):
                if clock.now() > deadline:
                    return Tick(claimed, sent + queue.send_many(batch), unfinished=True)
                if not _claim(records, due, now):
                    continue
                claimed += 1
                batch.append(({"connection": due.name}, max(due.due_at - now, 0)))
                if len(batch) == _BATCH:
                    sent += queue.send_many(batch)
                    batch = []
        return Tick(claimed, sent + queue.send_many(batch), unfinished=False)
    except PortUnavailable:
        return Tick(claimed, sent, unfinished=True)


def _claim(records: Records, due: Due, now: int) -> bool:
    until = schedule.claim_until(due.due_at, now, due.expires_at)
    try:
        records.change(due.name, {"due_at": until}, only_if={"due_at": due.due_at})
    except Conflict:
        return False  # another tick, or a rotation, was first
    return True
