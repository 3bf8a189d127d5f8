"""One refresh of one connection, safe against two workers, a crash at any instruction and a lost answer.

Two rules carry it: *a token set in hand is never thrown away*, and *nothing is spent until the previous answer is
saved*. The steps, in the order of the code:

1. **Look**: a strongly consistent read. Fresh enough for what was asked? Publish what is unpublished, done.
2. **Prepare**: fetch everything that the save will need (client, profile, data key) before anything is spent.
3. **Lease and mark**: one conditional write takes the lease and writes the spend marker, if the generation looked at
   is still the current one.
4. **Spend**: ask the provider. In doubt, replay the same refresh token only inside the provider's grace.
5. **Save**: seal, then one write fenced by *generation*, not by lease: who brings the first answer wins.
6. **Publish**: the secret, the events, then one write that clears the outbox, frees the lease and sets the due date.

docs/rotation.md says what happens when it stops at each of them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import Any

from ..errors import Conflict, EvergrantError, LostResponse, NotSent, UnknownConnection
from ..oauth.token_set import TokenSet
from ..ports import DataKey, PortUnavailable, RotationPorts
from ..profiles.model import Profile
from ..record import failures, lost_response, token_save
from ..record.connection import INACTIVE_STATUSES, Connection
from ..settings import Settings
from . import disconnection, revocation
from .circuit_breaker import CircuitBreaker
from .demand import Outcome, Result, TokenDemand, count_early_refreshes, is_refresh_wanted, serve_current
from .preparation import HeldBack, Preparation, Prepared
from .publication import Publication
from .refresh_attempt import AttemptOutcome, KeptUnreadable, RefreshAttempt
from .reparse import reparse_response
from .revocation import Revocation
from .save import POLL_SECONDS, SaveStep


class Rotation:
    """The protocol over its ports, for one invocation.

    Parameters
    ----------
    deadline
        Epoch seconds at which this invocation ends: nothing is spent that could not be saved before.
    turn
        Held from the spend marker to the provider's answer: how many may ask a provider at once.
    """

    def __init__(
        self,
        ports: RotationPorts,
        settings: Settings,
        deadline: float = float("inf"),
        turn: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._ports = ports
        self._settings = settings
        self._deadline = deadline
        #: When whoever asked has waited for long enough.
        self._give_up = deadline
        self._turn = turn or nullcontext()
        self._worker = str(uuid.uuid4())
        #: What services of AWS refused, by call and their own codes: the next pass has yet to do it.
        self.dependency_errors: list[str] = []
        self._saving = SaveStep(ports.records, ports.queue, ports.clock, settings.budgets.save)
        self._publication = Publication(
            ports.records, ports.vault, ports.queue, ports.bus, ports.clock, ports.profiles, self.dependency_errors
        )
        self._breaker = CircuitBreaker(ports.circuits, ports.queue, ports.clock, settings.budgets.lease)
        self._preparation = Preparation(
            ports.profiles,
            ports.vault,
            ports.seal,
            ports.clock,
            settings,
            self._breaker,
            self._unsealed,
            self.dependency_errors,
        )
        self._revoking = Revocation(
            ports.records, ports.seal, ports.vault, ports.provider, ports.queue, ports.profiles, ports.clock, settings
        )
        self._opened: dict[tuple[str, int], TokenSet] = {}

    def run(self, ask: TokenDemand) -> Result:
        """Do what is due, or what was asked.

        Raises
        ------
        UnknownConnection, Paused, Disconnected, AuthorizationRequired, ClientRefused, TemporarilyUnavailable
            When asked, and no valid token can be had. The schedule meets UnknownConnection only.
        ResponsePending
            When forced, and the same refresh token must not be sent again yet.
        PortUnavailable
            A service of AWS failed, and there is no valid token in hand to serve meanwhile.
        """
        self._give_up = give_up = min(self._now + ask.wait if ask.caller_waits else self._deadline, self._deadline)
        while True:
            connection = self._looked_at(ask.connection)
            tokens = self._unsealed(connection) if ask.caller_waits else None
            if connection.status in INACTIVE_STATUSES:
                if not ask.caller_waits:
                    if connection.to_revoke is not None and self._let_go(connection) == "busy":
                        return Result("busy", connection)
                    return Result("inactive", self._publication.deliver(connection))
                return self._served(connection, ask, tokens, "inactive")
            try:
                if not self._wanted(connection, ask, tokens):
                    return self._publish_unpublished(connection, ask, tokens)
                if not connection.is_leased(int(self._now)):
                    return self._refresh(connection, ask, tokens)
            except Conflict:
                pass  # somebody was quicker between our look and our write
            except PortUnavailable as error:
                if tokens is None or tokens.expires_at <= self._now:
                    raise
                self.dependency_errors.append(str(error))
                return self._served(connection, ask, tokens, "failed")
            if not ask.caller_waits or self._now + POLL_SECONDS >= give_up:
                return self._served(connection, ask, tokens, "busy")
            self._ports.clock.sleep(POLL_SECONDS)

    def save_from_queue(self, message: Mapping[str, Any]) -> bool:
        """Save an answer that the table would not take when it came (see :meth:`.Saving.save_message`)."""
        return self._saving.save_message(message, self._ports.seal)

    def reparse(self, connection: str, profile_hash: str) -> None:
        """Read an answer that could not be read by a mended profile (see :mod:`~evergrant.rotation.reparse`)."""
        reparse_response(self._ports, self._settings, self._deadline, connection, profile_hash)

    def revoke_from_queue(self, message: Mapping[str, Any]) -> revocation.Outcome:
        """Revoke a grant that is over (see :mod:`~evergrant.rotation.revocation`)."""
        return self._revoking.run(message)

    def revoke_and_forget(self, connection: str) -> disconnection.Outcome:
        """Revoke and forget the grant of a disconnected connection (see :mod:`~evergrant.rotation.disconnection`)."""
        return self._let_go(self._looked_at(connection))

    # --- prepare, lease and mark, spend -----------------------------------------------------------------------

    def _refresh(self, connection: Connection, ask: TokenDemand, tokens: TokenSet | None) -> Result:
        prepared = self._preparation.prepare(connection, ask, tokens)
        if isinstance(prepared, HeldBack):
            tokens = prepared.previous or tokens
            if prepared.error:
                raise prepared.error
            if not prepared.changes:
                return self._served(connection, ask, tokens, prepared.outcome)
            return self._settled(connection, ask, tokens, prepared.changes, prepared.outcome)
        with self._turn:
            budgets, now = self._settings.budgets, int(self._now)
            if self._deadline - now < budgets.request + 2 * budgets.save:
                return self._served(connection, ask, prepared.previous, "no_time")
            if self._preparation.held_back(connection, ask, prepared.profile, prepared.previous):
                # The grace ran out while this waited for its turn. The claim on the due index brings it back.
                return self._served(connection, ask, prepared.previous, "waiting")
            if not self._breaker.claim(connection, prepared.decision):
                return self._served(connection, ask, prepared.previous, "busy")
            in_doubt = connection.attempt_id is not None
            marks = {
                "lease_owner": self._worker,
                "lease_until": now + budgets.lease,
                "attempt_id": connection.attempt_id or str(uuid.uuid4()),
                "attempt_at": connection.attempt_at if in_doubt else now,
                "attempt_replays": connection.attempt_replays
                + (in_doubt and not lost_response.may_replay(connection, prepared.profile, now)),
                "in_doubt_since": None,
                # Should this worker die, another one comes by as soon as it may: a provider's grace is short.
                **token_save.schedule_refresh(connection, now + budgets.lease),
            }
            try:
                marked = self._marked(connection, marks)
            except (Conflict, PortUnavailable):
                self._breaker.release_probe(prepared.decision, {})  # a probe that was claimed is still to be sent
                raise
            # Time is kept for the save twice: a table that hangs uses up its share, and the queue needs one too.
            end = min(now + budgets.attempt, now + budgets.lease - budgets.save, self._deadline - 2 * budgets.save)
            spend = RefreshAttempt(
                replace(marked, in_doubt_since=connection.in_doubt_since),  # what is known of the tries before
                prepared.profile,
                prepared.requests,
                prepared.client.hosts,
                prepared.previous,
                end,
                in_doubt,
                prepared.fallback,
            )
            answer = spend.outcome(self._ports.provider, self._ports.clock, budgets)
        return self._concluded(spend, answer, prepared, ask)

    def _marked(self, connection: Connection, marks: Mapping[str, Any]) -> Connection:
        """Take the lease and write the spend marker, in one write, if nothing has changed since the look."""
        seen = ("generation", "status", "attempt_id", "attempt_replays")
        try:
            return self._ports.records.change(
                connection.name,
                marks,
                only_if={name: getattr(connection, name) for name in seen},
                lease_free_at=int(self._now),
            )
        except PortUnavailable:
            # It may have been written all the same. Nothing is sent now, and a marker left behind would say "in doubt".
            # Taken back only while nobody has drawn a conclusion from it: its next try stands then.
            before = (
                "attempt_id",
                "attempt_at",
                "attempt_replays",
                "in_doubt_since",
                "refresh_at",
                "due_at",
                "due_shard",
            )
            unmarked = {name: getattr(connection, name) for name in before}
            ours = {"lease_owner": self._worker, "status": connection.status, "refresh_at": marks["refresh_at"]}
            with suppress(Conflict, PortUnavailable):
                self._ports.records.change(connection.name, {**unmarked, **token_save.RELEASED_LEASE}, only_if=ours)
            raise

    def _concluded(self, spend: RefreshAttempt, answer: AttemptOutcome, prepared: Prepared, ask: TokenDemand) -> Result:
        connection, passage, data_key = spend.connection, prepared.decision, prepared.data_key
        for_itself = passage.ignore_client_refusal(connection)
        if isinstance(answer, TokenSet):
            result = self._saved(spend, ask, answer, data_key)
            self._breaker.accepted(connection, passage)
            return result
        if isinstance(answer, KeptUnreadable):
            sealed = data_key.seal(answer.kept.encode())
            changes = lost_response.apply_unreadable_response(for_itself, spend.profile, sealed, int(self._now))
            if "unreadable_response" in changes:
                kept = self._kept(connection, token_save.deliver_soon(connection, changes, int(self._now)))
                self._breaker.release_probe(passage, changes)
                return self._served(self._publication.deliver(kept), ask, spend.previous, "failed")
        elif isinstance(answer, LostResponse):
            changes = lost_response.apply_lost_response(for_itself, spend.profile, int(self._now))
            self._breaker.release_probe(passage, changes)
        else:
            refusal = failures.NOT_SENT if isinstance(answer, NotSent) else answer
            changes = self._breaker.refused(spend, refusal, passage)
        try:
            return self._settled(connection, ask, spend.previous, changes, "failed")
        except Conflict as conflict:
            # Somebody rotated, re-connected, paused or took over meanwhile: theirs is the truth.
            current = conflict.current or connection
            return self._served(current, ask, self._unsealed(current) if ask.caller_waits else None, "busy")

    def _settled(
        self,
        connection: Connection,
        ask: TokenDemand,
        tokens: TokenSet | None,
        changes: Mapping[str, Any],
        outcome: Outcome,
    ) -> Result:
        """No token set came of this pass: write down why, tell of it, and serve what is left.

        Raises
        ------
        Conflict
            Somebody else changed the connection meanwhile.
        """
        ours = connection.lease_owner == self._worker
        # A refresh that keeps failing does not keep the current token from consumers: then this lease publishes it.
        publishes = tokens is not None and connection.direct_read
        publishes = publishes and connection.published_generation != connection.generation
        changes = failures.alert_when_urgent(connection, changes, int(self._now))
        changes = token_save.deliver_soon(connection, changes, int(self._now))
        seen = ("generation", "status", "attempt_id", *(("lease_owner",) if ours else ()))
        patience = self._settings.budgets.save
        until = min(self._now + patience, self._deadline)
        if ours and "attempt_replays" in changes:
            # The provider did not act upon it. Who comes next finds the marker and must think that it may have.
            until = max(until, min(self._give_up, self._deadline - patience))
        while True:
            lease: dict[str, Any] = token_save.RELEASED_LEASE if ours else {}
            if publishes:
                lease = {"lease_owner": self._worker, "lease_until": int(self._now) + self._settings.budgets.lease}
            try:
                settled = self._ports.records.change(
                    connection.name,
                    {**changes, **lease},
                    only_if={name: getattr(connection, name) for name in seen},
                    lease_free_at=None if ours else int(self._now),
                )
                self._breaker.mark_event_persisted()
                current = self._published(settled, tokens) if publishes else self._publication.deliver(settled)
                return self._served(current, ask, tokens, outcome)
            except PortUnavailable as error:
                # The claim on the due index brings the connection back; until then the record says less than we know.
                if self._now >= until:
                    self.dependency_errors.append(str(error))
                    return self._served(connection, ask, tokens, outcome)
                self._ports.clock.sleep(POLL_SECONDS)

    def _published(self, connection: Connection, tokens: TokenSet | None) -> Connection:
        try:
            profile = self._profile(connection)
        except (EvergrantError, PortUnavailable):
            return connection  # the lease runs out, and the next pass comes by
        return self._publication.publish(connection, profile, tokens, self._worker)

    # --- save and publish -------------------------------------------------------------------------------------

    def _saved(self, spend: RefreshAttempt, ask: TokenDemand, tokens: TokenSet, data_key: DataKey) -> Result:
        """Nothing else stands between the provider's answer and safety."""
        connection, profile, sealed = spend.connection, spend.profile, data_key.seal(tokens.encode())
        changes = token_save.save_token_set(connection, tokens, sealed, profile, self._settings, int(self._now))
        changes["early_refreshes"] = count_early_refreshes(connection, ask, spend.previous, tokens)
        saved = self._kept(connection, changes)
        if saved.sealed != sealed:
            return Result("busy", saved, self._unsealed(saved))  # another answer of this generation was first
        return Result("rotated", self._publication.publish(saved, profile, tokens, self._worker), tokens)

    def _kept(self, connection: Connection, changes: Mapping[str, Any]) -> Connection:
        """Keep an answer in hand; the record as it then is, or as it will be when the queue's message is saved."""
        kept = self._saving.keep(connection, changes, self._deadline)
        if kept is not None:
            return kept
        applied = {name: value for name, value in changes.items() if "." not in name}
        return replace(connection, **applied, **token_save.RELEASED_LEASE)

    def _publish_unpublished(self, connection: Connection, ask: TokenDemand, tokens: TokenSet | None) -> Result:
        now = int(self._now)
        if connection.warn_at is not None and connection.warn_at <= now:
            seen = {name: getattr(connection, name) for name in ("generation", "status", "warn_at")}
            connection = self._ports.records.change(
                connection.name, token_save.apply_expiry_warning(connection, now), only_if=seen
            )
        anew = self._outdated(connection, ask, tokens)
        if not (connection.is_unpublished or anew) or connection.is_leased(now):
            return self._served(connection, ask, tokens, "fresh")
        lease = {"lease_owner": self._worker, "lease_until": now + self._settings.budgets.lease}
        connection = self._ports.records.change(
            connection.name,
            lease,
            only_if={"generation": connection.generation, "status": connection.status},
            lease_free_at=now,
        )
        tokens = tokens or self._unsealed(connection)
        connection = self._publication.publish(connection, self._profile(connection), tokens, self._worker, anew=anew)
        return self._served(connection, ask, tokens, "unpublished" if connection.is_unpublished else "published")

    def _outdated(self, connection: Connection, ask: TokenDemand, tokens: TokenSet | None) -> bool:
        """Whether consumers are shown an older token: whoever is shown the current one has no reason to ask."""
        if tokens is None or not ask.caller_waits or ask.rejected == tokens.access_token.fingerprint:
            return False
        profile = self._profile(connection)
        readable = token_save.is_directly_readable(connection, tokens, profile, self._settings)
        return readable and self._publication.outdated(connection, profile, tokens)

    # --- small things -----------------------------------------------------------------------------------------

    def _looked_at(self, name: str) -> Connection:
        connection = self._ports.records.get(name)
        if connection is None:
            raise UnknownConnection(name)
        return connection

    def _let_go(self, connection: Connection) -> disconnection.Outcome:
        records, clock = self._ports.records, self._ports.clock
        return disconnection.revoke_and_forget(records, self._revoking, clock, self._settings, self._worker, connection)

    def _wanted(self, connection: Connection, ask: TokenDemand, tokens: TokenSet | None) -> bool:
        minimum_age = self._profile(connection).rotation.minimum_age if tokens else 0
        return is_refresh_wanted(connection, ask, tokens, minimum_age, int(self._now))

    def _served(self, connection: Connection, ask: TokenDemand, tokens: TokenSet | None, outcome: Outcome) -> Result:
        return serve_current(connection, ask, tokens, outcome, int(self._now))

    @property
    def _now(self) -> float:
        return self._ports.clock.now()

    def _profile(self, connection: Connection) -> Profile:
        return self._ports.profiles.load_pinned(connection.profile_hash)

    def _unsealed(self, connection: Connection) -> TokenSet | None:
        if connection.sealed is None:
            return None
        key = connection.name, connection.generation
        if key not in self._opened:
            plain = self._ports.seal.unseal(connection.sealed, *key)
            self._opened = {key: TokenSet.decode(plain)}
        return self._opened[key]
