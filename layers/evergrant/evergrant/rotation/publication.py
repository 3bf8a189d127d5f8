"""Publication: the secret that consumers read, the events, and the write that says both are done."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Conflict, EvergrantError
from ..oauth.token_set import TokenSet
from ..ports import PortUnavailable, RotationPorts
from ..profiles.model import Profile, Rotation
from ..record import refresh_schedule, token_document
from ..record.connection import Connection, RecordChange, RecordState
from ..record.refresh_schedule import schedule_due
from ..record.status import INACTIVE_STATUSES
from ..record.token_save import RELEASED_LEASE, apply_publish_failure, apply_publish_success
from ..times import TICK_SECONDS

#: Counts as so many failures where a publication has to be tried again: seconds to a minute.
_FAILURES_BEFORE_RETRY = 3
#: Restoring a secret and putting its value may take so long.
_RESTORE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Publication:
    """Publishes a saved connection. Every step is idempotent; none is needed for safety.

    A service that fails costs nothing but time: the record stays due soon, and the next pass repeats the step.
    ``dependency_errors`` collects what services of AWS refused.
    """

    ports: RotationPorts
    dependency_errors: list[str]

    def is_outdated(self, connection: Connection, profile: Profile, tokens: TokenSet) -> bool:
        """Whether consumers read another document than the published one: an older write arrived late.

        Raises
        ------
        PortUnavailable
        """
        document = token_document.build_document(connection, profile, tokens)
        current = self.ports.vault.find_current(connection.name)
        return current != token_document.derive_request_token(connection, document)

    def publish(
        self,
        connection: Connection,
        profile: Profile,
        tokens: TokenSet | None,
        lease_owner: str,
        *,
        anew: bool = False,
    ) -> Connection:
        """Publish what is unpublished, then free the lease and set the due date. Only the lease's owner may.

        ``anew`` says that consumers do not read what counts as published.
        """
        if connection.lease_owner != lease_owner or not connection.is_leased(self._now):
            return connection  # too late: the worker that has the lease now, or gets it soon, publishes
        released = RecordChange(RELEASED_LEASE)
        only_if = connection.snapshot("generation", "status", "lease_owner")
        is_complete = True
        if tokens and (anew or connection.published_generation != connection.generation):
            is_complete, change = self._put_document(connection, profile, tokens, anew)
            if change.events:
                # Consumers are cut off, or no more: rare, and written separately, so that the event is sent below.
                try:
                    connection = self.ports.records.change(
                        connection.name, change.fields, events=change.events, only_if=only_if
                    )
                    only_if = connection.snapshot(*only_if)
                except Conflict:
                    return connection
                except PortUnavailable as error:
                    self.dependency_errors.append(str(error))
                    return connection  # the lease expires, and the next pass publishes
            else:
                released |= change
        return self._deliver(connection, released, only_if, complete=is_complete)

    def deliver(self, connection: Connection) -> Connection:
        """Deliver the events of a change that published nothing, and make the next try come in time."""
        due_at = _due_date(connection)
        if not connection.outbox and connection.due_at == due_at and not self._cannot_wait(connection, due_at):
            return connection
        only_if = connection.snapshot("generation", "status", "refresh_at")
        return self._deliver(connection, RecordChange(), only_if, complete=True)

    def _put_document(
        self, connection: Connection, profile: Profile, tokens: TokenSet, anew: bool
    ) -> tuple[bool, RecordChange]:
        """Put the token document where consumers read it. Returns whether it is there, and the change of the record."""
        now = self._now
        try:
            document = token_document.build_document(connection, profile, tokens)
            if token_document.is_too_large(document):
                return False, apply_publish_failure(connection, now, token_document.TOO_LARGE)
            self.ports.vault.publish(
                connection.name,
                document,
                token_document.derive_request_token(connection, document),
                anew=anew,
                may_restore=lambda: self._is_lease_held(connection),
            )
        except PortUnavailable as error:
            self.dependency_errors.append(str(error))
            if connection.published_generation == connection.generation:
                return False, RecordChange()
            return False, apply_publish_failure(connection, now)
        return True, apply_publish_success(connection, now)

    def _is_lease_held(self, connection: Connection) -> bool:
        """Whether this lease lasts for the time to restore a secret: no operator disconnects before it is over."""
        current = self.ports.records.get(connection.name)
        until = self._now + _RESTORE_SECONDS
        return current is not None and current.lease_owner == connection.lease_owner and current.is_leased(until)

    def _deliver(
        self, connection: Connection, change: RecordChange, only_if: RecordState, *, complete: bool
    ) -> Connection:
        delivered = self._put_events(connection)
        if complete and len(delivered) == len(connection.outbox):
            due_at = self._send_ahead(connection)
        else:
            due_at = refresh_schedule.compute_backoff_at(_FAILURES_BEFORE_RETRY, self._now)
        change |= RecordChange(schedule_due(connection, due_at), dict.fromkeys(delivered))
        try:
            return self.ports.records.change(connection.name, change.fields, events=change.events, only_if=only_if)
        except Conflict:
            return connection
        except PortUnavailable as error:
            self.dependency_errors.append(str(error))
            return connection

    def _send_ahead(self, connection: Connection) -> int | None:
        """Send a message for what falls due before the next tick could see it, and count it as claimed."""
        due_at, now = _due_date(connection), self._now
        # After a failure, what is due at once is held back by a circuit: the tick sends its probes.
        is_held = due_at is not None and due_at <= now and connection.failures > 0
        if due_at is None or is_held or not self._cannot_wait(connection, due_at):
            return due_at
        try:
            self.ports.queue.send({"connection": connection.name}, delay=max(due_at - now, 0))
        except PortUnavailable:
            return due_at
        return refresh_schedule.compute_claim_until(due_at, now, connection.expires_at)

    def _cannot_wait(self, connection: Connection, due_at: int | None) -> bool:
        """Whether it falls due before the next tick could see it, and may be sent out of turn.

        Where its profile declares a rate, only the tick may say when, unless the tick would come too late: for a token
        just issued, until its provider refuses, and for a replay within the grace.
        """
        now = self._now
        if due_at is None or due_at >= now + TICK_SECONDS:
            return False
        too_late_at = now + 2 * TICK_SECONDS
        expires_before = connection.failures == 0 and (connection.expires_at or 0) < too_late_at
        in_doubt = connection.attempt_id is not None
        try:
            rotation = self.ports.profiles.load_pinned(connection.profile_hash).rotation
        except EvergrantError:
            return True  # the next pass says what is wrong with it, and sends nothing
        except PortUnavailable:
            return expires_before or in_doubt
        grace_ends_before = in_doubt and _ends_within(connection, rotation, now, too_late_at)
        return rotation.rate is None or expires_before or grace_ends_before

    def _put_events(self, connection: Connection) -> frozenset[str]:
        if not connection.outbox:
            return frozenset()
        try:
            delivered = self.ports.bus.put(connection.outbox)
        except PortUnavailable as error:
            self.dependency_errors.append(str(error))
            return frozenset()
        if len(delivered) < len(connection.outbox):
            self.dependency_errors.append("putting events: not all were taken")
        return delivered

    @property
    def _now(self) -> int:
        return int(self.ports.clock.now())


def _due_date(connection: Connection) -> int | None:
    return None if connection.status in INACTIVE_STATUSES else connection.next_action_at


def _ends_within(connection: Connection, rotation: Rotation, now: int, until: int) -> bool:
    """Whether the grace of an attempt in doubt has not ended yet, and ends before ``until``."""
    ends_at = (connection.attempt_at or 0) + rotation.reuse_grace
    return now <= ends_at < until
