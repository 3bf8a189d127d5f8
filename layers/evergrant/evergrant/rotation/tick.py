"""One tick: claim what is due soon, and send each connection its message with the exact delay.

A claim moves ``due_at`` on by a conditional write, so that of two ticks only one sends, and a lost message is made good
in time. A connection for which its provider's declared rate has no room stays unclaimed, for the next tick. So does one
that an open circuit holds back; the tick sends that circuit's probes instead. The cost grows with what is due, not with
what exists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from ..errors import Conflict, RecordBroken
from ..ports import Circuits, Clock, Due, PortUnavailable, Profiles, Queue, Records
from ..record import circuit as circuits
from ..record import probes, queued_dispatch, queued_wakeup, refresh_schedule
from ..record.circuit import Circuit
from ..times import TICK_HORIZON_SECONDS, TICK_SECONDS
from .pace import Pace

_BATCH_SIZE = 10
#: After so many failed claims in a row it is the table that fails, not one record: the next tick goes on.
_MAX_FAILED_IN_A_ROW = 10


@dataclass(frozen=True, slots=True)
class TickPorts:
    """What a tick needs of the outside world."""

    records: Records
    circuits: Circuits
    profiles: Profiles
    queue: Queue
    clock: Clock


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick did.

    ``left`` counts the connections for which declared rates had no room, ``held`` those that an open circuit holds
    back; ``unfinished`` says that time ran out. The next tick goes on with all of them.
    """

    claimed: int
    sent: int
    left: int = 0
    held: int = 0
    unfinished: bool = False


def tick(ports: TickPorts, deadline: float) -> Tick:
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
    return _TickRun(ports).run(deadline)


def dispatch(ports: TickPorts, key: str, deadline: float) -> Tick:
    """Do what a tick does for the connections of one circuit, which has closed: at most one a second, or over a minute.

    The connections that failed themselves and are not due are woken: the reason of their failure may be gone.

    Raises
    ------
    PortUnavailable
    """
    return _TickRun(ports, key).run(deadline)


@dataclass(slots=True)
class _Counts:
    claimed: int = 0
    sent: int = 0
    left: int = 0
    held: int = 0


