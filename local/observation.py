"""Observations of the connections during the demo, and the failures among them.

They come from the simulated providers and not from Evergrant: the providers know which tokens they issued, rotated,
accepted and refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from local.connections import Connection
from local.providers import ProviderServer

MAX_AGE_SHARE = 0.8
"""The share of its lifetime by which the schedule refreshes a token. A consumer asks getter for a new token only later,
when fifteen seconds are left."""


@dataclass
class Observed:
    """One connection under observation, the only one of its grant at its provider."""

    connection: Connection
    server: ProviderServer
    read_from: str = ""
    """Where consumers read its token."""
    calls: int = 0
    failed: int = 0
    reasons: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.connection.name

    @property
    def rotations(self) -> int:
        """Token sets that the provider issued after the first."""
        return max(len(self._list_issue_times()) - 1, 0)

    @property
    def longest_interval(self) -> float:
        """The longest time, in seconds, from one token to the next."""
        return max((later - earlier for earlier, later in pairwise(self._list_issue_times())), default=0.0)

    @property
    def reuses(self) -> int:
        """How often a refresh token was used after its rotation: always a failure."""
        return int(str(self.server.provider.stats()["refresh_reuse"]))

    @property
    def log_ins(self) -> int:
        """How often Evergrant logged in, the first time included."""
        return len(self._list_grants()) if self.connection.grant == "login" else 0

    @property
    def accepted(self) -> int:
        """Calls that the provider's API answered with 200."""
        return sum(int(grant["accepted_calls"]) for grant in self._list_grants())

    @property
    def lifetime(self) -> int:
        """Seconds for which the provider's access tokens live."""
        return int(str(self.server.provider.settings()["access_token_lifetime"]))

    @property
    def oldest(self) -> float:
        """The age, in seconds, of the oldest token that came with a call."""
        return max((float(grant["oldest_accepted_token_age"]) for grant in self._list_grants()), default=0.0)

    def replay(self) -> tuple[int, int]:
        """Replay every rotated refresh token; return how many there were, and how many were refused."""
        ours = {grant["grant"] for grant in self._list_grants()}
        results: Any = self.server.provider.replay_all()["results"]
        refused = [result["refused"] for result in results if result["grant"] in ours]
        return len(refused), sum(refused)

    def _list_issue_times(self) -> list[float]:
        return sorted(at for grant in self._list_grants() for at in grant["issued_at"])

    def _list_grants(self) -> list[dict[str, Any]]:
        return [grant for grant in self.server.provider.grants() if grant["obtained_by"] == self.connection.grant]


@dataclass
class Observation:
    """All connections under observation."""

    observed: list[Observed]

    @property
    def calls(self) -> int:
        return sum(seen.calls for seen in self.observed)

    @property
    def failed(self) -> int:
        return sum(seen.failed for seen in self.observed)

    def count_rotations(self, times: int) -> int:
        """Count the rotations, at most ``times`` for each connection."""
        return sum(min(seen.rotations, times) for seen in self.observed)

    def has_rotated(self, times: int) -> bool:
        """Whether every connection has been rotated this many times."""
        return self.count_rotations(times) == times * len(self.observed)

    def find_failures(self, rotations: int) -> list[str]:
        """Describe every broken promise."""
        return [f"{seen.name}{failure}" for seen in self.observed for failure in _find_failures(seen, rotations)]

    def build_table(self, *, final: bool) -> Table:
        """Build the table so far; with ``final``, with the source of the token and the replays."""
        table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("connection", no_wrap=True)
        for heading in ("rotations", "replays\nrefused", "calls", "failed"):
            if final or "replays" not in heading:
                table.add_column(heading, justify="right", no_wrap=True)
        if final:
            table.add_column("read from", no_wrap=True)
        for seen in self.observed:
            good = "green" if seen.failed == 0 else "red"
            cells = [seen.name, str(seen.rotations), str(seen.calls), f"[{good}]{seen.failed}[/]"]
            if final:
                cells.insert(2, _format_replays(seen))
                cells.append(seen.read_from)
            table.add_row(*cells)
        return table


def _format_replays(seen: Observed) -> str:
    replayed, refused = seen.replay()
    if not replayed:
        return "[dim]none[/]"
    return f"[{'green' if refused == replayed else 'red'}]{refused} of {replayed}[/]"


def _find_failures(seen: Observed, rotations: int) -> Iterator[str]:
    replayed, refused = seen.replay()
    if seen.rotations < rotations:
        yield f" was rotated {seen.rotations} times, not {rotations}."
    if seen.connection.needs_a_person and replayed != seen.rotations:
        yield f": {replayed} refresh tokens superseded in {seen.rotations} rotations."
    if refused != replayed:
        yield f": {replayed - refused} of {replayed} replayed refresh tokens were accepted."
    if seen.reuses:
        yield f": a rotated refresh token was used {seen.reuses} times."
    if seen.log_ins == 1:
        yield ": its log-in never expired, so that no second log-in was seen."
    if seen.longest_interval > seen.lifetime * MAX_AGE_SHARE:
        yield f": the schedule refreshed a token only after {seen.longest_interval:.0f} s."
    if seen.failed:
        yield f": {seen.failed} of {seen.calls} calls failed: {'; '.join(sorted(seen.reasons))}"
    if not seen.calls or seen.accepted < seen.calls - seen.failed:
        yield f": {seen.calls} calls made, {seen.accepted} seen by the API."
