"""Steps 2 to 6 of a pass: prepare, lease and mark, attempt, save, publish (see :mod:`.connection_pass`)."""

from __future__ import annotations

import uuid
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

from ..errors import Conflict, EvergrantError, LostResponse, NotSent
from ..oauth.error_response import Refusal
from ..oauth.token_set import TokenSet
from ..ports import DataKey, PortUnavailable, RotationPorts
from ..record import failures, lost_response, refusals, token_save
from ..record.circuit import Surroundings
from ..record.connection import Connection, RecordChange, RecordFields
from ..record.failures import Reason
from ..record.refresh_schedule import deliver_soon, schedule_refresh
from ..record.refusals import announce_incident
from ..record.token_save import RELEASED_LEASE
from ..settings import Settings
from .circuit_breaker import CircuitBreaker
from .fenced_save import POLL_SECONDS, SaveStep
from .preparation import HeldBack, Preparation, Prepared, SealedTokenSets
from .publication import Publication
from .refresh_attempt import AttemptOutcome, KeptUnreadable, RefreshAttempt
from .refresh_demand import Outcome, Result, TokenDemand, count_early_refreshes, serve_current


@dataclass(slots=True)
class Invocation:
    """One invocation of rotator.

    ``deadline`` is the epoch second at which it ends. ``turn`` is held from the attempt's marker to the provider's
    response: it limits how many requests are at providers at once. ``give_up_at`` is when a waiting caller has waited
    long enough. ``dependency_errors`` collects the calls that services of AWS refused, with their own codes: the next
    pass has yet to make them. ``failure`` is why the last attempt failed, for the log.
    """

    ports: RotationPorts
    settings: Settings
    deadline: float
    turn: AbstractContextManager[Any] = field(default_factory=nullcontext)
    worker: str = field(default_factory=lambda: str(uuid.uuid4()))
    give_up_at: float = float("inf")
    dependency_errors: list[str] = field(default_factory=list)
    failure: Reason | None = None


