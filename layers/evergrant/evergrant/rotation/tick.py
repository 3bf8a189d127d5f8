"""One tick: claim what is due soon, and send each connection its message with the exact delay.

A claim moves ``due_at`` on by a conditional write, so that of two ticks only one sends, and a message that gets lost is
found again in time. What a provider's declared rate leaves no room for stays unclaimed, for the next tick. The cost
grows with what is due, not with what exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from operator import attrgetter
from typing import Any, Protocol

from ..errors import Conflict, RecordBroken, UnknownProfile
from ..ports import Clock, PortUnavailable, Profiles, Records
from ..profiles.model import Rate
from ..record import refresh_schedule
from ..times import TICK_HORIZON_SECONDS, TICK_SECONDS

_BATCH = 10
#: After so many claims in a row that failed the table fails, not one record: the next tick goes on.
_FAILED_IN_A_ROW = 10


class Due(Protocol):
    """What the due index shows of a connection."""

    @property
    def name(self) -> str: ...
    @property
    def due_at(self) -> int: ...
    @property
    def expires_at(self) -> int | None: ...
    @property
    def client(self) -> str: ...
    @property
    def profile_hash(self) -> str: ...


class DueRecords(Records, Protocol):
    """Records with their due index."""

    def due(self, shard: str, before: int) -> Iterator[Due]: ...


class BatchQueue(Protocol):
    def send_many(self, messages: Sequence[tuple[Mapping[str, Any], int]]) -> int: ...


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick did. ``left`` are those that declared rates left no room for; ``unfinished`` says that time ran
    out. The next tick goes on with both."""

    claimed: int
    sent: int
    left: int = 0
    unfinished: bool = False


def tick(records: DueRecords, profiles: Profiles, queue: BatchQueue, clock: Clock, deadline: float) -> Tick:
    """Take everything due within the next :data:`~evergrant.record.refresh_schedule.TICK_HORIZON_SECONDS` seconds,
    the most overdue first.

    Parameters
    ----------
    deadline
        Epoch seconds after which nothing more is claimed.

    Raises
    ------
    PortUnavailable
        The tick could not do all its work, which somebody should hear of. What it could do is done all the same.
    """
    now = int(clock.now())
    dues, failure = _due(records, now)
    pace = _Pace(profiles, now)
    claimed = sent = left = failed_in_a_row = 0
    unfinished = False
    batch: list[tuple[Mapping[str, Any], int]] = []
    try:
        for due in dues:
            if clock.now() > deadline or failed_in_a_row == _FAILED_IN_A_ROW:
                unfinished = True
                break
            try:
                at = pace.slot(due)
            except PortUnavailable as error:
                failure = error
                continue
            if at is None:
                left += 1
                continue
            try:
                ours = _claim(records, due, at, now)
            except PortUnavailable as error:
                failure, failed_in_a_row = error, failed_in_a_row + 1
                continue
            failed_in_a_row = 0
            if not ours:
                continue
            claimed += 1
            batch.append(({"connection": due.name}, at - now))
            if len(batch) == _BATCH:
                full, batch = batch, []
                sent += queue.send_many(full)
    finally:
        sent += queue.send_many(batch) if batch else 0
    if failure:
        raise failure
    return Tick(claimed, sent, left, unfinished)


def _due(records: DueRecords, now: int) -> tuple[list[Due], PortUnavailable | None]:
    """What every shard shows, the most overdue first; and why a shard showed less than it holds."""
    dues: list[Due] = []
    failure = None
    for number in range(refresh_schedule.SHARD_COUNT):
        try:
            dues.extend(records.due(str(number), now + TICK_HORIZON_SECONDS))
        except PortUnavailable as error:
            failure = error
    return sorted(dues, key=attrgetter("due_at")), failure


class _Pace:
    """Gives each connection its moment: when it is due, or when its client's declared rate has room.

    A tick fills the time until the next one and no more, so that nothing need be remembered between ticks.
    """

    def __init__(self, profiles: Profiles, now: int) -> None:
        self._profiles = profiles
        self._now = now
        #: In milliseconds, as whole numbers: many small steps of a float do not add up to what was declared.
        self._free_at: dict[tuple[str, str], int] = {}

    def slot(self, due: Due) -> int | None:
        """Epoch seconds, not before now. None: not within this tick."""
        at = max(due.due_at, self._now)
        rate = self._rate(due)
        if rate is None:
            return at
        group = due.name.partition("/")[0], due.client
        moment = max(self._free_at.get(group, 0), at * 1000)
        if moment >= (self._now + TICK_SECONDS) * 1000:
            return None
        self._free_at[group] = moment + ceil(rate.seconds * 1000 / rate.requests)
        return moment // 1000

    def _rate(self, due: Due) -> Rate | None:
        try:
            return self._profiles.load_pinned(due.profile_hash).rotation.rate
        except UnknownProfile:
            return None  # rotator says what is wrong with it


def _claim(records: Records, due: Due, at: int, now: int) -> bool:
    until = refresh_schedule.compute_claim_until(at, now, due.expires_at)
    try:
        records.change(due.name, {"due_at": until}, only_if={"due_at": due.due_at})
    except Conflict:
        return False  # another tick, or a rotation, was first
    except RecordBroken:
        return True  # claimed or not: whoever works on it says what is wrong, and the others have their turn
    return True
