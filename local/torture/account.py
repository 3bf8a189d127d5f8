"""What the faults cost: the providers' logs, the proxies' and the kills, put together into rows of a table."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from evergrant.secret import fingerprint
from local.torture.arena import Arena
from local.torture.calls import STEPS, call_of
from local.torture.kills import Kill
from local.torture.ledger import Commit, Ledger, read_log, windows
from local.torture.observer import Observer
from local.torture.proxy import Exchange
from local.torture.recovery import Recovered

#: An invocation ends within this time (rotator's timeout): a kill that took an answer with it came no later.
_INVOCATION = 60.0
#: A request that had left before the kill may reach the provider so many seconds after it.
_ON_THE_WAY = 5.0
_LOOK = 0.5
#: A save takes milliseconds; this is what a busy machine is allowed before an answer counts as lost.
_SAVED_WITHIN = 90.0


@dataclass
class Row:
    """One kind of fault. ``windows`` in seconds, from a commit of the provider to its save."""

    fault: str
    injected: int
    names: frozenset[str]
    begun: float
    ended: float = float("inf")
    rotations: int = 0
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
            row = next((row for row in rows if final is not None and row.covers(final)), rows[-1])
            if final is not None and final.issued in lost_tokens and self._excused(final):
                row.unavoidable += 1
            else:
                row.lost += 1
                self.failures.append(f"{row.fault}: the grant of {name} is lost, and no answer of it was.")
        rows[-1].recovery = recovered.seconds
        self.failures += [f"{rows[-1].fault}: {failure}" for failure in recovered.failures]
        self.rows += rows

    def finish(self) -> None:
        """What holds for the whole of it."""
        for ledger in self.ledgers().values():
            self.failures += ledger.reuses()

    def steps_killed(self) -> dict[str, int]:
        """How many kills came after which step of the rotation was last seen."""
        found = Counter(step for kill in self.kills if (step := self._at_work(kill)[1]))
        return {step: found[step] for step in STEPS}

    def lag(self) -> list[float]:
        """The window of every answer that was saved, in seconds."""
        return [length for row in self.rows for length in row.windows]

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
        exchanges = self.place.party(commit.connection).proxy.exchanges
        for exchange in exchanges:
            if exchange.fault is not None and _presented(exchange) == commit.presented:
                answered = exchange.answered_at or 0.0
                if exchange.request.at <= commit.at <= answered:
                    return True
        return any(
            -_ON_THE_WAY <= kill.at - commit.at <= _INVOCATION and self._at_work(kill)[0] == commit.connection
            for kill in self.kills
        )

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
            after <= exchange.request.at <= before and self.observer.stored.get(_presented(exchange) or "") == name
            for exchange in party.proxy.exchanges
        )


def _presented(exchange: Exchange) -> str | None:
    tokens: Iterable[str] = parse_qs(exchange.request.body.decode()).get("refresh_token", [])
    return next((fingerprint(token) for token in tokens), None)
