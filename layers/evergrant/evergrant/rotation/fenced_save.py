"""The save: a response in hand is kept, in the record, or in the rotation queue until the record takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import Conflict
from ..ports import Clock, DataKey, PortUnavailable, Queue, Records, Seal
from ..record import queued_save, state_machine
from ..record.connection import Connection, RecordChange, RecordState
from ..record.sealed import Sealed
from ..record.status import Status

#: Between two tries at a service that fails, and between two looks at a record that another worker has.
POLL_SECONDS = 0.25
#: How often a message whose save fails is sent again, and the delay between; then it is handed back to the queue.
MAX_RESENDS, RESEND_DELAY_SECONDS = 240, 15


@dataclass(frozen=True, slots=True)
class SaveStep:
    """Keeps what a provider responded. The generation fences every save: the first response to arrive wins."""

    records: Records
    queue: Queue
    clock: Clock
    patience: float

    def keep(
        self, connection: Connection, change: RecordChange, data_key: DataKey, deadline: float
    ) -> Connection | None:
        """Save ``change`` (which holds a sealed response) on top of ``connection``.

        The table is tried for half of ``patience`` seconds; then the queue, then the two in turn until ``deadline``.
        ``data_key`` is for the connection's next generation: what goes into the queue is sealed.

        Returns
        -------
        Connection or None
            The record as it then is: with ours, or as another worker saved it before. None: ours is in the queue.

        Raises
        ------
        PortUnavailable
            Neither took it until ``deadline`` (epoch seconds).
        """
        queue_from = self.clock.now() + self.patience / 2
        seen = connection.snapshot("generation", "status")
        while True:
            try:
                return self.save_fenced(connection.name, change, seen)
            except PortUnavailable:
                if self.clock.now() >= queue_from and self._send(build_message(connection, change, data_key), deadline):
                    return None
                self.clock.sleep(POLL_SECONDS)

    def save_fenced(self, name: str, change: RecordChange, seen: RecordState) -> Connection:
        """Save if the record has the generation and status of ``seen``. Returns the record as it then is."""
        try:
            return self.records.change(name, change.fields, events=change.events, only_if=seen)
        except Conflict as conflict:
            current: Connection | None = conflict.current
            if current is None:
                raise
            if current.generation != seen["generation"] or current.status is Status.DISCONNECTED:
                return current  # no record takes the response for a grant that was given up
            rebased = state_machine.rebase_change(change, current.status)
            return self.save_fenced(name, rebased, current.snapshot("generation", "status"))

    def save_message(self, message: Mapping[str, Any], seal: Seal) -> bool:
        """Save what a message of the queue carries, once ``seal`` has opened it.

        Returns
        -------
        bool
            Whether it is saved. False: KMS does not open it or the table does not take it yet, and it was sent again,
            so that the message that was received is done with. Each message is followed by one at most.

        Raises
        ------
        PortUnavailable
            Neither saved nor sent again: hand it back, it is the only copy. So is one that was sent again
            :data:`MAX_RESENDS` times; from then on the queue redelivers it, until it is a dead letter.
        SealBroken, InvalidRequest
            It is not what a function of ours sealed for this connection and generation: nothing is written.
        """
        name, generation = message["connection"], message["generation"]
        try:
            plain = seal.unseal(Sealed.decode(message["change"]), name, generation + 1)
            queued = queued_save.decode_change(plain, name, generation)
            current = self.save_fenced(name, queued.change, queued.seen)
            replaced = queued.authorization_id
            if current.generation > generation and _outlives(queued.change, current, replaced):
                self._save_on_top(current, queued.change, generation + 1, replaced, seal)
        except PortUnavailable:
            if message.get("resent", 0) >= MAX_RESENDS:
                raise
            # The queue's own redelivery takes minutes, and an attempt in doubt may be replayed before.
            self.queue.send({**message, "resent": message.get("resent", 0) + 1}, delay=RESEND_DELAY_SECONDS)
            return False
        return True

    def _save_on_top(
        self, current: Connection, change: RecordChange, sealed_as: int, replaced: str | None, seal: Seal
    ) -> None:
        """Seal a person's new grant again and save it on top of a rotation of the old one that was saved before."""
        sealed = change.fields.get("sealed")
        while sealed is not None and _outlives(change, current, replaced):
            generation = current.generation + 1
            plain = seal.unseal(sealed, current.name, sealed_as)
            moved = change.set({"sealed": seal.prepare(current.name, generation).seal(plain), "generation": generation})
            if "published_generation" in change.fields:
                moved = moved.set({"published_generation": generation})
            events = {event_id: _with_generation(body, generation) for event_id, body in change.events.items()}
            moved = RecordChange(moved.fields, events)
            current = self.save_fenced(current.name, moved, current.snapshot("generation", "status"))

    def _send(self, message: Mapping[str, Any], deadline: float) -> bool:
        try:
            self.queue.send(message)
        except PortUnavailable:
            if self.clock.now() >= deadline:
                raise
            return False
        return True


def build_message(connection: Connection, change: RecordChange, data_key: DataKey) -> dict[str, Any]:
    """Build the message that carries a change of ``connection``, sealed for its next generation."""
    return queued_save.build_message(connection, data_key.seal(queued_save.encode_change(connection, change)))


def _with_generation(body: Mapping[str, Any] | None, generation: int) -> Mapping[str, Any] | None:
    """Return an event with another generation, where it has one."""
    if body is None or "generation" not in body["detail"]:
        return body
    return {**body, "detail": {**body["detail"], "generation": generation}}


def _outlives(change: RecordChange, current: Connection, replaced: str | None) -> bool:
    """Whether ``change`` is a new grant, and ``current`` is still the one that it replaces, rotated meanwhile.

    A connection that was authorized again since, or disconnected, even begun anew, has no use for an older grant.
    """
    if change.fields.get("authorization_id") in (None, current.authorization_id):
        return False
    is_over = current.status in (Status.DISCONNECTED, Status.AWAITING_AUTHORIZATION)
    return current.authorization_id == replaced and not is_over
