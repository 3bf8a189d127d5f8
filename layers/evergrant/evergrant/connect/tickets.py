"""The stored ticket of a connect link: find it, claim it for one callback at a time, use it up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ..errors import Conflict, EvergrantError
from ..link_errors import LinkError, LinkExpired, LinkInvalid, LinkUsed
from ..ports import Authorizations, Clock, PortUnavailable

#: How long one callback may hold the ticket: longer than the function's timeout (seconds).
_CLAIM_SECONDS = 40


@dataclass(frozen=True, slots=True)
class Tickets:
    """Tickets in the authorizations table. Every change is one conditional write."""

    authorizations: Authorizations
    clock: Clock

    def find(self, key: str) -> dict[str, Any]:
        """Return the fields of a ticket.

        Raises
        ------
        LinkInvalid
            There is none.
        """
        ticket = self.authorizations.get(key)
        if ticket is None:
            raise LinkInvalid("This link is not known here.")
        return ticket

    def require_open(self, ticket: Mapping[str, Any]) -> None:
        """Refuse a ticket that is used up or has expired.

        Raises
        ------
        LinkUsed, LinkExpired
        """
        _require_unused(ticket)
        if ticket["expires_at"] <= self._now:
            raise LinkExpired("This link has expired.")

    @contextmanager
    def claim(self, key: str, ticket: Mapping[str, Any]) -> Iterator[None]:
        """Hold the ticket while one callback is handled, and use it up when that succeeds.

        Two tabs may come back with a code each: one is handled at a time, and one grant is saved in all. A claim that a
        function did not release expires by itself.

        Raises
        ------
        LinkUsed
            The ticket is used up, or another callback holds it.
        """
        _require_unused(ticket)
        seen = ticket.get("claimed_until")
        busy = "Another answer for this link is being handled already."
        if seen is not None and seen > self._now:
            raise LinkUsed(busy)
        try:
            self.authorizations.change(
                key,
                {"claimed_until": self._now + _CLAIM_SECONDS},
                only_if={"claimed_until": seen, "used_at": None},
            )
        except Conflict as conflict:
            raise LinkUsed(busy) from conflict
        after: dict[str, int] = {"claimed_until": self._now}
        try:
            yield
            after = {"used_at": self._now}
        finally:
            # The grant is saved or not by now; the record says which.
            with suppress(PortUnavailable):
                self.authorizations.change(key, after, only_if={})

    @contextmanager
    def record_problem(self, key: str) -> Iterator[None]:
        """Store an error's code and failure with the ticket, for the operator who waits for the result."""
        problem: dict[str, Any] = {"problem": "", "failure": {}}
        try:
            yield
        except EvergrantError as error:
            failure = error.failure if isinstance(error, LinkError) else None
            problem = {"problem": error.code, "failure": failure.as_dict() if failure else {}}
            raise
        finally:
            with suppress(PortUnavailable):
                self.authorizations.change(key, problem, only_if={})

    @property
    def _now(self) -> int:
        return int(self.clock.now())


def _require_unused(ticket: Mapping[str, Any]) -> None:
    if ticket.get("used_at"):
        raise LinkUsed("This link was used already: the account is connected.")
