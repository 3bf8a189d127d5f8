"""What the faults cost: the providers' logs, the proxies' and the kills, put together into rows of a table."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from evergrant.record.connection import Connection
from local.torture.aws_calls import STEPS, Call, call_of
from local.torture.kills import Kill
from local.torture.ledger import Commit, Ledger, read_log, windows
from local.torture.observer import Observer
from local.torture.proxy import Exchange
from local.torture.recovery import Recovered
from local.torture.testbed import Arena
from local.torture.token_chains import presented

#: An invocation ends within this time (rotator's timeout): a kill that took an answer with it came no later.
_INVOCATION = 60.0
#: A request that had left before the kill may reach the provider so many seconds after it.
_ON_THE_WAY = 5.0
_LOOK = 0.5
#: A save takes milliseconds; this is what a busy machine is allowed before an answer counts as lost.
_SAVED_WITHIN = 90.0


@dataclass
class Row:
    """One kind of fault.

    ``unread`` says that each of its connections is to keep an answer that somebody has to look at. ``windows`` are in
    seconds, from a commit of the provider to its save; ``queued`` counts answers that the queue kept until the table
    took them.
    """

    fault: str
    injected: int
    names: frozenset[str]
    begun: float
    ended: float = float("inf")
    unread: bool = False
    rotations: int = 0
    queued: int = 0
    answers_lost: int = 0
    unavoidable: int = 0
    lost: int = 0
    recovery: float = 0.0
    windows: list[float] = field(default_factory=list)

    def covers(self, commit: Commit) -> bool:
        """Whether a rotation happened under this fault."""
        return commit.connection in self.names and self.begun <= commit.at < self.ended

    def as_dict(self) -> dict[str, object]:
        """For the machine."""
        return {
            "fault": self.fault,
            "injected": self.injected,
            "rotations": self.rotations,
            "saved_by_the_queue": self.queued,
            "answers_lost": self.answers_lost,
            "grants_lost_unavoidably": self.unavoidable,
            "grants_lost": self.lost,
            "recovery_seconds": round(self.recovery, 1),
            "window_milliseconds": in_milliseconds(self.windows),
        }


def in_milliseconds(found: list[float]) -> dict[str, float] | None:
    """Median and maximum."""
    if not found:
        return None
    return {"median": round(statistics.median(found) * 1000, 1), "max": round(max(found) * 1000, 1)}


@dataclass
class Account:
    """Adds up. ``kills`` are filled in by others while it lasts."""

    place: Arena
    observer: Observer
    kills: list[Kill] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _worked_on: dict[Kill, tuple[str | None, str | None]] = field(default_factory=dict)

    def ledgers(self) -> dict[str, Ledger]:
        """Each provider's log as it is now."""
        return {
            name: Ledger(read_log(party.provider.requests()), party.grace, self.observer.stored)
            for name, party in self.place.parties.items()
        }

    def rotations(self) -> int:
        """How often the providers have rotated."""
        return sum(int(str(party.provider.stats()["rotations"])) for party in self.place.parties.values())

    def close(self, rows: list[Row], recovered: Recovered) -> None:
        """Fill in what the rows' faults have cost. They are rows of the table from now on."""
        self._wait_for_saves(rows)
        saves, last, lost_tokens = self._saves(), dict[str, Commit](), set[str]()
        queued = list(self._saved_by_queue())
        for ledger in self.ledgers().values():
            commits, lost, unanswered = ledger.commits(), ledger.lost_answers(), ledger.unanswered()
            lengths = windows(commits, saves)
            last |= {commit.connection: commit for commit in commits}
            lost_tokens |= {commit.issued for commit in lost}
            for row in rows:
                of_row = [commit for commit in lost if row.covers(commit)]
                row.rotations += sum(row.covers(commit) for commit in commits)
                row.answers_lost += len(of_row)
                row.windows += [length for commit, length in lengths if row.covers(commit)]
                self.failures += [
                    f"{row.fault}: an answer for {commit.connection} reached Evergrant and was not saved."
                    for commit in unanswered
                    if row.covers(commit) and not self._excused(commit)
                ]
        for name in recovered.lost:
            final = last.get(name)
            row = next((row for row in rows if final is not None and row.covers(final)), _row_of(name, rows))
            if final is not None and final.issued in lost_tokens and self._excused(final):
                row.unavoidable += 1
            else:
                row.lost += 1
                self.failures.append(f"{row.fault}: the grant of {name} is lost, and no answer of it was.")
        for row in rows:
            row.queued = sum(name in row.names and row.begun <= at < row.ended for name, at in queued)
            row.recovery = recovered.seconds if row.ended == rows[-1].ended else 0.0
            unread = [name for name in recovered.unread if _row_of(name, rows) is row]
            if len(unread) != (len(row.names) if row.unread else 0):
                self.failures.append(f"{row.fault}: {len(unread)} answers wait to be read.")
        self.failures += [f"{_row_of(name, rows).fault}: {text}" for name, text in recovered.failures.items()]
        self.rows += rows

    def finish(self) -> None:
        """What holds for the whole of it."""
        for ledger in self.ledgers().values():
            self.failures += ledger.reuses()

    def steps_killed(self) -> dict[str, int]:
        """How many kills came after which step of the rotation was last seen."""
        found = Counter(step for kill in self.kills if (step := self._at_work(kill)[1]))
        return {step: found[step] for step in STEPS}

    def held(self, record: Connection) -> bool | None:
        """Whether somebody may hold an answer for a spend in doubt whose lease is over; None if that is not known.

        Nobody does where the answer never reached a worker, or its worker was killed: but for the queue.
        """
        token, marked_at = self.observer.refresh_token(record), float(record.attempt_at or 0)
        if any(call.queued == record.generation for _, call in self._calls(record.name, since=marked_at)):
            return True  # until it is saved, and then the spend is no longer in doubt
        asked = [
            exchange
            for exchange in self._exchanges(self.place.party(record.name).proxy.exchanges, since=marked_at)
            if presented(exchange.request) == token
        ]
        if all(exchange.fault is not None for exchange in asked):
            return False  # or it was never asked, and with its lease over a worker asks no more
        return False if self._worker_killed(record.name, time.time()) else None

    # --- inside ---

    def _wait_for_saves(self, rows: list[Row]) -> None:
        """Rotations go on all the time: let those end that had just been answered when the last look was taken."""
        ends = time.monotonic() + _SAVED_WITHIN
        while time.monotonic() < ends:
            unsaved = [commit for ledger in self.ledgers().values() for commit in ledger.unanswered()]
            if not any(row.covers(commit) and not self._excused(commit) for row in rows for commit in unsaved):
                return
            time.sleep(_LOOK)
            for record in self.observer.records().values():
                self.observer.refresh_token(record)

    def _saves(self) -> dict[str, list[tuple[float, float]]]:
        saves: dict[str, list[tuple[float, float]]] = {}
        for exchange in self.place.proxy.exchanges:
            if exchange.status == 200 and exchange.answered_at is not None and b"sealed" in exchange.request.body:
                call = call_of(exchange.request)
                if call.step == "save" and call.connection is not None:
                    saves.setdefault(call.connection, []).append((exchange.request.at, exchange.answered_at))
        return saves

    def _excused(self, commit: Commit) -> bool:
        """Whether an answer never reached whoever would have saved it: lost on the way, or the process killed."""
        if commit.connection not in self.place.names:
            return False
        exchanges = self.place.party(commit.connection).proxy.exchanges
        for exchange in self._exchanges(exchanges, since=commit.at - _INVOCATION):
            if exchange.fault is not None and presented(exchange.request) == commit.presented:
                answered = exchange.answered_at or 0.0
                if exchange.request.at <= commit.at <= answered:
                    return True
        return self._worker_killed(commit.connection, commit.at) or any(
            -_ON_THE_WAY <= kill.at - commit.at <= _INVOCATION and self._at_work(kill)[0] == commit.connection
            for kill in self.kills
        )

    def _worker_killed(self, name: str, before: float) -> bool:
        """Whether the worker that last marked a spend of a connection was killed: one of a batch, it may be."""
        calls = self._calls(name, since=before - _INVOCATION)
        marks = [exchange for exchange, call in calls if call.step == "mark" and exchange.request.at <= before]
        if not marks:
            return False
        marked = marks[-1].request
        return any(marked.peer in kill.ports and marked.at <= kill.at <= marked.at + _INVOCATION for kill in self.kills)

    def _calls(self, name: str, since: float) -> list[tuple[Exchange, Call]]:
        """What functions asked of AWS for a connection, oldest first, if the service has got it."""
        found = (
            (exchange, call_of(exchange.request)) for exchange in self._exchanges(self.place.proxy.exchanges, since)
        )
        return [(exchange, call) for exchange, call in found if call.connection == name and exchange.status == 200]

    @staticmethod
    def _exchanges(exchanges: list[Exchange], since: float) -> list[Exchange]:
        """Those from a time (epoch seconds) on, oldest first: they are kept in that order, about."""
        found = []
        for number in range(len(exchanges) - 1, -1, -1):
            if exchanges[number].request.at < since - _ON_THE_WAY:
                break
            found.append(exchanges[number])
        return found[::-1]

    def _saved_by_queue(self) -> Iterator[tuple[str, float]]:
        """Each answer that the table took from a message of the queue: its connection, and when it was queued."""
        waiting: dict[tuple[str, str], float] = {}
        for exchange in tuple(self.place.proxy.exchanges):
            if exchange.status != 200 or b"sealed" not in exchange.request.body:
                continue
            call = call_of(exchange.request)
            if call.connection is None or call.step != "save":
                continue
            sealed = call.connection, _sealed_text(exchange)
            if call.queued is not None:
                waiting.setdefault(sealed, exchange.request.at)
            elif sealed in waiting:
                yield call.connection, waiting.pop(sealed)

    def _at_work(self, kill: Kill) -> tuple[str | None, str | None]:
        """What a killed process was doing: the connection, and the step that was last seen."""
        if kill in self._worked_on:
            return self._worked_on[kill]
        name, step, asked_at = None, None, 0.0
        for exchange in self.place.proxy.exchanges:
            if exchange.request.peer in kill.ports and kill.at - _INVOCATION < exchange.request.at <= kill.at:
                call = call_of(exchange.request)
                if call.connection is not None and call.step is not None:
                    name, step, asked_at = call.connection, call.step, exchange.request.at
        if name is not None and step == "mark" and self._asked(name, asked_at, kill.at):
            step = "spend"
        self._worked_on[kill] = name, step
        return name, step

    def _asked(self, name: str, after: float, before: float) -> bool:
        """Whether the provider was asked for a connection in between."""
        party = self.place.party(name)
        return any(
            after <= exchange.request.at <= before
            and self.observer.stored.get(presented(exchange.request) or "") == name
            for exchange in party.proxy.exchanges
        )


def _row_of(name: str, rows: list[Row]) -> Row:
    """The row that a connection's trouble belongs to: that of the fewest connections."""
    return min((row for row in rows if name in row.names), key=lambda row: len(row.names), default=rows[-1])


def _sealed_text(exchange: Exchange) -> str:
    """The ciphertext, in base64, that a save carries: to the table, or to the queue."""
    asked: Any = json.loads(exchange.request.body)
    if "MessageBody" in asked:
        sealed = json.loads(asked["MessageBody"])["changes"].get("sealed") or {}
        return str(sealed.get("text"))
    maps = (value["M"] for value in asked["ExpressionAttributeValues"].values() if "M" in value)
    return str(next((sealed["text"]["B"] for sealed in maps if "text" in sealed), None))
