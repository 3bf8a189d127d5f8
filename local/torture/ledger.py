"""What a provider's own log says of each connection: rotations, answers that were lost, tokens shown twice. Pure.

A *commit* is a refresh that the provider acted upon. Its answer is *lost* if the refresh token in it was never stored;
a stored one shows in the record, or in the next refresh.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Presentation:
    """One request at a token endpoint. Tokens are fingerprints; ``presented`` is None for a code's exchange."""

    at: float
    presented: str | None
    issued: str | None

    @property
    def committed(self) -> bool:
        return self.presented is not None and self.issued is not None


@dataclass(frozen=True)
class Commit:
    """A refresh that the provider acted upon."""

    connection: str
    at: float
    presented: str
    issued: str


def read_log(requests: Iterable[Mapping[str, Any]]) -> list[Presentation]:
    """The provider's log, oldest first."""
    return [
        Presentation(
            float(request["at"]),
            ((request["fields"] or {}).get("refresh_token") or {}).get("fingerprint"),
            request["issued"].get("refresh_token"),
        )
        for request in requests
    ]


@dataclass
class Ledger:
    """One provider's log, read.

    Parameters
    ----------
    grace
        Seconds for which the provider takes a spent refresh token again.
    stored
        Every refresh token that was ever seen in a record, with its connection.
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
        # A connection's chain of tokens has the name of whoever stored any of them.
        self._names = {self._roots[token]: name for token, name in self.stored.items() if token in self._roots}

    def connection_of(self, token: str) -> str | None:
        """Whose chain a refresh token belongs to."""
        return self._names.get(self._roots.get(token, ""))

    def commits(self) -> list[Commit]:
        """Every rotation, oldest first."""
        return [
            Commit(self.connection_of(entry.presented) or "?", entry.at, entry.presented, entry.issued)
            for entry in self.log
            if entry.presented is not None and entry.issued is not None
        ]

    def lost_answers(self) -> list[Commit]:
        """Commits whose refresh token was never stored."""
        shown = {entry.presented for entry in self.log}
        return [commit for commit in self.commits() if commit.issued not in shown and commit.issued not in self.stored]

    def unanswered(self) -> list[Commit]:
        """Lost answers that no other answer for the same refresh token made up for, as one within the grace does."""
        lost = {commit.issued: commit for commit in self.lost_answers()}
        made_up_for = {commit.presented for commit in self.commits() if commit.issued not in lost}
        return [commit for commit in lost.values() if commit.presented not in made_up_for]

    def later_uses(self) -> dict[str, list[Presentation]]:
        """By refresh token: where it was presented again after the provider's grace, counted from its first commit."""
        spent_at: dict[str, float] = {}
        later: dict[str, list[Presentation]] = defaultdict(list)
        for entry in self.log:
            if entry.presented is None:
                continue
            if entry.presented in spent_at and entry.at > spent_at[entry.presented] + self.grace:
                later[entry.presented].append(entry)
            if entry.committed:
                spent_at.setdefault(entry.presented, entry.at)
        return dict(later)

    def reuses(self) -> list[str]:
        """What Evergrant must never do, in words: show a refresh token again although its answer was saved, or again
        and again outside the grace."""
        answers: dict[str, list[str]] = defaultdict(list)
        for commit in self.commits():
            answers[commit.presented].append(commit.issued)
        lost = {commit.issued for commit in self.lost_answers()}
        found = []
        for token, uses in self.later_uses().items():
            name = self.connection_of(token) or "?"
            if len(uses) > 1:
                found.append(f"{name}: a spent refresh token was presented {len(uses)} times after the grace.")
            if not set(answers[token]) <= lost:
                found.append(f"{name}: a refresh token was presented again although its answer had been saved.")
        return found


def windows(commits: Iterable[Commit], saves: Mapping[str, list[tuple[float, float]]]) -> list[tuple[Commit, float]]:
    """How long each answer stood between the provider's commit and its save, in seconds.

    Parameters
    ----------
    saves
        By connection, when each save was sent and when it had taken effect, in that order.
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
