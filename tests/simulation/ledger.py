"""What a run has seen: requests and answers, token sets, gaps without a valid token, events, and who was asked."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from evergrant.record.alerts import is_alert
from evergrant.record.status import EventType
from tests.simulation.scripts import Known, Truth

#: The last events of a connection, for the report of a violation.
_REMEMBERED_EVENTS = 40


@dataclass(eq=False)
class Sending:
    """One request to a provider.

    ``is_through_endpoint`` says that the endpoint's circuit was open, ``is_repeated`` that an attempt sends it once
    more. ``truth`` is that of the trouble that it met; ``wait`` is what Retry-After said, ``access_token`` what the
    server issued.
    """

    at: float
    endpoint: str
    provider: str
    connection: str
    token: str | None
    forced: bool
    is_through_endpoint: bool = False
    is_repeated: bool = False
    known: Known | None = None
    answered_at: float = inf
    truth: Truth | None = None
    status: int = 0
    wait: float = 0.0
    access_token: str = ""


@dataclass
class Track:
    """What is known of one connection."""

    connection: str
    provider: str
    #: When the token in the record stops working at the provider.
    valid_until: float = -inf
    #: From when on gaps count: the connection's first token.
    began_at: float = inf
    #: When it was without a valid token, from and to.
    gaps: list[tuple[float, float]] = field(default_factory=list)
    #: The requests with each of the last refresh tokens.
    sendings: dict[str, list[Sending]] = field(default_factory=dict)
    last_answer: Sending | None = None
    requests: int = 0
    refreshes: int = 0
    #: Access tokens that arrived whole and are not in the record yet, with when they arrived.
    received: dict[str, float] = field(default_factory=dict)
    #: Since when it has had its status.
    status_at: float = 0.0
    asked_at: list[float] = field(default_factory=list)
    alerts: list[tuple[float, str]] = field(default_factory=list)
    log: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_EVENTS))

    def gaps_until(self, now: float) -> list[tuple[float, float]]:
        """Return the gaps, the one that is not over yet too."""
        if self.began_at < inf and self.valid_until < now:
            return [*self.gaps, (max(self.valid_until, self.began_at), now)]
        return self.gaps

    def seconds_without(self, now: float, start: float = -inf, end: float = inf) -> float:
        """Return for how many seconds it was without a valid token between two times."""
        overlaps = (min(end, to) - max(start, since) for since, to in self.gaps_until(now))
        return sum(overlap for overlap in overlaps if overlap > 0)

    def valid_from(self, at: float, now: float) -> float:
        """Return the first time from ``at`` on at which it has a valid token; infinity where there is none yet."""
        for since, to in self.gaps_until(now):
            if since <= at < to:
                return inf if to == now and self.valid_until < now else to
        return at

    def saved(self, now: float, access_token: str, valid_until: float) -> None:
        """A token set is in the record."""
        if self.began_at == inf:
            self.began_at = now
        elif self.valid_until < now:
            began_at = max(self.valid_until, self.gaps[-1][1]) if self.gaps else self.valid_until
            self.gaps.append((began_at, now))
        self.valid_until = valid_until
        self.refreshes += 1
        if access_token in self.received:
            self.received.clear()  # with those before, which are of no use any more

    def withdrawn(self, now: float) -> None:
        """The token in the record has stopped working."""
        self.valid_until = min(self.valid_until, now)

    def sent(self, sending: Sending) -> None:
        self.requests += 1
        if sending.token is not None:
            self.sendings.setdefault(sending.token, []).append(sending)
            if len(self.sendings) > 3:
                del self.sendings[next(iter(self.sendings))]


@dataclass
class Endpoint:
    """The requests to one token endpoint. ``recent`` are the times of the last ones."""

    url: str
    requests: int = 0
    by_minute: Counter[int] = field(default_factory=Counter)
    recent: deque[Sending] = field(default_factory=lambda: deque(maxlen=5000))

    def sent(self, sending: Sending) -> None:
        self.requests += 1
        self.by_minute[int(sending.at // 60)] += 1
        self.recent.append(sending)

    def between(self, start: float, end: float) -> list[Sending]:
        return [sending for sending in self.recent if start <= sending.at < end]


@dataclass
class Ledger:
    """All that a run has seen."""

    tracks: dict[str, Track] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    #: Every event that was delivered, without those of plain refreshes: when, what, and its detail.
    events: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    rotations: int = 0

    def endpoint(self, url: str) -> Endpoint:
        known = self.endpoints.get(url)
        if known is None:
            known = self.endpoints[url] = Endpoint(url)
        return known

    def note(self, now: float, connection: str, text: str) -> None:
        self.tracks[connection].log.append((now, text))

    def delivered(self, now: float, events: Iterable[Any]) -> None:
        """Events came onto the bus."""
        for event in events:
            if event["type"] == EventType.ROTATED:
                self.rotations += 1
                continue
            kind, detail = str(event["type"]), dict(event["detail"])
            self.events.append((now, kind, detail))
            track = self.tracks.get(detail.get("connection", ""))
            if track is None:
                continue
            if is_alert(event) and kind != EventType.RECOVERED:
                track.alerts.append((now, kind))
            if kind == EventType.AUTHORIZATION_REQUIRED:
                track.asked_at.append(now)
            track.log.append((now, f"event: {kind} ({detail.get('reason', '')})"))

    @property
    def asked(self) -> list[str]:
        """The connections whose owners were asked to authorize again."""
        return [name for name, track in self.tracks.items() if track.asked_at]

    def alerts(self, *kinds: str) -> list[tuple[float, str, dict[str, Any]]]:
        """The alerts, of some kinds or all."""
        return [
            event
            for event in self.events
            if is_alert({"type": event[1], "detail": event[2]})
            and event[1] != EventType.RECOVERED
            and (not kinds or event[1] in kinds)
        ]
