"""Recovery after a fault: every connection works again by itself, or its record names the reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from evergrant.record.connection import Connection
from evergrant.record.status import Status
from local.torture.observer import Observer
from local.torture.testbed import Testbed

#: How long a connection may take to recover. It takes seconds, or after a kill a lease; the rest is for a busy machine.
MAX_RECOVERY_SECONDS = 300.0
_POLL_SECONDS = 0.5
#: After this time past a lease, no response is held any more, unless two faults coincide: a queued save is delivered
#: again every 15 seconds.
_MAX_HOLD_SECONDS = 20
#: The least time between two interventions at one connection.
_MIN_INTERVAL_SECONDS = 3
_READERS = 3
_MAX_READS = 5

#: The errors that a record may name for a lost grant: a rejection after a lost response, or the lost response.
_EXPECTED_ERRORS = {"lost_response", "invalid_grant", "grant_rejected"}

State = Literal["sound", "lost", "unreadable", "pending"]
MayBeHeld = Callable[[Connection], bool | None]


@dataclass
class Recovered:
    """The outcome by connection. ``lost``: the grant is gone. ``unreadable``: an operator has to look at a response.

    ``failures`` name what is wrong with a connection.
    """

    sound: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class WaitShortener:
    """Shortens Evergrant's waits, which are made for tokens that live for hours.

    A connection in backoff, or one whose worker was killed minutes ago, becomes due at once. An attempt in doubt
    outside the grace is replayed as soon as no worker and no message can hold its response, not after 15 minutes. If
    that replay was lost as well, the probe that follows is due as soon as the access token has expired. What an open
    circuit holds back is sent as one of its probes.

    Parameters
    ----------
    may_be_held
        Whether a worker or a message may still hold the response of an attempt in doubt, after its lease. None: not
        known.
    """

    def __init__(self, testbed: Testbed, observer: Observer, may_be_held: MayBeHeld) -> None:
        self._testbed, self._observer, self._may_be_held = testbed, observer, may_be_held
        self._shortened_at: dict[str, float] = {}
        #: Fingerprint of a refresh token, to the times (epoch seconds) at which a probe with it was made due: after a
        #: counted replay whose response was lost too, and with the access token expired, nothing is left to lose.
        self.probes: dict[str, list[float]] = {}

    def shorten(self, records: Iterable[Connection]) -> None:
        """Shorten the waits of these connections once."""
        held_back = self._observer.list_open_endpoints()
        for record in records:
            now = int(time.time())
            is_recent = self._shortened_at.get(record.name, float("-inf")) + _MIN_INTERVAL_SECONDS > time.monotonic()
            if is_recent or record.is_leased(now) or record.unreadable_response is not None:
                continue
            if self._shorten_wait(record, now, is_held=record.endpoint in held_back):
                self._shortened_at[record.name] = time.monotonic()

    def _shorten_wait(self, record: Connection, now: int, *, is_held: bool) -> bool:
        """Shorten the wait of one connection; return whether there was one."""
        if record.attempt_id is not None and not self._is_in_grace(record, now):
            return self._shorten_doubt(record, now, is_held=is_held)
        if _has_to_wait(record, now):
            return self._observer.make_due(record, now, is_held=is_held)
        if record.is_unpublished:
            self._observer.enqueue(record.name)
            return True
        return False

    def _shorten_doubt(self, record: Connection, now: int, *, is_held: bool) -> bool:
        """Shorten the wait of an attempt in doubt outside the grace, and note what is then sent as a probe."""
        is_probe, made_at = record.attempt_replays > 0, time.time()
        if is_probe and record.expires_at is not None and record.expires_at > now:
            return False  # a probe is sent only after the access token has expired
        if _is_probed_daily(record):
            is_shortened = _has_to_wait(record, now) and self._observer.make_due(record, now, is_held=is_held)
        else:
            # More than once if the replay was never sent: the attempt stays in doubt, and the connection backs off.
            is_shortened = self._may_replay(record, now) and self._observer.allow_replay(record, now, is_held=is_held)
        token = self._observer.fingerprint_refresh_token(record) if is_shortened and is_probe else None
        if token is not None:
            self.probes.setdefault(token, []).append(made_at)
        return is_shortened

    def _is_in_grace(self, record: Connection, now: int) -> bool:
        return now <= (record.attempt_at or 0) + self._testbed.find_party(record.name).grace

    def _may_replay(self, record: Connection, now: int) -> bool:
        held = self._may_be_held(record)
        if held is None:
            return now > max(record.attempt_at or 0, record.lease_until or 0) + _MAX_HOLD_SECONDS
        return not held


def _has_to_wait(record: Connection, now: int) -> bool:
    """Whether a refresh waits for the end of a backoff, or is overdue."""
    if record.refresh_at is None or record.rejected_at is not None:
        return False
    return (record.failures > 0 and record.refresh_at > now + 2) or record.refresh_at < now - 2


def _is_probed_daily(record: Connection) -> bool:
    """Whether the replay of an attempt in doubt was lost too: from then on it is probed once a day."""
    return record.status is Status.AUTHORIZATION_REQUIRED and record.attempt_id is not None


def recover(
    testbed: Testbed, observer: Observer, names: Iterable[str], shortener: WaitShortener, say: Callable[[str], None]
) -> Recovered:
    """Wait until every connection works or its record names the reason, and read a token of each that works."""
    begun = time.monotonic()
    found, pending = Recovered(), dict.fromkeys(names)
    while pending and time.monotonic() - begun < MAX_RECOVERY_SECONDS:
        before = _list_accepted_tokens(testbed)
        records = observer.read_records()
        live = before | _list_accepted_tokens(testbed)
        for name in tuple(pending):
            record = records[name]
            state = _classify(record, observer.fingerprint_refresh_token(record) in live)
            if state == "pending":
                continue
            del pending[name]
            {"sound": found.sound, "lost": found.lost, "unreadable": found.unreadable}[state].append(name)
            if state == "lost" and record.last_error not in _EXPECTED_ERRORS:
                found.failures[name] = f"{name} lost its grant, and its record says {record.last_error}."
        shortener.shorten(records[name] for name in pending)
        say(f"recovering: {len(pending)} left: {', '.join(pending)}")
        if pending:
            time.sleep(_POLL_SECONDS)
    for name in pending:
        record = observer.read_record(name)
        doubt = "" if record.attempt_id is None else f", in doubt since {record.attempt_at}"
        found.failures[name] = f"{name} did not recover: {record.status}, {record.last_error}{doubt}."
    found.seconds = time.monotonic() - begun
    with ThreadPoolExecutor(_READERS) as pool:
        readings = pool.map(lambda name: _is_readable(observer, name), found.sound)
        found.failures |= {
            name: f"{name}: getter's token is not accepted."
            for name, good in zip(found.sound, readings, strict=True)
            if not good
        }
    return found


def _classify(record: Connection, live: bool) -> State:
    """Return the state of a connection; ``live``: the provider accepts the stored refresh token."""
    now = int(time.time())
    if record.unreadable_response is not None:
        return "unreadable" if record.status is Status.DEGRADED else "pending"
    if record.is_leased(now) or record.attempt_id is not None:
        return "pending"
    if not live:
        is_reported = record.status in (Status.DEGRADED, Status.AUTHORIZATION_REQUIRED)
        return "lost" if is_reported else "pending"
    valid = record.expires_at is not None and record.expires_at > now
    return "sound" if record.status is Status.ACTIVE and valid and not record.is_unpublished else "pending"


def _list_accepted_tokens(testbed: Testbed) -> set[object]:
    """List the refresh tokens that the providers would accept now."""
    return {grant["refresh_token"] for party in testbed.parties.values() for grant in party.provider.grants()}


def _is_readable(observer: Observer, name: str) -> bool:
    """Whether getter returns a token that the API accepts. A token that expires on the way is read again."""
    for _ in range(_MAX_READS):
        if observer.is_accepted(name, observer.invoke("Getter", {"connection": name}).response):
            return True
        time.sleep(_POLL_SECONDS)
    return False
