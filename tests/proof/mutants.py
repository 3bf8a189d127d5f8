"""Mistakes to plant: each is one that a programmer might make, and a context manager that makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast
from unittest import mock

from evergrant.connect import operator_actions
from evergrant.errors import Conflict
from evergrant.oauth.token_set import TokenSet
from evergrant.ports import PortUnavailable
from evergrant.profiles.model import Profile
from evergrant.record import lost_response, queued_save, refusals, token_save
from evergrant.record.connection import Connection, RecordChange, RecordFields, RecordState
from evergrant.record.refresh_schedule import schedule_due
from evergrant.record.sealed import Sealed
from evergrant.rotation import revocation
from evergrant.rotation.fenced_save import SaveStep
from evergrant.rotation.publication import Publication
from evergrant.rotation.refresh_attempt import RefreshAttempt
from evergrant.rotation.refresh_demand import TokenDemand
from evergrant.rotation.refresh_steps import Refresh
from tests.proof.monitor import FORCED
from tests.proof.ports import Queue, Records
from tests.unit.memory import read_queued, unseal

Mutant = Callable[[], Any]


def fenced_by_the_lease() -> Any:
    """A save that is given up when the lease is another's, instead of one that is fenced by generation."""

    def keep(self: SaveStep, connection: Connection, change: RecordChange, *_: Any) -> Connection:
        only_if = connection.snapshot("lease_owner", "status")
        try:
            return self.records.change(connection.name, change.fields, events=change.events, only_if=only_if)
        except Conflict as conflict:
            return conflict.current or connection

    return mock.patch.object(SaveStep, "keep", keep)


def not_fenced() -> Any:
    """A save that goes through over any save before it."""

    def save(self: SaveStep, name: str, change: RecordChange, seen: RecordState) -> Connection:
        current = self.records.get(name)
        assert current is not None
        only_if = current.snapshot("status")
        return self.records.change(name, change.fields, events=change.events, only_if=only_if)

    return mock.patch.object(SaveStep, "save_fenced", save)


def no_marker() -> Any:
    """A lease, and no marker of the attempt."""
    mark = Refresh._mark

    def unmarked(self: Refresh, connection: Connection, marker: RecordFields) -> Connection:
        return mark(self, connection, {**marker, "attempt_id": None, "attempt_at": None, "attempt_replays": 0})

    return mock.patch.object(Refresh, "_mark", unmarked)


def published_before_it_is_saved() -> Any:
    save = Refresh._save_token_set

    def published(self: Refresh, attempt: RefreshAttempt, demand: TokenDemand, tokens: TokenSet, data_key: Any) -> Any:
        following = replace(attempt.connection, generation=attempt.connection.generation + 1)
        self._publication.publish(following, attempt.profile, tokens, self._invocation.worker)
        return save(self, attempt, demand, tokens, data_key)

    return mock.patch.object(Refresh, "_save_token_set", published)


def replayed_outside_the_grace() -> Any:
    return mock.patch.object(lost_response, "may_replay", return_value=True)


def probed_while_an_answer_may_be_on_its_way() -> Any:
    return mock.patch.object(lost_response, "MIN_REPLAY_DELAY_SECONDS", 0)


def forced_while_an_answer_may_be_on_its_way() -> Any:
    replay_at = lost_response.compute_replay_at

    def at_once(connection: Connection, profile: Profile, now: int, **more: Any) -> int | None:
        return now if FORCED.get() else replay_at(connection, profile, now, **more)

    return mock.patch.object(lost_response, "compute_replay_at", at_once)


def unsealed_in_the_queue() -> Any:
    build = queued_save.build_message

    def legible(connection: Connection, change: Sealed) -> dict[str, Any]:
        message = build(connection, change)
        sealed = read_queued(message)["sealed"]
        assert sealed is not None
        return {**message, "plain": unseal(sealed).decode()}

    return mock.patch.object(queued_save, "build_message", legible)


def nothing_in_the_queue() -> Any:
    return mock.patch.object(Queue, "arrive", return_value=None)


def forgotten_events() -> Any:
    return mock.patch.object(Publication, "_put_events", lambda self, connection: frozenset(connection.outbox))


