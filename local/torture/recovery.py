"""After a fault: does everything work again, by itself, and does every record say the truth?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from evergrant.record.connection import Connection, Status
from local.torture.observer import Observer
from local.torture.testbed import Arena

#: How long a connection may take to recover. Seconds would do, and half a minute after a kill, for the lease; this is
#: what a busy machine is allowed.
PATIENCE = 300.0
_LOOK = 0.5
#: No answer is held longer than this after a lease, in seconds, unless two things go wrong at a time: a message that
#: carries one comes back every 15 seconds.
_SETTLING = 20
#: A connection is not made due again before so many seconds are over.
_HURRIED_FOR = 3
_READERS = 3
_ATTEMPTS = 5

#: What a record may say of a grant that is lost: that it was refused after an answer was lost, or that an answer is.
_HONEST = {"lost_response", "invalid_grant", "grant_rejected"}

State = Literal["sound", "lost", "unread", "pending"]
Holds = Callable[[Connection], bool | None]


@dataclass
class Recovered:
    """What came of the connections. ``lost``: the grant is gone. ``unread``: a person has to look at an answer.

    ``failures`` say what is wrong with a connection.
    """

    sound: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class Haste:
    """Waits shorter than Evergrant does where lives are short and its waits are not.

    What waits out a backoff, or for the pass that comes minutes after a worker was killed, is due at once. A spend in
    doubt outside the grace need not wait for a quarter of an hour, but only until nobody can hold its answer; and where
    its one attempt was lost as well, not for the next day's probe.

    Parameters
    ----------
    held
        Whether somebody may still hold an answer of a connection's spend in doubt, now that its lease is over. None: it
        is not known.
    """

    def __init__(self, place: Arena, observer: Observer, held: Holds) -> None:
        self._place, self._observer, self._held = place, observer, held
        self._hurried: dict[str, float] = {}

    def make(self, records: Iterable[Connection]) -> None:
        """Look at these once."""
        for record in records:
            now = int(time.time())
            hurried = self._hurried.get(record.name, float("-inf")) + _HURRIED_FOR > time.monotonic()
            if hurried or record.is_leased(now) or record.unreadable_response is not None:
                continue
            if self._hurry(record, now):
                self._hurried[record.name] = time.monotonic()

    def _hurry(self, record: Connection, now: int) -> bool:
        """Whether it had to wait for anything."""
        if record.attempt_id is not None and not self._in_grace(record, now) and not _probed(record):
            # More than once, where an attempt never left: its doubt stays as it was, and it backs off for minutes.
            return self._is_settled(record, now) and self._observer.let_settle(record, now)
        if _waits(record, now):
            self._observer.hurry(record, now)
            return True
        if record.is_unpublished:
            self._observer.wake(record.name)
            return True
        return False

    def _in_grace(self, record: Connection, now: int) -> bool:
        return now <= (record.attempt_at or 0) + self._place.party(record.name).grace

    def _is_settled(self, record: Connection, now: int) -> bool:
        held = self._held(record)
        if held is None:
            return now > max(record.attempt_at or 0, record.lease_until or 0) + _SETTLING
        return not held


def _waits(record: Connection, now: int) -> bool:
    """Whether a refresh waits out a backoff, or should have happened."""
    if record.refresh_at is None or record.rejected_at is not None:
        return False
    return (record.failures > 0 and record.refresh_at > now + 2) or record.refresh_at < now - 2


def _probed(record: Connection) -> bool:
    """Whether the one attempt at a spend in doubt came to nothing either: from then on it is probed, once a day."""
    return record.status is Status.AUTHORIZATION_REQUIRED and record.attempt_id is not None


def recover(
    place: Arena, observer: Observer, names: Iterable[str], haste: Haste, say: Callable[[str], None]
) -> Recovered:
    """Wait until every connection works or says why it does not, and read a token of each that works."""
    begun = time.monotonic()
    found, pending = Recovered(), dict.fromkeys(names)
    while pending and time.monotonic() - begun < PATIENCE:
        before = _live(place)
        records = observer.records()
        live = before | _live(place)
        for name in tuple(pending):
            record = records[name]
            state = _state(record, observer.refresh_token(record) in live)
            if state == "pending":
                continue
            del pending[name]
            {"sound": found.sound, "lost": found.lost, "unread": found.unread}[state].append(name)
            if state == "lost" and record.last_error not in _HONEST:
                found.failures[name] = f"{name} lost its grant and says {record.last_error}."
        haste.make(records[name] for name in pending)
        say(f"recovering: {len(pending)} to go: {', '.join(pending)}")
        if pending:
            time.sleep(_LOOK)
    for name in pending:
        record = observer.record(name)
        doubt = "" if record.attempt_id is None else f", in doubt since {record.attempt_at}"
        found.failures[name] = f"{name} did not recover: {record.status}, {record.last_error}{doubt}."
    found.seconds = time.monotonic() - begun
    with ThreadPoolExecutor(_READERS) as pool:
        readings = pool.map(lambda name: _readable(observer, name), found.sound)
        found.failures |= {
            name: f"{name}: getter's token is not accepted."
            for name, good in zip(found.sound, readings, strict=True)
            if not good
        }
    return found


def _state(record: Connection, live: bool) -> State:
    """``live``: the provider takes the refresh token that is stored."""
    now = int(time.time())
    if record.unreadable_response is not None:
        return "unread" if record.status is Status.DEGRADED else "pending"
    if record.is_leased(now) or record.attempt_id is not None:
        return "pending"
    if not live:
        troubled = record.status in (Status.DEGRADED, Status.AUTHORIZATION_REQUIRED)
        return "lost" if troubled else "pending"
    valid = record.expires_at is not None and record.expires_at > now
    return "sound" if record.status is Status.ACTIVE and valid and not record.is_unpublished else "pending"


def _live(place: Arena) -> set[object]:
    """The refresh tokens that the providers would take now."""
    return {grant["refresh_token"] for party in place.parties.values() for grant in party.provider.grants()}


def _readable(observer: Observer, name: str) -> bool:
    """Whether getter answers with a token that the API takes; one that lapses on the way is asked for again."""
    for _ in range(_ATTEMPTS):
        if observer.accepted(name, observer.invoke("Getter", {"connection": name}).answer):
            return True
        time.sleep(_LOOK)
    return False
