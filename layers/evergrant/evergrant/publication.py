"""Publication: the secret that consumers read, the events, and the write that says both are done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import published, schedule, transitions
from .connection import AT_REST, Connection
from .errors import Conflict
from .ports import Bus, Clock, PortUnavailable, Queue, Records, Vault
from .profile import Profile
from .tokens import TokenSet

#: Counts as so many failures where a publication has to be tried again: seconds to a minute.
_BEFORE_RETRY = 3


@dataclass(frozen=True, slots=True)
class Publication:
    """Tells the outside world of a saved connection. Every step may be repeated; none is needed for safety.

    A service that fails costs nothing but time: the record stays due soon, and the next pass comes by.
    """

    records: Records
    vault: Vault
    queue: Queue
    bus: Bus
    clock: Clock

    def outdated(self, connection: Connection, profile: Profile, tokens: TokenSet) -> bool:
        """Whether consumers get another document than the one that counts as published: an older one came in late.

        Raises
        ------
        PortUnavailable
        """
        document = published.document(connection, profile, tokens)
        return self.vault.current(connection.name) != published.request_token(connection, document)

    def publish(
        self,
        connection: Connection,
        profile: Profile,
        tokens: TokenSet | None,
        lease_owner: str,
        *,
        anew: bool = False,
    ) -> Connection:
        """Publish what is unpublished, then free the lease and set the due date. Only for who holds the lease.

        ``anew`` says that what counts as published is not what consumers get.
        """
        if connection.lease_owner != lease_owner or not connection.leased(int(self.clock.now())):
            return connection  # too late: whoever has the lease now, or gets it soon, publishes
        changes: dict[str, Any] = dict(transitions.RELEASED)
        complete = True
        if tokens and (anew or connection.published_generation != connection.generation):
            try:
                document = published.document(connection, profile, tokens)
                self.vault.publish(connection.name, document, published.request_token(connection, document), anew=anew)
                changes["published_generation"] = connection.generation
            except PortUnavailable:
                complete = False
        only_if = {"generation": connection.generation, "lease_owner": lease_owner}
        return self._told(connection, changes, only_if, complete=complete)

    def tell(self, connection: Connection) -> Connection:
        """Deliver the events of a change that published nothing, and see to it that the next try comes in time."""
        now = int(self.clock.now())
        soon = connection.next_at is not None and connection.next_at < now + schedule.TICK
        if not connection.outbox and not soon and connection.due_at == _due_date(connection):
            return connection
        only_if = {name: getattr(connection, name) for name in ("generation", "status", "refresh_at")}
        return self._told(connection, {}, only_if, complete=True)

    def _told(
        self, connection: Connection, changes: dict[str, Any], only_if: dict[str, Any], *, complete: bool
    ) -> Connection:
        now = int(self.clock.now())
        delivered = self._put(connection)
        changes |= {f"outbox.{key}": None for key in delivered}
        if complete and len(delivered) == len(connection.outbox):
            due_at = self._sent_ahead(connection, now)
        else:
            due_at = schedule.backoff(_BEFORE_RETRY, now)
        changes |= transitions.due(connection, due_at)
        try:
            return self.records.change(connection.name, changes, only_if=only_if)
        except (Conflict, PortUnavailable):
            return connection

    def _sent_ahead(self, connection: Connection, now: int) -> int | None:
        """What falls due before the next tick could see it sends its own message, and counts as claimed."""
        due_at = _due_date(connection)
        if due_at is None or due_at >= now + schedule.TICK:
            return due_at
        try:
            self.queue.send({"connection": connection.name}, delay=max(due_at - now, 0))
        except PortUnavailable:
            return due_at
        return schedule.claim_until(due_at, now, connection.expires_at)

    def _put(self, connection: Connection) -> frozenset[str]:
        if not connection.outbox:
            return frozenset()
        try:
            return self.bus.put(connection.outbox)
        except PortUnavailable:
            return frozenset()


def _due_date(connection: Connection) -> int | None:
    return None if connection.status in AT_REST else connection.next_at
