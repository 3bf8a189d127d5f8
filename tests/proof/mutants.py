"""Mistakes to plant: each is one that a programmer might make, and a context manager that makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from unittest import mock

from evergrant.connect import operations
from evergrant.errors import Conflict
from evergrant.oauth.token_set import TokenSet
from evergrant.ports import PortUnavailable
from evergrant.profiles.model import Profile
from evergrant.record import connection, failures, lost_response, queued_save, token_save
from evergrant.record.connection import Connection, Sealed
from evergrant.rotation import revocation
from evergrant.rotation.demand import TokenDemand
from evergrant.rotation.publication import Publication
from evergrant.rotation.refresh import Rotation
from evergrant.rotation.refresh_attempt import RefreshAttempt
from evergrant.rotation.save import SaveStep
from tests.proof.ports import Queue
from tests.unit.memory import unseal

Mutant = Callable[[], Any]


def fenced_by_the_lease() -> Any:
    """A save that is given up when the lease is another's, instead of one that is fenced by generation."""

    def keep(self: SaveStep, connection: Connection, changes: Mapping[str, Any], deadline: float) -> Connection:
        try:
            return self.records.change(connection.name, changes, only_if={"lease_owner": connection.lease_owner})
        except Conflict as conflict:
            return conflict.current or connection

    return mock.patch.object(SaveStep, "keep", keep)


def not_fenced() -> Any:
    """A save that goes through over any save before it."""

    def fenced(self: SaveStep, name: str, changes: Mapping[str, Any], generation: int, status: str) -> Connection:
        return self.records.change(name, changes)

    return mock.patch.object(SaveStep, "fenced", fenced)


def no_marker() -> Any:
    """A lease without the attempt marker."""
    marked = Rotation._marked

    def unmarked(self: Rotation, connection: Connection, marks: Mapping[str, Any]) -> Connection:
        return marked(self, connection, {**marks, "attempt_id": None, "attempt_at": None, "attempt_replays": 0})

    return mock.patch.object(Rotation, "_marked", unmarked)


def published_before_it_is_saved() -> Any:
    saved = Rotation._saved

    def published(self: Rotation, attempt: RefreshAttempt, ask: TokenDemand, tokens: TokenSet, data_key: Any) -> Any:
        following = replace(attempt.connection, generation=attempt.connection.generation + 1)
        self._publication.publish(following, attempt.profile, tokens, self._worker)
        return saved(self, attempt, ask, tokens, data_key)

    return mock.patch.object(Rotation, "_saved", published)


def replayed_outside_the_grace() -> Any:
    return mock.patch.object(lost_response, "may_replay", return_value=True)


def probed_while_an_answer_may_be_on_its_way() -> Any:
    return mock.patch.object(lost_response, "MIN_REPLAY_DELAY_SECONDS", 0)


def forced_while_an_answer_may_be_on_its_way() -> Any:
    replay_at = lost_response.compute_replay_at

    def at_once(connection: Connection, profile: Profile, now: int, *, forced: bool = False) -> int | None:
        return now if forced else replay_at(connection, profile, now)

    return mock.patch.object(lost_response, "compute_replay_at", at_once)


def unsealed_in_the_queue() -> Any:
    message = queued_save.encode_message

    def legible(connection: Connection, changes: Mapping[str, Any]) -> dict[str, Any]:
        sealed: Sealed = changes["sealed"]
        return {**message(connection, changes), "plain": unseal(sealed).decode()}

    return mock.patch.object(queued_save, "encode_message", legible)


def nothing_in_the_queue() -> Any:
    return mock.patch.object(Queue, "arrive", return_value=None)


def forgotten_events() -> Any:
    return mock.patch.object(Publication, "_put", lambda self, connection: frozenset(connection.outbox))


def grace_counted_from_the_replay() -> Any:
    """A marker that is dated anew by each replay."""
    marked = Rotation._marked

    def dated_anew(self: Rotation, connection: Connection, marks: Mapping[str, Any]) -> Connection:
        return marked(self, connection, {**marks, "attempt_at": int(self._now)})

    return mock.patch.object(Rotation, "_marked", dated_anew)