class Refresh:
    """One refresh of a connection that is due, or whose caller demands it."""

    def __init__(
        self,
        invocation: Invocation,
        save_step: SaveStep,
        publication: Publication,
    ) -> None:
        ports, settings = invocation.ports, invocation.settings
        self._invocation = invocation
        self._records, self._clock = ports.records, ports.clock
        self._budgets = settings.budgets
        self.token_sets = SealedTokenSets(ports.seal)
        self._save_step = save_step
        self._publication = publication
        self._breaker = CircuitBreaker(ports.circuits, ports.queue, ports.clock)
        self._preparation = Preparation(ports, settings, self._breaker, self.token_sets, invocation.dependency_errors)

    def run(self, connection: Connection, demand: TokenDemand, tokens: TokenSet | None) -> Result:
        """Refresh a connection as it was read.

        Raises
        ------
        Conflict
            Another worker changed the record meanwhile.
        PortUnavailable
        ResponsePending
        """
        prepared = self._preparation.prepare(connection, demand, tokens)
        if isinstance(prepared, HeldBack):
            return self._stop(connection, demand, prepared, tokens)
        with self._invocation.turn:
            now = self._now  # one time for the checks and the marker
            obstacle = self._find_late_obstacle(connection, demand, prepared, now)
            if obstacle:
                return self._serve(connection, demand, prepared.previous, obstacle)
            attempt = self._begin_attempt(connection, prepared, now)
            outcome = attempt.run(self._invocation.ports.provider, self._clock, self._budgets)
        return self._conclude(attempt, outcome, prepared, demand)

    # --- before the request -----------------------------------------------------------------------------------

    def _stop(
        self, connection: Connection, demand: TokenDemand, held_back: HeldBack, tokens: TokenSet | None
    ) -> Result:
        """End a pass in which nothing is sent."""
        tokens = held_back.previous or tokens
        if not held_back.change:
            if held_back.error:
                raise held_back.error
            return serve_current(connection, demand, tokens, held_back.outcome, self._now, held_back.circuit)
        result = self._record_failure(connection, demand, tokens, held_back.change, held_back.outcome)
        if held_back.error and demand.force:
            raise held_back.error
        return result

    def _find_late_obstacle(
        self, connection: Connection, demand: TokenDemand, prepared: Prepared, now: int
    ) -> Outcome | None:
        """Find what keeps a prepared request from being sent, now that it is this worker's turn."""
        if self._invocation.deadline - now < self._budgets.request + 2 * self._budgets.save:
            return "no_time"
        if self._preparation.find_obstacle(connection, demand, prepared.profile, prepared.previous):
            # The grace ended while this waited for its turn. The claim on the due index brings it back.
            return "waiting"
        return None

    def _begin_attempt(self, connection: Connection, prepared: Prepared, now: int) -> RefreshAttempt:
        """Take the lease and mark the attempt, both as of ``now``."""
        budgets = self._budgets
        in_doubt = connection.attempt_id is not None
        is_counted = in_doubt and not lost_response.may_replay(connection, prepared.profile, now)
        marker: RecordFields = {
            "lease_owner": self._invocation.worker,
            "lease_until": now + budgets.lease,
            "attempt_id": connection.attempt_id or str(uuid.uuid4()),
            # A provider's grace counts from the first request that it may have acted upon.
            "attempt_at": connection.attempt_at if in_doubt else connection.unclear_at or now,
            "attempt_replays": connection.attempt_replays + is_counted,
            "in_doubt_since": None,
            "endpoint": prepared.endpoint,
            "token_rejected_at": connection.token_rejected_at,
            # Should this worker die, another one follows as soon as it may: a provider's grace is short.
            **schedule_refresh(connection, now + budgets.lease),
        }
        marked = self._mark(connection, marker)
        # Time is kept for the save twice: a table that hangs uses up its share, and the queue needs one too.
        deadline = self._invocation.deadline
        end = min(now + budgets.attempt, now + budgets.lease - budgets.save, deadline - 2 * budgets.save)
        return RefreshAttempt(
            replace(marked, in_doubt_since=connection.in_doubt_since),  # what is known of the requests before
            prepared.profile,
            prepared.requests,
            prepared.client.hosts,
            prepared.previous,
            end,
            in_doubt,
            prepared.fallback,
        )

    def _mark(self, connection: Connection, marker: RecordFields) -> Connection:
        """Write lease and marker, in one write, if nothing has changed since the read."""
        # A complete attempt of another worker leaves no marker: its failure is what it leaves.
        seen = connection.snapshot("generation", "status", "attempt_id", "attempt_replays", "failures")
        now = self._now
        try:
            return self._records.change(connection.name, marker, only_if=seen, lease_free_at=now)
        except PortUnavailable:
            # It may have been written all the same. Nothing is sent now, and a marker left behind would say "in doubt".
            # It is taken back unless another worker has drawn a conclusion from it: its next try stands then.
            names = (*token_save.NO_ATTEMPT, "refresh_at", "due_at", "due_shard")
            before = cast(RecordFields, connection.snapshot(*names))
            ours = connection.snapshot("status")
            ours |= {"lease_owner": self._invocation.worker, "refresh_at": marker["refresh_at"]}
            with suppress(Conflict, PortUnavailable):
                self._records.change(connection.name, {**before, **RELEASED_LEASE}, only_if=ours)
            raise

    # --- after the request ------------------------------------------------------------------------------------

    def _conclude(
        self, attempt: RefreshAttempt, outcome: AttemptOutcome, prepared: Prepared, demand: TokenDemand
    ) -> Result:
        """Save the token set, or record the failure."""
        connection = attempt.connection
        if isinstance(outcome, TokenSet):
            result = self._save_token_set(attempt, demand, outcome, prepared)
            self._breaker.record(connection, outcome, prepared.surroundings)
            return result
        surroundings = self._breaker.record(connection, outcome, prepared.surroundings)
        self._invocation.failure = _explain(outcome)
        change = self._apply(attempt, outcome, surroundings, prepared)
        if surroundings.client.incident_at is not None and prepared.surroundings.client.incident_at is None:
            change |= announce_incident(connection, surroundings.client, self._now)
            self._breaker.mark_alerted(surroundings.client)
        if "unreadable_response" in change.fields:
            kept = self._keep(connection, deliver_soon(connection, change, self._now), prepared.data_key)
            return self._serve(self._publication.deliver(kept), demand, attempt.previous, "failed")
        try:
            return self._record_failure(connection, demand, attempt.previous, change, "failed", surroundings)
        except Conflict as conflict:
            # Another worker rotated, re-connected, paused or took over meanwhile: its record is the truth.
            current = conflict.current or connection
            tokens = self.token_sets.open_current(current) if demand.caller_waits else None
            return self._serve(current, demand, tokens, "busy")

    def _apply(
        self,
        attempt: RefreshAttempt,
        outcome: Refusal | KeptUnreadable | NotSent | LostResponse,
        surroundings: Surroundings,
        prepared: Prepared,
    ) -> RecordChange:
        """Return what an outcome that is no token set changes in the record."""
        connection, profile, now = attempt.connection, attempt.profile, self._now
        if isinstance(outcome, KeptUnreadable):
            sealed = prepared.data_key.seal(outcome.kept.encode(prepared.issuance))
            return lost_response.apply_unreadable_response(connection, profile, sealed, surroundings, now)
        if isinstance(outcome, LostResponse):
            return lost_response.apply_lost_response(connection, profile, outcome.reason, surroundings, now)
        refusal = refusals.NOT_SENT if isinstance(outcome, NotSent) else outcome
        apply = lost_response.apply_refusal_in_doubt if attempt.in_doubt else refusals.apply_refusal
        change = apply(connection, profile, refusal, surroundings, now)
        return change.set({"last_detail": outcome.reason}) if isinstance(outcome, NotSent) else change

    def _record_failure(
        self,
        connection: Connection,
        demand: TokenDemand,
        tokens: TokenSet | None,
        change: RecordChange,
        outcome: Outcome,
        surroundings: Surroundings | None = None,
    ) -> Result:
        """Record why this pass brought no token set, report it, and serve the current one.

        Raises
        ------
        Conflict
            Another worker changed the record meanwhile.
        """
        invocation = self._invocation
        is_ours = connection.lease_owner == invocation.worker
        # A refresh that keeps failing does not keep the current token from consumers: then this lease publishes it.
        publishes = tokens is not None and _is_document_unpublished(connection)
        change, reported = failures.alert_when_due(connection, change, surroundings, self._now)
        change = deliver_soon(connection, change, self._now)
        seen = connection.snapshot("generation", "status", "attempt_id", *(("lease_owner",) if is_ours else ()))
        until = self._write_until(is_ours=is_ours, change=change)
        while True:
            lease: RecordFields = RELEASED_LEASE if is_ours else {}
            if publishes:
                lease = self._lease
            try:
                recorded = self._records.change(
                    connection.name,
                    {**change.fields, **lease},
                    events=change.events,
                    only_if=seen,
                    lease_free_at=None if is_ours else self._now,
                )
            except PortUnavailable as error:
                # The claim on the due index brings the connection back; until then the record says less than we know.
                if self._clock.now() >= until:
                    invocation.dependency_errors.append(str(error))
                    return self._serve(connection, demand, tokens, outcome)
                self._clock.sleep(POLL_SECONDS)
                continue
            if reported is not None:
                self._breaker.mark_alerted(reported)
            current = self._publish(recorded, tokens) if publishes else self._publication.deliver(recorded)
            return self._serve(current, demand, tokens, outcome)

    def _write_until(self, *, is_ours: bool, change: RecordChange) -> float:
        """Return the epoch second until which a table that fails is tried again."""
        patience, deadline = self._budgets.save, self._invocation.deadline
        until = min(self._clock.now() + patience, deadline)
        if is_ours and "attempt_replays" in change.fields:
            # The provider did not act. The next worker finds the marker and must assume that it may have.
            return max(until, min(self._invocation.give_up_at, deadline - patience))
        return until

    def _save_token_set(
        self, attempt: RefreshAttempt, demand: TokenDemand, tokens: TokenSet, prepared: Prepared
    ) -> Result:
        """Save and publish: nothing else stands between the provider's response and safety."""
        connection, profile, data_key = attempt.connection, attempt.profile, prepared.data_key
        sealed = data_key.seal(tokens.encode(prepared.issuance))
        change = token_save.save_token_set(connection, tokens, sealed, profile, self._invocation.settings, self._now)
        early = count_early_refreshes(connection, demand, attempt.previous, tokens)
        saved = self._keep(connection, change.set({"early_refreshes": early}), data_key)
        if saved.sealed != sealed:
            # Another response of this generation arrived first.
            return self._serve(saved, demand, self.token_sets.open_current(saved), "busy")
        published = self._publication.publish(saved, profile, tokens, self._invocation.worker)
        return self._serve(published, demand, tokens, "rotated")  # unless it had expired when it came

    def _keep(self, connection: Connection, change: RecordChange, data_key: DataKey) -> Connection:
        """Keep a response in hand; the record as it then is, or as it will be when the queue's message is saved."""
        kept = self._save_step.keep(connection, change, data_key, self._invocation.deadline)
        if kept is not None:
            return kept
        return replace(connection, **cast(dict[str, Any], {**change.fields, **RELEASED_LEASE}))

    def _publish(self, connection: Connection, tokens: TokenSet | None) -> Connection:
        try:
            profile = self._invocation.ports.profiles.load_pinned(connection.profile_hash)
        except (EvergrantError, PortUnavailable):
            return connection  # the lease expires, and the next pass publishes
        return self._publication.publish(connection, profile, tokens, self._invocation.worker)

    @property
    def _now(self) -> int:
        return int(self._clock.now())

    @property
    def _lease(self) -> RecordFields:
        """The fields of a lease that begins now."""
        return {"lease_owner": self._invocation.worker, "lease_until": self._now + self._budgets.lease}

    def _serve(self, connection: Connection, demand: TokenDemand, tokens: TokenSet | None, outcome: Outcome) -> Result:
        return serve_current(connection, demand, tokens, outcome, self._now)


def _explain(outcome: Refusal | KeptUnreadable | NotSent | LostResponse) -> Reason:
    if isinstance(outcome, Refusal):
        return refusals.explain(outcome)
    if isinstance(outcome, KeptUnreadable):
        return Reason(failures.UNREADABLE, outcome.kept.response.status)
    return Reason(outcome.code, detail=outcome.reason)


def _is_document_unpublished(connection: Connection) -> bool:
    return connection.direct_read and connection.published_generation != connection.generation
