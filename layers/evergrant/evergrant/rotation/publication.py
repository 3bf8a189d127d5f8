"""Publication: the secret that consumers read, the events, and the write that says both are done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import Conflict, EvergrantError
from ..oauth.token_set import TokenSet
from ..ports import Bus, Clock, PortUnavailable, Profiles, Queue, Records, Vault
from ..profiles.model import Profile
from ..record import outbox, refresh_schedule, token_document, token_save, unpublished
from ..record.connection import INACTIVE_STATUSES, Connection
from ..times import TICK_SECONDS

#: Counts as so many failures where a publication has to be tried again: seconds to a minute.
_BEFORE_RETRY = 3
#: Seconds that restoring a secret and putting its value may take.
_TO_RESTORE = 10


@dataclass(frozen=True, slots=True)
class Publication:
    """Tells the outside world of a saved connection. Every step may be repeated; none is needed for safety.

    A service that fails costs nothing but time: the record stays due soon, and the next pass comes by.
    ``dependency_errors``
    takes why.
    """

    records: Records
    vault: Vault
    queue: Queue
    bus: Bus
    clock: Clock
    profiles: Profiles
    dependency_errors: list[str]

    def outdated(self, connection: Connection, profile: Profile, tokens: TokenSet) -> bool:
        """Whether consumers get another document than the one that counts as published: an older one came in late.

        Raises
        ------
        PortUnavailable
        """
        document = token_document.build_document(connection, profile, tokens)
        return self.vault.find_current(connection.name) != token_document.derive_request_token(connection, document)

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
        if connection.lease_owner != lease_owner or not connection.is_leased(int(self.clock.now())):
            return connection  # too late: whoever has the lease now, or gets it soon, publishes
        released: dict[str, Any] = dict(token_save.RELEASED_LEASE)
        only_if = {name: getattr(connection, name) for name in ("generation", "status", "lease_owner")}
        complete = True
        if tokens and (anew or connection.published_generation != connection.generation):
            complete, changes = self._shown(connection, profile, tokens, anew)
            if outbox.has_event(changes):
                # Consumers are cut off, or no more: rare, and said in a write of its own, so that it is told below.
                try:
                    connection = self.records.change(connection.name, changes, only_if=only_if)
                except Conflict:
                    return connection
                except PortUnavailable as error:
                    self.dependency_errors.append(str(error))
                    return connection  # the lease runs out, and the next pass comes by
            else:
                released |= changes
        return self._deliver(connection, released, only_if, complete=complete)

    def _shown(
        self, connection: Connection, profile: Profile, tokens: TokenSet, anew: bool
    ) -> tuple[bool, dict[str, Any]]:
        """Put the token set where consumers look. Whether it is there, and what that changes in the record."""
        try:
            document = token_document.build_document(connection, profile, tokens)
            self.vault.publish(
                connection.name,
                document,
                token_document.derive_request_token(connection, document),
                anew=anew,
                may_restore=lambda: self._holds(connection),
            )
        except PortUnavailable as error:
            self.dependency_errors.append(str(error))
            if connection.published_generation == connection.generation:
                return False, {}
            return False, unpublished.apply_publish_failure(connection, int(self.clock.now()))
        return True, unpublished.apply_publish_success(connection, int(self.clock.now()))

    def deliver(self, connection: Connection) -> Connection:
        """Deliver the events of a change that published nothing, and see to it that the next try comes in time."""
        now = int(self.clock.now())
        as_due = connection.due_at == _due_date(connection)
        if not connection.outbox and as_due and not self._cannot_wait(connection, now):
            return connection
        only_if = {name: getattr(connection, name) for name in ("generation", "status", "refresh_at")}
        return self._deliver(connection, {}, only_if, complete=True)

    def _holds(self, connection: Connection) -> bool:
        """Whether this lease still lasts, with the time to restore a secret: nobody disconnects before it is over."""
        current = self.records.get(connection.name)
        until = int(self.clock.now()) + _TO_RESTORE
        return current is not None and current.lease_owner == connection.lease_owner and current.is_leased(until)

    def _deliver(
        self, connection: Connection, changes: dict[str, Any], only_if: dict[str, Any], *, complete: bool
    ) -> Connection:
        now = int(self.clock.now())
        delivered = self._put(connection)
        changes |= {f"outbox.{key}": None for key in delivered}
        if complete and len(delivered) == len(connection.outbox):
            due_at = self._sent_ahead(connection, now)
        else:
            due_at = refresh_schedule.compute_backoff_at(_BEFORE_RETRY, now)
        changes |= token_save.schedule_due(connection, due_at)
        try:
            return self.records.change(connection.name, changes, only_if=only_if)
        except Conflict:
            return connection
        except PortUnavailable as error:
            self.dependency_errors.append(str(error))
            return connection

    def _sent_ahead(self, connection: Connection, now: int) -> int | None:
        """What falls due before the next tick could see it sends its own message, and counts as claimed."""
        due_at = _due_date(connection)
        if due_at is None or not self._cannot_wait(connection, now):
            return due_at
        try:
            self.queue.send({"connection": connection.name}, delay=max(due_at - now, 0))
        except PortUnavailable:
            return due_at
        return refresh_schedule.compute_claim_until(due_at, now, connection.expires_at)

    def _cannot_wait(self, connection: Connection, now: int) -> bool:
        """Whether it falls due before the next tick could see it, and may go then whoever else does.

        Where its profile declares a rate only the tick may say when it asks, unless the tick would come too late: for
        a token just issued, until its provider refuses, and for a replay within the grace.
        """
        due_at, too_late = _due_date(connection), now + 2 * TICK_SECONDS
        if due_at is None or due_at >= now + TICK_SECONDS:
            return False
        in_doubt = connection.attempt_id is not None
        lapses = connection.failures == 0 and (connection.expires_at or 0) < too_late
        try:
            rotation = self.profiles.load_pinned(connection.profile_hash).rotation
        except EvergrantError:
            return True  # the next pass says what is wrong with it, and asks nobody
        except PortUnavailable:
            return lapses or in_doubt
        in_doubt = in_doubt and now <= (connection.attempt_at or 0) + rotation.reuse_grace < too_late
        return rotation.rate is None or lapses or in_doubt

    def _put(self, connection: Connection) -> frozenset[str]:
        if not connection.outbox:
            return frozenset()
        try:
            delivered = self.bus.put(connection.outbox)
        except PortUnavailable as error:
            self.dependency_errors.append(str(error))
            return frozenset()
        if len(delivered) < len(connection.outbox):
            self.dependency_errors.append("putting events: not all were taken")
        return delivered


def _due_date(connection: Connection) -> int | None:
    return None if connection.status in INACTIVE_STATUSES else connection.next_action_at