def grace_counted_from_the_replay() -> Any:
    """A marker that is dated anew by each replay."""
    mark = Refresh._mark

    def dated_anew(self: Refresh, connection: Connection, marker: RecordFields) -> Connection:
        return mark(self, connection, {**marker, "attempt_at": self._now})

    return mock.patch.object(Refresh, "_mark", dated_anew)


def a_generation_for_each_replay() -> Any:
    mark = Refresh._mark

    def counted(self: Refresh, connection: Connection, marker: RecordFields) -> Connection:
        again = connection.attempt_id is not None
        return mark(self, connection, {**marker, "generation": connection.generation + again})

    return mock.patch.object(Refresh, "_mark", counted)


def replayed_without_a_second_look() -> Any:
    """A worker that stalls between marker and request sends all the same."""
    return mock.patch.object(RefreshAttempt, "_may_send", return_value=True)


def not_adopted() -> Any:
    """The worker that comes second goes on with its own response."""
    save = SaveStep.save_fenced

    def ours(self: SaveStep, name: str, change: RecordChange, seen: RecordState) -> Connection:
        saved = save(self, name, change, seen)
        return replace(saved, **cast(Any, change.fields)) if saved.generation > seen["generation"] else saved

    return mock.patch.object(SaveStep, "save_fenced", ours)


def released_without_the_lease() -> Any:
    deliver = Publication._deliver

    def unfenced(self: Publication, connection: Connection, change: Any, only_if: Any, *, complete: bool) -> Any:
        only_if = {name: value for name, value in only_if.items() if name != "lease_owner"}
        return deliver(self, connection, change.set(token_save.RELEASED_LEASE), only_if, complete=complete)

    return mock.patch.object(Publication, "_deliver", unfenced)


def published_without_the_lease() -> Any:
    publish = Publication.publish

    def unasked(self: Publication, connection: Connection, *args: Any, **more: Any) -> Connection:
        lease = {"lease_owner": args[2], "lease_until": self._now + 40}
        return publish(self, replace(connection, **lease), *args, **more)

    return mock.patch.object(Publication, "publish", unasked)


def a_strike_is_the_last_word() -> Any:
    return mock.patch.object(refusals._Refused, "is_second", new=True)


def events_that_displace_others() -> Any:
    apply = Records.apply

    def displacing(self: Records, connection: str, change: RecordChange, *args: Any) -> Connection:
        after = apply(self, connection, change, *args)
        added = {event_id: body for event_id, body in change.events.items() if body is not None}
        if added and self.items[connection] is after:
            self.items[connection] = after = replace(after, outbox=added)
        return after

    return mock.patch.object(Records, "apply", displacing)


def a_tombstone_of_the_same_generation() -> Any:
    apply = operator_actions._change

    def same(records: Any, connection: str, change_of: Any, *args: Any) -> Connection:
        def kept(current: Connection) -> RecordChange:
            change: RecordChange = change_of(current)
            return change.without("generation", "published_generation")

        return apply(records, connection, kept, *args)

    return mock.patch.object(operator_actions, "_change", same)


def a_marker_taken_back_regardless() -> Any:
    mark = Refresh._mark

    def unfenced(self: Refresh, connection: Connection, marker: RecordFields) -> Connection:
        try:
            return mark(self, connection, marker)
        except PortUnavailable:
            before = connection.snapshot("attempt_id", "attempt_at", "attempt_replays", "refresh_at")
            fields: Any = {**before, **schedule_due(connection, connection.due_at), **token_save.RELEASED_LEASE}
            self._records.change(connection.name, fields, only_if={"lease_owner": self._invocation.worker})
            raise

    return mock.patch.object(Refresh, "_mark", unfenced)


def revoked_without_a_look_at_what_there_is() -> Any:
    """A grant is revoked as if the account could not have been connected again since."""
    revoke = revocation.Revocation._revoke

    def at_once(self: revocation.Revocation, message: Mapping[str, Any]) -> Any:
        seen = self.ports.records.get(message["connection"])
        records = mock.Mock(get=mock.Mock(return_value=seen))
        return revoke(replace(self, ports=replace(self.ports, records=records)), message)

    return mock.patch.object(revocation.Revocation, "_revoke", at_once)
