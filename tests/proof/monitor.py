"""The monitor: it stands at every port, sees each write, message and answer, and knows what may never be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from evergrant.oauth.token_set import TokenSet
from evergrant.oauth.unreadable_response import KeptResponse
from evergrant.profiles.model import HEADLESS_GRANTS
from evergrant.record import queued_save
from evergrant.record.connection import Connection
from evergrant.record.sealed import Sealed
from evergrant.record.status import INACTIVE_STATUSES, EventType, Status
from tests.proof.provider import access_token_of, holds_tokens
from tests.proof.resending import IN_FLIGHT_SECONDS, Stake
from tests.unit import memory

if TYPE_CHECKING:
    from tests.proof.simulation import Simulation

NEVER_IN_CLEAR = re.compile(r"(?:refresh|access)-\d|canary")
_EVENT_OF = {
    Status.ACTIVE: {EventType.ROTATED, EventType.AUTHORIZED},
    Status.DEGRADED: {EventType.DEGRADED},
    Status.AUTHORIZATION_REQUIRED: {EventType.AUTHORIZATION_REQUIRED},
    Status.CLIENT_REFUSED: {EventType.CLIENT_REFUSED},
    Status.DISCONNECTED: {EventType.DISCONNECTED},
}
#: Events that speak of a state, and are true only of a record that is in it.
_STATES = {
    str(EventType.AUTHORIZATION_REQUIRED): Status.AUTHORIZATION_REQUIRED,
    str(EventType.DEGRADED): Status.DEGRADED,
    str(EventType.DISCONNECTED): Status.DISCONNECTED,
}


#: Whether it is an operator's command that sends.
FORCED: ContextVar[bool] = ContextVar("forced", default=False)


@lru_cache(512)
def token_set(sealed: Sealed) -> TokenSet:
    return TokenSet.decode(memory.unseal(sealed))


@dataclass
class Seen:
    """What the monitor has seen of a history."""

    #: Token sets that reached a worker; that were written down sealed; that a worker took with it when it was killed.
    received: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    windows: tuple[str, ...] = ()
    mark_event_persisted: Mapping[str, str] = field(default_factory=dict)
    #: The newest grant that was there when the connection was disconnected.
    given_up: int = -1
    #: When requests were sent through an open circuit.
    probes: tuple[float, ...] = ()
    #: Access tokens, by their fingerprints, that consumers reported rejected while their refresh tokens were in doubt.
    rejected: frozenset[str] = frozenset()

    @property
    def lost(self) -> tuple[str, ...]:
        """The windows of unavoidable loss: killed with an answer that was not written down yet, nor arrived since."""
        return tuple(window for window in self.windows if window.rpartition(" ")[2] not in self.kept)


class Monitor:
    def __init__(self, world: Simulation) -> None:
        self.world = world
        self.seen = Seen()
        #: What was written down of each refresh token: the set that it came with.
        self.sets: dict[str, TokenSet] = {}

    def received(self, access_token: str) -> None:
        self.seen = replace(self.seen, received=self.seen.received | {access_token})
        self.world.faults.in_hand.add(access_token)

    def asked(self, rejected: str | None) -> None:
        """A caller asks, and may report an access token that an API rejected.

        A report that comes before any doubt is the reason of a refresh, and says nothing about what came of it.
        """
        record = self.world.record
        if rejected is not None and (record.attempt_id or record.unclear_at):
            self.seen = replace(self.seen, rejected=self.seen.rejected | {rejected})

    def served(self, access_token: str) -> None:
        assert access_token not in self.seen.received - self.seen.kept, "served before it is saved"

    def publishes(self, connection: str) -> None:
        """A worker is about to publish, and has looked at the lease, without which no operator disconnects."""
        gone = self.world.records.items[connection].status is Status.DISCONNECTED
        assert not gone, "published for a connection that was disconnected"

    def published(self, document: Mapping[str, Any]) -> None:
        assert "refresh-" not in str(document), "a refresh token where consumers look"
        assert document["access_token"] not in self.seen.received - self.seen.kept, "published before it is saved"

    def sent(self, text: str) -> None:
        assert not NEVER_IN_CLEAR.search(text), "a token in a message or an event"

    def kept(self, changes: Mapping[str, Any]) -> None:
        """A response is stored, in the record or in a message: a token set, or an unreadable response."""
        for access_token in self.answers(changes):
            self._kept(access_token)
        if changes.get("sealed"):
            self.written_down(token_set(changes["sealed"]))

    def written_down(self, tokens: TokenSet) -> None:
        if tokens.refresh_token:
            self.sets[tokens.refresh_token.reveal()] = tokens

    @staticmethod
    def answers(changes: Mapping[str, Any]) -> list[str]:
        """The access tokens of the answers that a change carries."""
        carried = [token_set(changes["sealed"]).access_token.reveal()] if changes.get("sealed") else []
        if changes.get("unreadable_response"):
            response = KeptResponse.decode(memory.unseal(changes["unreadable_response"])).response
            carried += [access_token_of(response)] if holds_tokens(response) else []
        return carried

    def _kept(self, access_token: str) -> None:
        if access_token not in self.seen.kept:
            self.seen = replace(self.seen, kept=self.seen.kept | {access_token})

    def killed(self, at: str) -> None:
        """A worker is gone, and with it what only it knew."""
        lost = self.world.faults.in_hand - self.seen.kept
        if lost:
            self.seen = replace(self.seen, windows=(*self.seen.windows, f"killed at {at} with {min(lost)}"))

    # --- what is sent ---------------------------------------------------------------------------------------------

    def sends(self) -> None:
        """A request goes out: through an open circuit it is a probe, if no operator forces it."""
        if any(circuit.is_open for circuit in self.world.circuits.items.values()) and not FORCED.get():
            self.seen = replace(self.seen, probes=(*self.seen.probes, self.world.clock.now()))

    def stake(self, token: str) -> Stake:
        """What another request with a refresh token puts at risk."""
        world, tokens = self.world, self.sets[token]
        # What a profile assumes may be too short by far.
        is_assumed = tokens.expiry_rule.startswith("default")
        ends_together = world.profile.rotation.refresh_token_life == "with_access_token"
        return Stake(
            grace=world.provider.grace,
            gone_at=tokens.expires_at + (tokens.lifetime if is_assumed else 0),
            is_rejected=tokens.access_token.fingerprint in self.seen.rejected,
            ends_at=tokens.expires_at if ends_together else None,
            is_held=self._is_held(token),
            is_counted=self._is_counted,
            is_forced=FORCED.get(),
            has_grant=world.owner_of(token).grant not in HEADLESS_GRANTS,
        )

    @property
    def _is_counted(self) -> bool:
        """Whether reuse may end the whole permission of the account."""
        revoke = self.world.profile.revoke
        return revoke is not None and revoke.scope == "grant"

    def _is_held(self, token: str) -> bool:
        """Whether a sender of this refresh token still waits, or a worker or a message has what was answered."""
        world = self.world
        if token in world.provider.underway:
            return True
        if token not in world.provider.used:
            return False
        queued = (message for message, _ in world.queue.messages if message.get("task") == queued_save.TASK)
        carried = (self.answers(memory.read_queued(message)) for message in queued)
        _, response = world.provider.used[token]
        return any(access_token_of(response) in answers for answers in (*world.hands, *carried))

    # --- what is written ------------------------------------------------------------------------------------------

    def written(
        self, before: Connection, after: Connection, changes: Mapping[str, Any], only_if: Mapping[str, Any]
    ) -> None:
        assert not NEVER_IN_CLEAR.search(str(changes)), "a token in the record"
        assert after.generation >= before.generation, "a generation went back"
        if after.sealed != before.sealed and after.sealed is not None:
            assert after.generation == before.generation + 1, "a save that is not fenced"
        elif after.generation != before.generation:
            assert after.status is Status.DISCONNECTED, "a generation without a token set"
        if before.is_leased(int(self.world.clock.now())) and before.lease_owner != after.lease_owner:
            assert only_if.get("lease_owner") == before.lease_owner, "another worker's lease is freed"
        self.kept(changes)
        if before.attempt_id and not after.attempt_id and after.generation == before.generation:
            remembered = after.unreadable_response is not None or (after.unclear_at and not self._in_flight(before))
            assert remembered or not self._acted(before), "a marker was dropped, and its refresh token was used"
        if before.unreadable_response and not after.unreadable_response:
            over = after.status is Status.DISCONNECTED
            assert after.generation > before.generation or over, "an answer in hand was thrown away"
        self._reported(before, after)

    def _reported(self, before: Connection, after: Connection) -> None:
        added = {key: body for key, body in after.outbox.items() if key not in before.outbox}
        for key, body in added.items():
            assert self.seen.mark_event_persisted.get(key, body["type"]) == body["type"], "one event has one content"
            tells_of = _STATES.get(body["type"], after.status)
            assert after.status is tells_of or after.status in INACTIVE_STATUSES, (
                f"{body['type']} while it is {after.status}"
            )
        if added:
            reported = {**self.seen.mark_event_persisted, **{key: body["type"] for key, body in added.items()}}
            self.seen = replace(self.seen, mark_event_persisted=reported)
        if after.status is not before.status:
            self._changed(before, after, [body["type"] for body in added.values()])

    def _changed(self, before: Connection, after: Connection, kinds: list[str]) -> None:
        world = self.world
        if after.status is Status.DISCONNECTED:
            self.seen = replace(self.seen, given_up=max(world.grants_of(after.name)))
        by_operator = before.status in INACTIVE_STATUSES or after.status in (
            Status.PAUSED,
            Status.AWAITING_AUTHORIZATION,
        )
        if not by_operator:
            # Without another token set it is active again because the one that it has was published in the end.
            published = after.status is Status.ACTIVE and after.generation == before.generation
            expected = {EventType.RECOVERED} if published else _EVENT_OF[after.status]
            of_it = [kind for kind in kinds if kind in expected]
            assert len(of_it) == 1, f"{before.status} became {after.status} and is reported {len(of_it)} times"
        if after.status is Status.AUTHORIZATION_REQUIRED and before.status not in INACTIVE_STATUSES:
            # Where reuse may end the whole permission of the account, one attempt is all that is made of a doubt.
            doubtful = self._is_counted and after.attempt_id is not None and after.attempt_replays > 0
            # By an answer that may mean client or grant, where no other connection says which.
            vague = after.last_error == "rejected_unknown"
            assert doubtful or vague or not world.alive(after), "a person is asked for nothing"

    def _acted(self, record: Connection) -> bool:
        """Whether the provider has used the stored refresh token, while no worker can know what came of it."""
        if record.grant in HEADLESS_GRANTS or not self.world.profile.rotation.rotates:
            return False
        token = self._refresh_token(record)
        return token in self.world.provider.used and self.world.provider.sent[token][-1].known != "refused"

    def _in_flight(self, record: Connection) -> bool:
        """Whether a response may still be on its way, by when its request was sent."""
        sent = self.world.provider.sent.get(self._refresh_token(record), ())
        unanswered = [one.at for one in sent if one.known != "unclear"]
        return bool(unanswered) and self.world.clock.now() < unanswered[-1] + IN_FLIGHT_SECONDS

    @staticmethod
    def _refresh_token(record: Connection) -> str:
        stored = token_set(record.sealed) if record.sealed else None
        return stored.refresh_token.reveal() if stored and stored.refresh_token else ""
