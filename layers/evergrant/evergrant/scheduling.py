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
from .ports import Clock, Records

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

    def due(self, shard: str, before: int) -> Iterator[Due]: ...


class BatchQueue(Protocol):
    def send_many(self, messages: Sequence[tuple[Mapping[str, Any], int]]) -> int: ...


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick did. ``unfinished`` says that time ran out; the next tick goes on."""

    claimed: int
    sent: int
    unfinished: bool


def tick(records: DueRecords, queue: BatchQueue, clock: Clock, deadline: float) -> Tick:
    """Take everything due within the next :data:`~evergrant.schedule.HORIZON` seconds.

    Parameters
    ----------
    deadline
        Epoch seconds after which nothing more is claimed.

    Raises
    ------
    PortUnavailable
        The tick could not do its work, which somebody should hear of. What it had claimed is sent all the same.
    """
    now = int(clock.now())
    claimed = sent = 0
    batch: list[tuple[Mapping[str, Any], int]] = []
    try:
        for due in _due(records, now):
            if clock.now() > deadline:
                return Tick(claimed, sent + len(batch), unfinished=True)
            if not _claim(records, due, now):
                continue
            claimed += 1
            batch.append(({"connection": due.name}, max(due.due_at - now, 0)))
            if len(batch) == _BATCH:
                full, batch = batch, []
                sent += queue.send_many(full)
    finally:
        sent += queue.send_many(batch) if batch else 0
    return Tick(claimed, sent, unfinished=False)


def _due(records: DueRecords, now: int) -> Iterator[Due]:
    """Every shard in turn, another one first with every tick, so that a tick that runs out of time starves none."""
    first = now // schedule.TICK
    for number in range(schedule.SHARDS):
        yield from records.due(str((first + number) % schedule.SHARDS), now + schedule.HORIZON)


def _claim(records: Records, due: Due, now: int) -> bool:
    until = schedule.claim_until(due.due_at, now, due.expires_at)
    try:
        records.change(due.name, {"due_at": until}, only_if={"due_at": due.due_at})
    except Conflict:
        return False  # another tick, or a rotation, was first
    return True