@dataclass(slots=True)
class _TickRun:
    """The state of one tick. ``only`` is the key of the one circuit whose connections it looks at."""

    ports: TickPorts
    only: str | None = None
    counts: _Counts = field(default_factory=_Counts)
    batch: list[tuple[Mapping[str, Any], int]] = field(default_factory=list)
    failure: PortUnavailable | None = None
    failed_in_a_row: int = 0
    now: int = field(init=False)
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self.now = int(self.ports.clock.now())
        self.pace = Pace(self.ports.profiles, self.now)

    def run(self, deadline: float) -> Tick:
        unfinished = False
        try:
            dues = self._list_due()
            known = self._read_circuits(dues)
            if known[circuits.HOLD_KEY].is_open:
                return Tick(0, 0, held=len(dues))
            free, held = self._sort_out(dues, known)
            moments = self._spread(free)
            for due, at in zip(free, moments, strict=True):
                if self.ports.clock.now() > deadline or self.failed_in_a_row == _MAX_FAILED_IN_A_ROW:
                    unfinished = True
                    break
                self._take(due, at)
            for key, waiting in held.items():
                self._probe(known[key], waiting)
            if self.only:
                self._wake(known[self.only].failures.keys() - {due.name for due in dues})
        finally:
            self._send_batch()
        if self.only:
            self._remember_pace(known[self.only])
        if self.failure:
            raise self.failure
        counts = self.counts
        return Tick(counts.claimed, counts.sent, counts.left, counts.held, unfinished)

    def _list_due(self) -> list[Due]:
        """List what the shards show, the most overdue first. A shard that fails does not keep the others waiting."""
        dues: list[Due] = []
        for number in range(refresh_schedule.SHARD_COUNT):
            try:
                dues.extend(self.ports.records.due(str(number), self.now + TICK_HORIZON_SECONDS))
            except PortUnavailable as error:
                self.failure = error
        if self.only is not None:
            dues = [due for due in dues if self.only in _list_keys(due)]
            # All of them waited: the first to expire comes first.
            return sorted(dues, key=lambda due: (due.expires_at or 0, due.name))
        return sorted(dues, key=attrgetter("due_at"))

    def _read_circuits(self, dues: Sequence[Due]) -> Mapping[str, Circuit]:
        """Read the circuits of what is due. Without them all is sent, and the passes look by themselves."""
        keys = {key for due in dues for key in _list_keys(due)} | ({self.only} if self.only else set())
        if not keys:
            return {circuits.HOLD_KEY: Circuit(circuits.HOLD_KEY)}
        keys.add(circuits.HOLD_KEY)
        try:
            known = self.ports.circuits.get_many(sorted(keys))
        except PortUnavailable as error:
            self.failure = error
            known = {key: Circuit(key) for key in keys}
        for circuit in known.values():
            if circuit.paced_until:
                self.pace.reserve(circuit.name, circuit.paced_until)
        return known

    def _sort_out(self, dues: Sequence[Due], known: Mapping[str, Circuit]) -> tuple[list[Due], Mapping[str, list[Due]]]:
        """Sort what is due into what may be sent, and what each open circuit holds back: the endpoint's first."""
        free: list[Due] = []
        held: dict[str, list[Due]] = defaultdict(list)
        for due in dues:
            key = next((key for key in _list_keys(due) if known[key].is_open), None)
            (held[key] if key else free).append(due)
        return free, held

    def _spread(self, dues: Sequence[Due]) -> list[int]:
        """Return the moment of each: when it is due, or after a circuit has closed, spread over a minute."""
        if self.only is None:
            return [max(due.due_at, self.now) for due in dues]
        span = min(len(dues), TICK_SECONDS)
        return [self.now + number * span // len(dues) for number, _ in enumerate(dues)]

    def _take(self, due: Due, moment: int) -> None:
        """Claim one connection and put its message into the batch, if its rate has room."""
        try:
            at = self.pace.find_slot(due, moment)
        except PortUnavailable as error:
            self.failure = error
            return
        if at is None:
            self.counts.left += 1
            return
        until = refresh_schedule.compute_claim_until(at, self.now, due.expires_at)
        if self._claim(due, until):
            self._put({"connection": due.name}, at)

    def _claim(self, due: Due, until: int) -> bool:
        """Claim one connection. If False, another tick, or a rotation, was first."""
        try:
            is_claimed = self.ports.records.claim(due.name, due.due_at, until)
        except PortUnavailable as error:
            self.failure = error
            self.failed_in_a_row += 1
            return False
        if is_claimed:
            self.failed_in_a_row = 0
            self.counts.claimed += 1
        return is_claimed

    def _probe(self, circuit: Circuit, waiting: Sequence[Due]) -> None:
        """Send the probes of one open circuit until the next tick. Of two ticks only one does."""
        self.counts.held += len(waiting)
        candidates = [probes.Candidate(due, is_harmless=self._is_harmless(due)) for due in waiting]
        planned, changes = probes.plan_probes(circuit, candidates, self.now, self.now + TICK_SECONDS)
        if not planned:
            return
        try:
            seen = {"opened_at": circuit.opened_at, "probed_at": circuit.probed_at}
            self.ports.circuits.change(circuit.key, changes, only_if=seen)
        except Conflict:
            return
        except PortUnavailable as error:
            self.failure = error
            return
        by_name = {due.name: due for due in waiting}
        for candidate, at in planned:
            due = by_name[candidate.held.name]
            until = refresh_schedule.compute_claim_until(at, self.now, due.expires_at)
            if self._claim(due, until):
                self._put(queued_dispatch.create_probe(due.name, circuit.key, until), at)

    def _wake(self, names: Collection[str]) -> None:
        """Wake connections, one a second or as their rate has room. Without that they come at their own times."""
        for number, name in enumerate(sorted(names)):
            try:
                record = self.ports.records.get(name)
                at = self.pace.find_slot(record, self.now + number) if record else None
            except RecordBroken:
                continue
            except PortUnavailable as error:
                self.failure = error
                return
            if at is not None:
                self._put(queued_wakeup.create_message(name), at)

    def _is_harmless(self, due: Due) -> bool:
        """Whether nothing is gained by sparing the refresh token: it is not used up, or ends with its access token."""
        try:
            profile = self.pace.find_profile(due)
        except PortUnavailable as error:
            self.failure = error
            return False
        if profile is None:
            return False
        ends_with_token = profile.rotation.refresh_token_life == "with_access_token"  # noqa: S105
        return ends_with_token or not profile.rotation.rotates

    def _put(self, message: Mapping[str, Any], at: int) -> None:
        self.batch.append((message, at - self.now))
        if len(self.batch) == _BATCH_SIZE:
            self._send_batch()

    def _send_batch(self) -> None:
        batch, self.batch = self.batch, []
        if batch:
            self.counts.sent += self.ports.queue.send_many(batch)

    def _remember_pace(self, circuit: Circuit) -> None:
        """Keep the next tick from filling the same declared rate once more."""
        until = self.pace.find_filled_until(circuit.name)
        try:
            if until is not None:
                self.ports.circuits.change(circuit.key, {"paced_until": until}, only_if={})
        except PortUnavailable as error:
            self.failure = error


def _list_keys(due: Due) -> tuple[str, str]:
    """List the circuits of a connection. An endpoint that does not work holds more back than its client does."""
    return circuits.create_endpoint_key(due.endpoint), circuits.create_client_key(due.client)
