"""The cost of each fault, computed from the logs of the providers and proxies and from the kills."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evergrant.record.connection import Connection
from evergrant.record.queued_save import decode_change
from evergrant.record.sealed import Sealed
from local.torture.aws_calls import STEPS, Call, parse_call
from local.torture.kills import Kill
from local.torture.ledger import Commit, Ledger, measure_windows, parse_log
from local.torture.observer import Observer
from local.torture.proxy import Exchange
from local.torture.recovery import Recovered
from local.torture.testbed import Testbed
from local.torture.token_chains import get_presented_token

#: An invocation ends within this time (rotator's timeout): a kill that lost a response came no later.
_MAX_INVOCATION_SECONDS = 60.0
#: A request that was sent before the kill may reach the provider this much later.
_MAX_TRANSIT_SECONDS = 5.0
_POLL_SECONDS = 0.5
#: When an unsaved response counts as lost. A save takes milliseconds; the rest is for a busy machine.
_MAX_SAVE_SECONDS = 90.0


@dataclass
class Row:
    """One kind of fault.

    ``unreadable``: each of its connections must keep an unreadable response. ``windows`` are the seconds from a
    commit of the provider to its save. ``queued`` counts the queued saves that the table took later.
    """

    fault: str
    injected: int
    names: frozenset[str]
    begun: float
    ended: float = float("inf")
    unreadable: bool = False
    rotations: int = 0
    queued: int = 0
    responses_lost: int = 0
    unavoidable: int = 0
    lost: int = 0
    recovery: float = 0.0
    windows: list[float] = field(default_factory=list)

    def covers(self, commit: Commit) -> bool:
        """Whether a rotation happened during this fault."""
        return commit.connection in self.names and self.begun <= commit.at < self.ended

    def as_dict(self) -> dict[str, object]:
        """Return the row as JSON shows it."""
        return {
            "fault": self.fault,
            "injected": self.injected,
            "rotations": self.rotations,
            "saved_by_the_queue": self.queued,
            "responses_lost": self.responses_lost,
            "grants_lost_unavoidably": self.unavoidable,
            "grants_lost": self.lost,
            "recovery_seconds": round(self.recovery, 1),
            "window_milliseconds": to_milliseconds(self.windows),
        }


def to_milliseconds(found: list[float]) -> dict[str, float] | None:
    """Return median and maximum in milliseconds, or None without a measurement."""
    if not found:
        return None
    return {"median": round(statistics.median(found) * 1000, 1), "max": round(max(found) * 1000, 1)}


@dataclass
class Results:
    """Collects rows and failures. The killer appends to ``kills`` during the run."""

    testbed: Testbed
    observer: Observer
    kills: list[Kill] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _worked_on: dict[Kill, tuple[str | None, str | None]] = field(default_factory=dict)

    def read_ledgers(self) -> dict[str, Ledger]:
        """Read each provider's log as it is now."""
        return {
            name: Ledger(parse_log(party.provider.requests()), party.grace, self.observer.stored)
            for name, party in self.testbed.parties.items()
        }

    def count_rotations(self) -> int:
        """Count the rotations at the providers."""
        return sum(int(str(party.provider.stats()["rotations"])) for party in self.testbed.parties.values())

    def close(self, rows: list[Row], recovered: Recovered) -> None:
        """Fill in the cost of the rows' faults, and add them to the table."""
        self._wait_for_saves(rows)
        saves, last, lost_tokens = self._find_saves(), dict[str, Commit](), set[str]()
        queued = list(self._find_queued_saves())
        for ledger in self.read_ledgers().values():
            commits, lost, find_unrecovered = (
                ledger.list_commits(),
                ledger.find_lost_responses(),
                ledger.find_unrecovered(),
            )
            lengths = measure_windows(commits, saves)
            last |= {commit.connection: commit for commit in commits}
            lost_tokens |= {commit.issued for commit in lost}
            for row in rows:
                of_row = [commit for commit in lost if row.covers(commit)]
                row.rotations += sum(row.covers(commit) for commit in commits)
                row.responses_lost += len(of_row)
                row.windows += [length for commit, length in lengths if row.covers(commit)]
                self.failures += [
                    f"{row.fault}: a response for {commit.connection} reached Evergrant and was not saved."
                    for commit in find_unrecovered
                    if row.covers(commit) and not self._was_cut_off(commit)
                ]
        for name in recovered.lost:
            final = last.get(name)
            row = next((row for row in rows if final is not None and row.covers(final)), _find_row(name, rows))
            if final is not None and final.issued in lost_tokens and self._was_cut_off(final):
                row.unavoidable += 1
            else:
                row.lost += 1
                self.failures.append(f"{row.fault}: the grant of {name} is lost, but no response of it was.")
        for row in rows:
            row.queued = sum(name in row.names and row.begun <= at < row.ended for name, at in queued)
            row.recovery = recovered.seconds if row.ended == rows[-1].ended else 0.0
            unreadable = [name for name in recovered.unreadable if _find_row(name, rows) is row]
            if len(unreadable) != (len(row.names) if row.unreadable else 0):
                self.failures.append(f"{row.fault}: {len(unreadable)} unreadable responses are kept.")
        self.failures += [f"{_find_row(name, rows).fault}: {text}" for name, text in recovered.failures.items()]
        self.rows += rows

    def finish(self, probes: Mapping[str, Sequence[float]]) -> None:
        """Add the failures of the whole run; ``probes`` are those made due (see :class:`.WaitShortener`)."""
        for ledger in self.read_ledgers().values():
            self.failures += ledger.find_reuses(probes)

    def count_kills_by_step(self) -> dict[str, int]:
        """Count the kills by the last step of the rotation that was seen."""
        found = Counter(step for kill in self.kills if (step := self._find_killed_step(kill)[1]))
        return {step: found[step] for step in STEPS}

    def may_be_held(self, record: Connection) -> bool | None:
        """Whether a worker or a message may hold the response of an attempt in doubt after its lease. None: not known.

        Only a message can, if the response never reached a worker or the worker was killed.
        """
        token, marked_at = self.observer.fingerprint_refresh_token(record), float(record.attempt_at or 0)
        if any(call.queued == record.generation for _, call in self._list_calls(record.name, since=marked_at)):
            return True  # until the save, which ends the doubt
        asked = [
            exchange
            for exchange in self._list_exchanges_since(
                self.testbed.find_party(record.name).proxy.exchanges, since=marked_at
            )
            if get_presented_token(exchange.request) == token
        ]
        if all(exchange.fault is not None for exchange in asked):
            return False  # or no request was sent; after its lease a worker sends none
        return False if self._was_worker_killed(record.name, time.time()) else None

    # --- inside ---

    def _wait_for_saves(self, rows: list[Row]) -> None:
        """Wait for the saves of responses that had just arrived at the last poll: rotations never pause."""
        ends = time.monotonic() + _MAX_SAVE_SECONDS
        while time.monotonic() < ends:
            unsaved = [commit for ledger in self.read_ledgers().values() for commit in ledger.find_unrecovered()]
            if not any(row.covers(commit) and not self._was_cut_off(commit) for row in rows for commit in unsaved):
                return
            time.sleep(_POLL_SECONDS)
            for record in self.observer.read_records().values():
                self.observer.fingerprint_refresh_token(record)

    def _find_saves(self) -> dict[str, list[tuple[float, float]]]:
        saves: dict[str, list[tuple[float, float]]] = {}
        for exchange in self.testbed.proxy.exchanges:
            if exchange.status == 200 and exchange.answered_at is not None and _may_save(exchange):
                call = parse_call(exchange.request)
                if call.step == "save" and call.connection is not None:
                    saves.setdefault(call.connection, []).append((exchange.request.at, exchange.answered_at))
        return saves

    def _was_cut_off(self, commit: Commit) -> bool:
        """Whether a response could not be saved: cut off on the way, or its worker was killed."""
        if commit.connection not in self.testbed.names:
            return False
        exchanges = self.testbed.find_party(commit.connection).proxy.exchanges
        for exchange in self._list_exchanges_since(exchanges, since=commit.at - _MAX_INVOCATION_SECONDS):
            if exchange.fault is not None and get_presented_token(exchange.request) == commit.presented:
                answered = exchange.answered_at or 0.0
                if exchange.request.at <= commit.at <= answered:
                    return True
        return self._was_worker_killed(commit.connection, commit.at) or any(
            -_MAX_TRANSIT_SECONDS <= kill.at - commit.at <= _MAX_INVOCATION_SECONDS
            and self._find_killed_step(kill)[0] == commit.connection
            for kill in self.kills
        )

    def _was_worker_killed(self, name: str, before: float) -> bool:
        """Whether the worker that wrote the last attempt marker of a connection was killed, perhaps within a batch."""
        calls = self._list_calls(name, since=before - _MAX_INVOCATION_SECONDS)
        marks = [exchange for exchange, call in calls if call.step == "mark" and exchange.request.at <= before]
        if not marks:
            return False
        marked = marks[-1].request
        return any(
            marked.peer in kill.ports and marked.at <= kill.at <= marked.at + _MAX_INVOCATION_SECONDS
            for kill in self.kills
        )

    def _list_calls(self, name: str, since: float) -> list[tuple[Exchange, Call]]:
        """List the calls of AWS for a connection that took effect, oldest first."""
        found = (
            (exchange, parse_call(exchange.request))
            for exchange in self._list_exchanges_since(self.testbed.proxy.exchanges, since)
        )
        return [(exchange, call) for exchange, call in found if call.connection == name and exchange.status == 200]

    @staticmethod
    def _list_exchanges_since(exchanges: list[Exchange], since: float) -> list[Exchange]:
        """List the exchanges since a time (epoch seconds), oldest first; they are kept roughly in that order."""
        found = []
        for number in range(len(exchanges) - 1, -1, -1):
            if exchanges[number].request.at < since - _MAX_TRANSIT_SECONDS:
                break
            found.append(exchanges[number])
        return found[::-1]

    def _find_queued_saves(self) -> Iterator[tuple[str, float]]:
        """Yield each queued save that the table took later: its connection, and when it was queued."""
        waiting: dict[tuple[str, str], float] = {}
        for exchange in tuple(self.testbed.proxy.exchanges):
            if exchange.status != 200 or not _may_save(exchange):
                continue
            call = parse_call(exchange.request)
            if call.connection is None or call.step != "save":
                continue
            sealed = call.connection, self._get_sealed_text(exchange)
            if call.queued is not None:
                waiting.setdefault(sealed, exchange.request.at)
            elif sealed in waiting:
                yield call.connection, waiting.pop(sealed)

    def _get_sealed_text(self, exchange: Exchange) -> str:
        """Return the ciphertext (base64) of the token set in a save to the table or to the queue."""
        asked: Any = json.loads(exchange.request.body)
        if "MessageBody" in asked:
            message = json.loads(asked["MessageBody"])
            name, generation = message["connection"], message["generation"]
            plain = self.observer.unseal(Sealed.decode(message["change"]), name, generation + 1)
            sealed = decode_change(plain, name, generation).change.fields.get("sealed")
            return sealed.encode()["text"] if sealed else ""
        maps = (value["M"] for value in asked["ExpressionAttributeValues"].values() if "M" in value)
        return str(next((sealed["text"]["B"] for sealed in maps if "text" in sealed), None))

    def _find_killed_step(self, kill: Kill) -> tuple[str | None, str | None]:
        """Return the connection and the last step seen of a killed process."""
        if kill in self._worked_on:
            return self._worked_on[kill]
        name, step, asked_at = None, None, 0.0
        for exchange in self.testbed.proxy.exchanges:
            if (
                exchange.request.peer in kill.ports
                and kill.at - _MAX_INVOCATION_SECONDS < exchange.request.at <= kill.at
            ):
                call = parse_call(exchange.request)
                if call.connection is not None and call.step is not None:
                    name, step, asked_at = call.connection, call.step, exchange.request.at
        if name is not None and step == "mark" and self._was_sent(name, asked_at, kill.at):
            step = "send"
        self._worked_on[kill] = name, step
        return name, step

    def _was_sent(self, name: str, after: float, before: float) -> bool:
        """Whether the provider got a refresh request for a connection in that time."""
        party = self.testbed.find_party(name)
        return any(
            after <= exchange.request.at <= before
            and self.observer.stored.get(get_presented_token(exchange.request) or "") == name
            for exchange in party.proxy.exchanges
        )


def _find_row(name: str, rows: list[Row]) -> Row:
    """Return the row of a connection: the one with the fewest connections."""
    return min((row for row in rows if name in row.names), key=lambda row: len(row.names), default=rows[-1])


def _may_save(exchange: Exchange) -> bool:
    """Whether a request may be a save: to the table, or to the queue, where the whole change is sealed."""
    return b"sealed" in exchange.request.body or b"change" in exchange.request.body
