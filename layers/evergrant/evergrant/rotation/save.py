"""An answer in hand is kept, whatever happens: in the record, or in the rotation queue until the record takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import Conflict
from ..ports import Clock, PortUnavailable, Queue, Records, Seal
from ..record import queued_save, token_save
from ..record.connection import Connection, Status

#: Seconds between two tries at a service that fails, and between two looks at a record that somebody else works on.
POLL_SECONDS = 0.25
#: How often a message whose save fails is sent again, and how many seconds apart; then it is handed back to the queue.
MAX_RESENDS, RESEND_DELAY_SECONDS = 240, 15


@dataclass(frozen=True, slots=True)
class SaveStep:
    """Keeps what a provider answered. Saves are fenced by generation: whoever brings the first answer wins."""

    records: Records
    queue: Queue
    clock: Clock
    patience: float

    def keep(self, connection: Connection, changes: Mapping[str, Any], deadline: float) -> Connection | None:
        """Save ``changes`` (which hold a sealed answer) on top of ``connection``.

        The table is tried for half of ``patience`` seconds; then the queue, then the two in turn until ``deadline``.

        Returns
        -------
        Connection or None
            The record as it then is: with ours, or as somebody else saved it before. None: ours is in the queue.

        Raises
        ------
        PortUnavailable
            Neither took it until ``deadline`` (epoch seconds).
        """
        queue_from = self.clock.now() + self.patience / 2
        while True:
            try:
                return self.fenced(connection.name, changes, connection.generation, connection.status)
            except PortUnavailable:
                if self.clock.now() >= queue_from and self._queued(connection, changes, deadline):
                    return None
                self.clock.sleep(POLL_SECONDS)

    def fenced(self, name: str, changes: Mapping[str, Any], generation: int, status: str) -> Connection:
        """Save by generation, once. Returns the record as it then is."""
        try:
            return self.records.change(name, changes, only_if={"generation": generation, "status": status})
        except Conflict as conflict:
            current: Connection | None = conflict.current
            if current is None:
                raise
            if current.generation != generation or current.status is Status.DISCONNECTED:
                return current  # an answer for a grant that was given up is nobody's
            if current.status is Status.PAUSED:
                changes = token_save.keep_status(dict(changes))
            return self.fenced(name, changes, generation, current.status)

    def save_message(self, message: Mapping[str, Any], seal: Seal) -> bool:
        """Save what a message of the queue carries; ``seal`` is for a new grant that has to go on top of another.

        Returns
        -------
        bool
            Whether it is saved. False: the table still does not take it, and it was sent again, so that the one that
            was received is done with. Each is followed by one at most.

        Raises
        ------
        PortUnavailable
            Neither saved nor sent again: hand it back, it is the only one there is. So is one that was sent again
            :data:`MAX_RESENDS` times, which from then on comes back by itself until it is a dead letter.
        """
        changes, generation, status = queued_save.decode_changes(message), message["generation"], message["status"]
        try:
            current = self.fenced(message["connection"], changes, generation, status)
            replaced = message.get("authorization_id", current.authorization_id)
            if current.generation > generation and _outlives(changes, current, replaced):
                self._on_top(current, changes, generation + 1, replaced, seal)
        except PortUnavailable:
            if message.get("resent", 0) >= MAX_RESENDS:
                raise
            # The queue's own redelivery takes minutes, and a spend in doubt may be replayed before.
            self.queue.send({**message, "resent": message.get("resent", 0) + 1}, delay=RESEND_DELAY_SECONDS)
            return False
        return True

    def _on_top(
        self, current: Connection, changes: Mapping[str, Any], sealed_as: int, replaced: str | None, seal: Seal
    ) -> None:
        """A person's new grant outlives a rotation of the old one that was saved before it: sealed anew, on top."""
        while _outlives(changes, current, replaced):
            generation = current.generation + 1
            plain = seal.unseal(changes["sealed"], current.name, sealed_as)
            anew = {
                **changes,
                "sealed": seal.prepare(current.name, generation).seal(plain),
                "generation": generation,
            }
            if "published_generation" in anew:
                anew["published_generation"] = generation
            for name, value in changes.items():
                if name.startswith("outbox.") and "generation" in value["detail"]:
                    anew[name] = {**value, "detail": {**value["detail"], "generation": generation}}
            current = self.fenced(current.name, anew, current.generation, current.status)

    def _queued(self, connection: Connection, changes: Mapping[str, Any], deadline: float) -> bool:
        try:
            self.queue.send(queued_save.encode_message(connection, changes))
        except PortUnavailable:
            if self.clock.now() >= deadline:
                raise
            return False
        return True


def _outlives(changes: Mapping[str, Any], current: Connection, replaced: str | None) -> bool:
    """Whether ``changes`` are a new grant, and ``current`` is still the one that it replaces, rotated meanwhile.

    A connection that was authorized again since, or disconnected, even begun anew, has no use for an older grant.
    """
    if changes.get("authorization_id") in (None, current.authorization_id):
        return False
    over = current.status in (Status.DISCONNECTED, Status.AWAITING_AUTHORIZATION)
    return current.authorization_id == replaced and not over
