"""What is seen of the connections while the demo runs, and whether it is what was promised.

The simulated providers are asked, not Evergrant: they know which tokens they issued, rotated, accepted and refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from local.providers import ProviderServer

LATEST_REFRESH = 0.8
"""By what share of its life a token must have been refreshed, for the schedule to have done it: a consumer asks
getter for another token only when its own has fifteen seconds left, the share of which is less."""


@dataclass
class Connection:
    """One connection under observation."""

    name: str
    server: ProviderServer
    headers: dict[str, str]
    """What its API wants with every call, besides the token."""
    issues_refresh_tokens: bool
    calls: int = 0
    failed: int = 0
    reasons: set[str] = field(default_factory=set)

    @property
    def api_url(self) -> str:
        """The protected API that a consumer calls."""
        return str(self.server.urls()["api_url"])

    @property
    def rotations(self) -> int:
        """Token sets that the provider issued after the first."""
        outcomes: dict[str, dict[str, int]] = self._stats()["token_requests"]["by_outcome"]
        phase = "refresh_token" if self.issues_refresh_tokens else "client_credentials"
        return max(outcomes.get(phase, {}).get("ok", 0) - (0 if self.issues_refresh_tokens else 1), 0)

    @property
    def longest_interval(self) -> float:
        """The longest time, in seconds, from one token to the next."""
        issued = [float(str(request["at"])) for request in self.server.provider.requests() if not request["error"]]
        return max((later - earlier for earlier, later in pairwise(issued)), default=0.0)

    @property
    def reuses(self) -> int:
        """How often a refresh token was used that had been rotated away: always a mistake."""
        return int(self._stats()["refresh_reuse"])

    @property
    def accepted(self) -> int:
        """Calls that the provider's API answered with 200."""
        return int(self._stats()["api"]["ok"])

    @property
    def lifetime(self) -> int:
        """Seconds for which the provider's access tokens live."""
        return int(str(self.server.provider.settings()["access_token_lifetime"]))

    @property
    def oldest(self) -> float:
        """The age, in seconds, of the oldest token that came with a call."""
        return float(self._stats()["api"]["oldest_accepted_token_age"])

    def replay(self) -> tuple[int, int]:
        """Replay every refresh token that was rotated away: how many there were, how many were refused."""
        result = self.server.provider.replay_all()
        return int(str(result["replayed"])), int(str(result["refused"]))

    def _stats(self) -> dict[str, Any]:
        return self.server.provider.stats()


@dataclass
class Observation:
    """All connections under observation."""

    connections: list[Connection]

    def rotated(self, times: int) -> bool:
        """Whether every connection has been rotated so often."""
        return all(connection.rotations >= times for connection in self.connections)

    def failures(self, rotations: int) -> list[str]:
        """Everything that is not as promised."""
        found = []
        for connection in self.connections:
            replayed, refused = connection.replay()
            if connection.rotations < rotations:
                found.append(f"{connection.name} was rotated {connection.rotations} times, not {rotations}.")
            if connection.issues_refresh_tokens and replayed != connection.rotations:
                found.append(
                    f"{connection.name}: {replayed} refresh tokens superseded in {connection.rotations} rotations."
                )
            if refused != replayed:
                found.append(
                    f"{connection.name}: {replayed - refused} of {replayed} replayed refresh tokens were accepted."
                )
            if connection.reuses:
                found.append(f"{connection.name}: a spent refresh token was used {connection.reuses} times.")
            if connection.longest_interval > connection.lifetime * LATEST_REFRESH:
                found.append(
                    f"{connection.name}: the schedule let a token get {connection.longest_interval:.0f} s old."
                )
            if connection.failed:
                reasons = "; ".join(sorted(connection.reasons))
                found.append(f"{connection.name}: {connection.failed} of {connection.calls} calls failed: {reasons}")
            if not connection.calls or connection.accepted < connection.calls - connection.failed:
                found.append(
                    f"{connection.name}: {connection.calls} calls made, {connection.accepted} seen by the API."
                )
        return found

    def table(self, *, final: bool) -> Table:
        """What was seen so far; with ``final``, the replay of the refresh tokens too."""
        table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("connection", no_wrap=True)
        for heading in ("rotations", "replays\nrefused", "consumer\ncalls", "failed", "oldest token\nserved"):
            if final or "replays" not in heading:
                table.add_column(heading, justify="right")
        for connection in self.connections:
            cells = [connection.name, str(connection.rotations)]
            if final:
                replayed, refused = connection.replay()
                good = "green" if refused == replayed else "red"
                cells.append(
                    f"[{good}]{refused} of {replayed}[/]" if connection.issues_refresh_tokens else "none issued"
                )
            good = "green" if connection.failed == 0 else "red"
            cells += [
                str(connection.calls),
                f"[{good}]{connection.failed}[/]",
                f"{connection.oldest:.0f} s of {connection.lifetime} s",
            ]
            table.add_row(*cells)
        return table
