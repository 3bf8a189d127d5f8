"""A provider's log by connection: rotations, lost responses, and refresh tokens that were sent twice. Pure.

A *commit* is a refresh that the provider acted on. Its response is *lost* if the refresh token in it was never stored.
A stored token is seen in the record, or in the next refresh.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Any


@dataclass(frozen=True)
class Presentation:
    """One request at a token endpoint. Tokens are fingerprints; ``presented`` is None for the exchange of a code.

    ``lifetime`` is that of the access token that was issued, in seconds.
    """

    at: float
    presented: str | None
    issued: str | None
    lifetime: float = inf

    @property
    def committed(self) -> bool:
        return self.presented is not None and self.issued is not None


@dataclass(frozen=True)
class Commit:
    """A refresh that the provider acted on."""

    connection: str
    at: float
    presented: str
    issued: str


def parse_log(requests: Iterable[Mapping[str, Any]]) -> list[Presentation]:
    """Parse the provider's log, oldest first."""
    return [
        Presentation(
            float(request["at"]),
            ((request["fields"] or {}).get("refresh_token") or {}).get("fingerprint"),
            request["issued"].get("refresh_token"),
            float(inf if request["expires_in"] is None else request["expires_in"]),
        )
        for request in requests
    ]


@dataclass
class Ledger:
    """One provider's log, with the questions that the checks ask of it.

    Parameters
    ----------
    grace
        Seconds for which the provider accepts a used refresh token again.
    stored
        Fingerprint of every refresh token seen in a record, to its connection.
    """

    log: list[Presentation]
    grace: float
    stored: Mapping[str, str]
    _roots: dict[str, str] = field(init=False)
    _names: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._roots = {}
        for entry in self.log:
            if entry.issued is not None:
                root = entry.issued if entry.presented is None else self._roots.get(entry.presented, entry.presented)
                self._roots.setdefault(entry.issued, root)
        # A chain of tokens belongs to the connection that stored any of them.
        self._names = {self._roots[token]: name for token, name in self.stored.items() if token in self._roots}

    def find_connection(self, token: str) -> str | None:
        """Return the connection of a refresh token's chain."""
        return self._names.get(self._roots.get(token, ""))

    def list_commits(self) -> list[Commit]:
        """List every rotation, oldest first."""
        return [
            Commit(self.find_connection(entry.presented) or "?", entry.at, entry.presented, entry.issued)
            for entry in self.log
            if entry.presented is not None and entry.issued is not None
        ]

    def find_lost_responses(self) -> list[Commit]:
        """List the commits whose refresh token was never stored."""
        presented = {entry.presented for entry in self.log}
        return [
            commit
            for commit in self.list_commits()
            if commit.issued not in presented and commit.issued not in self.stored
        ]

    def find_unrecovered(self) -> list[Commit]:
        """List the lost responses that no replay within the grace has replaced."""
        lost = {commit.issued: commit for commit in self.find_lost_responses()}
        replaced = {commit.presented for commit in self.list_commits() if commit.issued not in lost}
        return [commit for commit in lost.values() if commit.presented not in replaced]

    def find_late_uses(self) -> dict[str, list[Presentation]]:
        """List, by refresh token, its uses after the provider's grace, which begins with its first commit."""
        used_at: dict[str, float] = {}
        later: dict[str, list[Presentation]] = defaultdict(list)
        for entry in self.log:
            if entry.presented is None:
                continue
            if entry.presented in used_at and entry.at > used_at[entry.presented] + self.grace:
                later[entry.presented].append(entry)
            if entry.committed:
                used_at.setdefault(entry.presented, entry.at)
        return dict(later)

    def find_reuses(self, probes: Mapping[str, Sequence[float]] | None = None) -> list[str]:
        """Describe each forbidden reuse: of a token whose response was saved, or a second one outside the grace.

        Once the access token that came with it has expired, nothing is left to lose.

        Parameters
        ----------
        probes
            By refresh token: the times at which a probe with it was made due. A probe follows a replay whose response
            was lost too. Between any two uses a probe must have been made due.
        """
        issued: dict[str, list[str]] = defaultdict(list)
        for commit in self.list_commits():
            issued[commit.presented].append(commit.issued)
        lost = {commit.issued for commit in self.find_lost_responses()}
        expiries = {entry.issued: entry.at + entry.lifetime for entry in self.log}
        found = []
        for token, uses in self.find_late_uses().items():
            name = self.find_connection(token) or "?"
            made_due = (probes or {}).get(token, ())
            if any(
                not any(before.at < at <= use.at for at in made_due) and use.at < expiries.get(token, inf)
                for before, use in pairwise(uses)
            ):
                found.append(f"{name}: a used refresh token was sent {len(uses)} times after the grace.")
            if not set(issued[token]) <= lost:
                found.append(f"{name}: a refresh token was sent again although its response had been saved.")
        return found


def measure_windows(
    commits: Iterable[Commit], saves: Mapping[str, list[tuple[float, float]]]
) -> list[tuple[Commit, float]]:
    """Measure, for each commit that was saved, the seconds from the commit to the save.

    Parameters
    ----------
    saves
        By connection: for each save, the time of the request and of the response.
    """
    by_connection: dict[str, list[Commit]] = defaultdict(list)
    for commit in commits:
        by_connection[commit.connection].append(commit)
    found = []
    for name, made in by_connection.items():
        times = [commit.at for commit in made]
        taken: set[int] = set()
        for sent_at, done_at in saves.get(name, []):
            last = bisect_left(times, sent_at) - 1
            if last >= 0 and last not in taken:
                taken.add(last)
                found.append((made[last], done_at - made[last].at))
    return found
