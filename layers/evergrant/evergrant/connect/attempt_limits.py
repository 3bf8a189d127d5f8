"""Limit how often a link may be tried, and all links of a connection in a day.

Each attempt may send the client's secret to the provider, and a page of a malicious one can repeat attempts by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import Conflict, TemporarilyUnavailable
from ..link_errors import LinkInvalid, TooManyAttempts
from ..ports import Authorizations, Clock
from .links import RETENTION_SECONDS

#: Authorizations that are started, and codes that are exchanged. Ten times: a person may say no, or use the wrong
#: account. Each exchange is a token request (with two client secrets, at most two).
Attempt = Literal["starts", "exchanges"]
MAX_PER_LINK: Mapping[Attempt, int] = {"starts": 10, "exchanges": 5}
#: In one day of UTC.
MAX_PER_CONNECTION: Mapping[Attempt, int] = {"starts": 50, "exchanges": 20}

_DAY_SECONDS = 86_400
#: Others count at the same time only where a browser sends requests side by side.
_TRIES = 10


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """Counts attempts in the authorizations table. Every count is one conditional write."""

    authorizations: Authorizations
    clock: Clock

    def count(self, ticket: str, connection: str, attempt: Attempt) -> None:
        """Count an attempt of the link whose ticket is stored under ``ticket``, and of its connection.

        Raises
        ------
        TooManyAttempts
        """
        day = int(self.clock.now()) // _DAY_SECONDS
        self._count(ticket, attempt, MAX_PER_LINK[attempt])
        purge_at = (day + 1) * _DAY_SECONDS + RETENTION_SECONDS
        self._count(f"attempts#{connection}#{day}", attempt, MAX_PER_CONNECTION[attempt], purge_at)

    def _count(self, key: str, attempt: Attempt, limit: int, purge_at: int | None = None) -> None:
        """Add one to a number of an item. With ``purge_at`` (epoch seconds) an item that is not there is made."""
        for _ in range(_TRIES):
            item = self.authorizations.get(key)
            if item is None and purge_at is None:
                raise LinkInvalid("The link is gone.")
            counted = (item or {}).get(attempt)
            if (counted or 0) >= limit:
                raise TooManyAttempts(f"There were {limit} {attempt} already.")
            try:
                if item is None and purge_at is not None:
                    self.authorizations.put(key, {attempt: 1}, purge_at)
                else:
                    self.authorizations.change(key, {attempt: (counted or 0) + 1}, only_if={attempt: counted})
            except Conflict:
                continue
            return
        raise TemporarilyUnavailable("Too many requests of one browser came at once.", 1)
