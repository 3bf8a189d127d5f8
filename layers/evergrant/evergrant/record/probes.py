"""Probes: which connections are let through an open circuit, and when. Pure; times are epoch seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..times import HOUR_SECONDS
from .circuit import Circuit, CircuitChanges

#: Between two probes at least, however urgent.
MIN_INTERVAL_SECONDS = 15
#: Behind a front end that refuses (403) or counts requests (429).
_PATIENT_INTERVAL_SECONDS, _PATIENT_STATUSES = 60, frozenset({403, 429})
#: Of an endpoint that has been down for longer than an hour.
_LONG_OUTAGE_INTERVAL_SECONDS = 300
#: So many refused probes of a client, and so many where its entry had changed: some servers burn a refresh token that
#: comes with a wrong secret. From then on a probe every quarter of an hour, and one before the first token expires.
_MAX_QUICK_PROBES, _MAX_QUICK_PROBES_OF_A_CHANGED_ENTRY = 10, 2
_REFUSED_CLIENT_INTERVAL_SECONDS, _URGENT_SECONDS = 900, 300
#: A held connection that has not failed itself is let through when its token is this close to its end.
_LAST_CHANCE_SECONDS = 60


class Held(Protocol):
    """What the due index shows of a connection that is held back."""

    @property
    def name(self) -> str: ...
    @property
    def due_at(self) -> int: ...
    @property
    def expires_at(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A connection that is held back. ``is_harmless`` says that nothing is gained by sparing its refresh token."""

    held: Held
    is_harmless: bool = False

    def has_expired(self, at: int) -> bool:
        return self.held.expires_at is None or self.held.expires_at <= at

    @property
    def order(self) -> tuple[int, str]:
        """The first to expire comes first."""
        return (self.held.expires_at or 0), self.held.name


def compute_interval(circuit: Circuit, now: int) -> int:
    """Return the seconds between two probes."""
    if circuit.is_client:
        most = _MAX_QUICK_PROBES_OF_A_CHANGED_ENTRY if circuit.has_changed else _MAX_QUICK_PROBES
        return MIN_INTERVAL_SECONDS if circuit.probes < most else _REFUSED_CLIENT_INTERVAL_SECONDS
    if now - (circuit.opened_at or now) >= HOUR_SECONDS:
        return _LONG_OUTAGE_INTERVAL_SECONDS
    return _PATIENT_INTERVAL_SECONDS if circuit.http_status in _PATIENT_STATUSES else MIN_INTERVAL_SECONDS


def compute_next_probe_at(circuit: Circuit, now: int) -> int:
    """Return when the next probe may go: Retry-After comes first."""
    return max((circuit.probed_at or 0) + compute_interval(circuit, now), circuit.retry_at or 0)


def plan_probes(
    circuit: Circuit, candidates: Sequence[Candidate], now: int, until: int
) -> tuple[list[tuple[Candidate, int]], CircuitChanges]:
    """Plan the probes from now to ``until`` (exclusive), each with its moment, and what that changes in the circuit.

    Of an endpoint they go round among the connections whose token has expired or whose refresh token cannot be used
    up; else one waits until its token is about to expire. Of a client, the connection that expires first and was not
    refused itself is let through.
    """
    planned: list[tuple[Candidate, int]] = []
    changes: CircuitChanges = {}
    waiting = list(candidates)
    if circuit.is_client:
        innocent = [candidate for candidate in waiting if candidate.held.name not in circuit.failures]
        waiting = innocent or waiting  # without one, those that were refused come at the times of their own records
    next_at = compute_next_probe_at(circuit, now)
    at = max(now, (circuit.probed_at or 0) + MIN_INTERVAL_SECONDS)
    while at < until:
        is_due = at >= next_at
        left = [candidate for candidate in waiting if candidate.held.due_at <= at]
        chosen = _choose_of_client(circuit, left, at, changes, is_due=is_due) if circuit.is_client else None
        chosen = chosen if circuit.is_client else _choose_of_endpoint(circuit, left, at, is_due=is_due)
        if chosen:
            waiting.remove(chosen)
            planned.append((chosen, at))
            changes["probed_at"] = at
            after = replace(circuit, probes=circuit.probes + len(planned))  # should all of them be refused
            next_at = max(next_at, at + compute_interval(after, at)) if is_due else next_at
        at += MIN_INTERVAL_SECONDS
    return planned, changes


def _choose_of_endpoint(circuit: Circuit, left: Sequence[Candidate], at: int, *, is_due: bool) -> Candidate | None:
    last_chance = [
        candidate
        for candidate in left
        if candidate.held.name not in circuit.failures
        and candidate.held.expires_at is not None
        and at < candidate.held.expires_at <= at + _LAST_CHANCE_SECONDS
    ]
    if last_chance:
        return min(last_chance, key=lambda candidate: candidate.order)
    round_robin = [candidate for candidate in left if is_due and (candidate.is_harmless or candidate.has_expired(at))]
    # A probe that fails makes its connection due anew, behind the others.
    return min(round_robin, key=lambda candidate: (candidate.held.due_at, candidate.held.name), default=None)


def _choose_of_client(
    circuit: Circuit, left: Sequence[Candidate], at: int, changes: CircuitChanges, *, is_due: bool
) -> Candidate | None:
    chosen = min(left, key=lambda candidate: candidate.order, default=None)
    if chosen is None or is_due or chosen.held.name in circuit.failures:
        return chosen
    ends_at = chosen.held.expires_at
    is_urgent = ends_at is not None and ends_at - _URGENT_SECONDS <= at < ends_at
    if not is_urgent or circuit.urgent_at is not None or "urgent_at" in changes:
        return None
    changes["urgent_at"] = at
    return chosen
