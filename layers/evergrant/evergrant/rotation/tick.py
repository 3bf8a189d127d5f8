"""One tick: claim what is due soon, and send each connection its message with the exact delay.

A claim moves ``due_at`` on by a conditional write, so that of two ticks only one sends, and a lost message is made good
in time. A connection for which its provider's declared rate has no room stays unclaimed, for the next tick. The cost
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

_BATCH_SIZE = 10
#: After so many failed claims in a row it is the table that fails, not one record: the next tick goes on.
_MAX_FAILED_IN_A_ROW = 10


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
    """What one tick did.

    ``left`` counts the connections for which declared rates had no room; ``unfinished`` says that time ran out. The
    next tick goes on with both.
    """

    claimed: int
    sent: int
    left: int = 0
    unfinished: bool = False


def tick(records: DueRecords, profiles: Profiles, queue: BatchQueue, clock: Clock, deadline: float) -> Tick:
    """Claim and send what is due within :data:`~evergrant.times.TICK_HORIZON_SECONDS`, the most overdue first.

    Parameters
    ----------
    deadline
        Epoch seconds after which nothing more is claimed.

    Raises
    ------
    PortUnavailable
        The tick could not do all its work. It has done the rest.
    """
    return _TickRun(records, profiles, queue, clock).run(deadline)


class _TickRun:
    """The state of one tick."""

    def __init__(self, records: DueRecords, profiles: Profiles, queue: BatchQueue, clock: Clock) -> None:
        self._records = records
        self._queue = queue
        self._clock = clock
        self._now = int(clock.now())
        self._pace = _Pace(profiles, self._now)
        self._batch: list[tuple[Mapping[str, Any], int]] = []
        self._failure: PortUnavailable | None = None
        self._failed_in_a_row = 0
        self._claimed = self._sent = self._left = 0

    def run(self, deadline: float) -> Tick:
        unfinished = False
        try:
            for due in self._list_due():
                if self._clock.now() > deadline or self._failed_in_a_row == _MAX_FAILED_IN_A_ROW:
                    unfinished = True
                    break
                self._take(due)
        finally:
            self._send_batch()
        if self._failure:
            raise self._failure
        return Tick(self._claimed, self._sent, self._left, unfinished)

    def _list_due(self) -> list[Due]:
        """List what the shards show, the most overdue first. A shard that fails does not keep the others waiting."""
        dues: list[Due] = []
        for number in range(refresh_schedule.SHARD_COUNT):
            try:
                dues.extend(self._records.due(str(number), self._now + TICK_HORIZON_SECONDS))
            except PortUnavailable as error:
                self._failure = error
        return sorted(dues, key=attrgetter("due_at"))

    def _take(self, due: Due) -> None:
        """Claim one connection and put its message into the batch, if its rate has room."""
        try:
            at = self._pace.find_slot(due)
        except PortUnavailable as error:
            self._failure = error
            return
        if at is None:
            self._left += 1
            return
        try:
            is_ours = self._claim(due, at)
        except PortUnavailable as error:
            self._failure = error
            self._failed_in_a_row += 1
            return
        self._failed_in_a_row = 0
        if not is_ours:
            return
        self._claimed += 1
        self._batch.append(({"connection": due.name}, at - self._now))
        if len(self._batch) == _BATCH_SIZE:
            self._send_batch()

    def _claim(self, due: Due, at: int) -> bool:
        until = refresh_schedule.compute_claim_until(at, self._now, due.expires_at)
        try:
            self._records.change(due.name, {"due_at": until}, only_if={"due_at": due.due_at})
        except Conflict:
            return False  # another tick, or a rotation, was first
        except RecordBroken:
            return True  # the worker that gets the message says what is wrong; the others have their turn
        return True

    def _send_batch(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            self._sent += self._queue.send_many(batch)


class _Pace:
    """Gives each connection its moment: when it is due, or when its client's declared rate has room.

    A tick fills the time until the next one and no more, so that ticks share no state.
    """

    def __init__(self, profiles: Profiles, now: int) -> None:
        self._profiles = profiles
        self._now = now
        #: In milliseconds, as whole numbers: many small steps of a float do not add up to what was declared.
        self._free_at: dict[tuple[str, str], int] = {}

    def find_slot(self, due: Due) -> int | None:
        """Return the epoch second for the message, not before now. None: not within this tick."""
        at = max(due.due_at, self._now)
        rate = self._find_rate(due)
        if rate is None:
            return at
        group = due.name.partition("/")[0], due.client
        moment = max(self._free_at.get(group, 0), at * 1000)
        if moment >= (self._now + TICK_SECONDS) * 1000:
            return None
        self._free_at[group] = moment + ceil(rate.seconds * 1000 / rate.requests)
        return moment // 1000

    def _find_rate(self, due: Due) -> Rate | None:
        try:
            return self._profiles.load_pinned(due.profile_hash).rotation.rate
        except UnknownProfile:
            return None  # rotator says what is wrong with it