def a_generation_for_each_replay() -> Any:
    marked = Rotation._marked

    def counted(self: Rotation, connection: Connection, marks: Mapping[str, Any]) -> Connection:
        again = connection.attempt_id is not None
        return marked(self, connection, {**marks, "generation": connection.generation + again})

    return mock.patch.object(Rotation, "_marked", counted)


def replayed_without_a_second_look() -> Any:
    """A worker that stalls between marker and request sends all the same."""
    return mock.patch.object(RefreshAttempt, "_may_send", return_value=True)


def not_adopted() -> Any:
    """The worker that saves second goes on with its own response."""
    fenced = SaveStep.fenced

    def ours(self: SaveStep, name: str, changes: Mapping[str, Any], generation: int, status: str) -> Connection:
        saved = fenced(self, name, changes, generation, status)
        own = {key: value for key, value in changes.items() if "." not in key}
        return replace(saved, **own) if saved.generation > generation else saved

    return mock.patch.object(SaveStep, "fenced", ours)


def released_without_the_lease() -> Any:
    deliver = Publication._deliver

    def unfenced(self: Publication, connection: Connection, changes: Any, only_if: Any, *, complete: bool) -> Any:
        only_if = {name: value for name, value in only_if.items() if name != "lease_owner"}
        return deliver(self, connection, {**changes, **token_save.RELEASED_LEASE}, only_if, complete=complete)

    return mock.patch.object(Publication, "_deliver", unfenced)


def published_without_the_lease() -> Any:
    publish = Publication.publish

    def unasked(self: Publication, connection: Connection, *args: Any, **more: Any) -> Connection:
        lease = {"lease_owner": args[2], "lease_until": int(self.clock.now()) + 40}
        return publish(self, replace(connection, **lease), *args, **more)

    return mock.patch.object(Publication, "publish", unasked)


def a_strike_is_the_last_word() -> Any:
    strike = failures._apply_grant_rejection

    def second(connection: Connection, now: int, error: str) -> dict[str, Any]:
        return strike(replace(connection, rejected_at=0), now, error)

    return mock.patch.object(failures, "_apply_grant_rejection", second)


def events_that_displace_others() -> Any:
    event = connection.create_event

    def overwritten(*args: Any, **detail: Any) -> dict[str, Any]:
        return {"outbox": {key.removeprefix("outbox."): body for key, body in event(*args, **detail).items()}}

    return mock.patch.object(token_save, "create_event", overwritten)


def a_tombstone_of_the_same_generation() -> Any:
    change = operations._change

    def same(records: Any, connection: str, changes_of: Any, *args: Any) -> Connection:
        def kept(current: Connection) -> Mapping[str, Any]:
            return {name: value for name, value in changes_of(current).items() if "generation" not in name}

        return change(records, connection, kept, *args)

    return mock.patch.object(operations, "_change", same)


def a_marker_taken_back_regardless() -> Any:
    marked = Rotation._marked

    def unfenced(self: Rotation, connection: Connection, marks: Mapping[str, Any]) -> Connection:
        try:
            return marked(self, connection, marks)
        except PortUnavailable:
            before = {
                name: getattr(connection, name)
                for name in ("attempt_id", "attempt_at", "attempt_replays", "refresh_at")
            }
            changes = {**before, **token_save.schedule_due(connection, connection.due_at), **token_save.RELEASED_LEASE}
            self._ports.records.change(connection.name, changes, only_if={"lease_owner": self._worker})
            raise

    return mock.patch.object(Rotation, "_marked", unfenced)


def revoked_without_a_look_at_what_there_is() -> Any:
    """A grant is revoked as if the account could not have been connected again since."""
    revoke = revocation.Revocation._revoke

    def at_once(self: revocation.Revocation, message: Mapping[str, Any]) -> Any:
        seen = self.records.get(message["connection"])
        looked = mock.Mock(get=mock.Mock(return_value=seen))
        return revoke(replace(self, records=looked), message)

    return mock.patch.object(revocation.Revocation, "_revoke", at_once)
