"""After a fault: does everything work again, by itself, and does every record say the truth?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from evergrant.connection import Connection, Status
from local.torture.arena import Arena
from local.torture.observer import Observer

#: How long a connection may take to recover. Seconds would do, and half a minute after a kill, for the lease; this is
#: what a busy machine is allowed.
PATIENCE = 300.0
_LOOK = 1.0
#: No answer is held longer than this after a lease, in seconds, unless two things go wrong at a time: a message that
#: carries one comes back every 15 seconds.
_SETTLING = 20
_READERS = 3
_ATTEMPTS = 5

#: What a record may say of a grant that is lost: that it was refused after an answer was lost, or that an answer is.
_HONEST = {"lost_answer", "invalid_grant", "grant_rejected"}

State = Literal["sound", "lost", "unread", "pending"]


@dataclass
class Recovered:
    """What came of the connections. ``lost``: the grant is gone. ``unread``: a person has to look at an answer."""

    sound: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0


def recover(place: Arena, observer: Observer, names: Iterable[str], say: Callable[[str], None]) -> Recovered:
    """Wait until every connection works or says why it does not, and read a token of each that works."""
    begun = time.monotonic()
    found, pending, settled = Recovered(), dict.fromkeys(names), set[str | None]()
    record: Connection | None = None
    while pending and time.monotonic() - begun < PATIENCE:
        before = _live(place)
        records = observer.records()
        live = before | _live(place)
        for name in tuple(pending):
            record = records[name]
            state = _state(record, observer.refresh_token(record) in live)
            if state == "pending":
                if record.spend_id not in settled and _settled(record, place.party(name).grace):
                    settled.add(record.spend_id)
                    observer.let_settle(record, int(time.time()))
                if _waits_out_a_backoff(record):
                    observer.hurry(record, int(time.time()))
                continue
            del pending[name]
            {"sound": found.sound, "lost": found.lost, "unread": found.unread}[state].append(name)
            if state == "lost" and record.last_error not in _HONEST:
                found.failures.append(f"{name} lost its grant and says {record.last_error}.")
        say(f"recovering: {len(pending)} of {len(pending) + len(found.sound) + len(found.lost)} to go")
        if pending:
            time.sleep(_LOOK)
    for name in pending:
        record = observer.record(name)
        found.failures.append(f"{name} did not recover: {record.status}, {record.last_error}.")
    found.seconds = time.monotonic() - begun
    with ThreadPoolExecutor(_READERS) as pool:
        readings = pool.map(lambda name: _readable(observer, name), found.sound)
        found.failures += [
            f"{name}: getter's token is not accepted."
            for name, good in zip(found.sound, readings, strict=True)
            if not good
        ]
    return found


def _state(record: Connection, live: bool) -> State:
    """``live``: the provider takes the refresh token that is stored."""
    now = int(time.time())
    if record.unread_answer is not None:
        return "unread" if record.status is Status.DEGRADED else "pending"
    if record.leased(now) or record.spend_id is not None:
        return "pending"
    if not live:
        troubled = record.status in (Status.DEGRADED, Status.AUTHORIZATION_REQUIRED)
        return "lost" if troubled else "pending"
    valid = record.expires_at is not None and record.expires_at > now
    return "sound" if record.status is Status.ACTIVE and valid and not record.unpublished else "pending"


def _settled(record: Connection, grace: int) -> bool:
    """Whether a spend is in doubt, its replay would be outside the grace, and nobody has its answer any more."""
    if record.spend_id is None:
        return False
    held_until = max(record.spend_at or 0, record.lease_until or 0) + _SETTLING
    return int(time.time()) > max(held_until, (record.spend_at or 0) + grace)


def _waits_out_a_backoff(record: Connection) -> bool:
    now = int(time.time())
    waits = record.refresh_at is not None and record.refresh_at > now + 2
    return waits and record.failures > 0 and record.rejected_at is None and record.spend_id is None


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
