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
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from . import deferred, transitions
from .connection import AT_REST, Connection, Status
from .dialect import Refusal, next_phase
from .errors import (
    AuthorizationRequired,
    ClientRefused,
    Conflict,
    Disconnected,
    EvergrantError,
    LostAnswer,
    NotSent,
    Paused,
    TemporarilyUnavailable,
    UnknownConnection,
)
from .ports import Bus, Clock, DataKey, PortUnavailable, Profiles, Provider, Queue, Records, Seal, Vault
from .profile import HEADLESS, Profile
from .publication import Publication
from .settings import Settings
from .spending import Spend, Unreadable
from .tokens import TokenSet

#: A refused token younger than this (seconds) is not refreshed again: its refusal has another cause.
FORCED_COOLDOWN = 10
_POLL = 0.25

Outcome = Literal["rotated", "fresh", "published", "busy", "at_rest", "waiting", "handed_back", "failed"]


@dataclass(frozen=True, slots=True)
class Ask:
    """What is wanted of a connection.

    ``asked`` says that somebody waits, getter or an operator; else it is the schedule. ``min_ttl`` and ``wait`` are
    in seconds; ``rejected`` is the fingerprint of a token that the provider's API refused.
    """

    connection: str
    asked: bool = False
    min_ttl: int = 0
    rejected: str | None = None
    force: bool = False
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """How a pass over a connection ended. ``tokens`` is always there when somebody asked."""

    outcome: Outcome
    connection: Connection
    tokens: TokenSet | None = None


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything outside, see :mod:`evergrant.ports`."""

    records: Records
    seal: Seal
    vault: Vault
    provider: Provider
    queue: Queue
    bus: Bus
    profiles: Profiles
    clock: Clock


class Rotation:
    """The protocol over its ports, for one invocation.

    Parameters
    ----------
    deadline
        Epoch seconds at which this invocation ends: nothing is spent that could not be saved before.
    """

    def __init__(self, ports: Ports, settings: Settings, deadline: float = float("inf")) -> None:
        self._ports = ports
        self._settings = settings
        self._deadline = deadline
        self._worker = str(uuid.uuid4())
        self._publication = Publication(ports.records, ports.vault, ports.queue, ports.bus, ports.clock)
        self._opened: dict[tuple[str, int], TokenSet] = {}

    def run(self, ask: Ask) -> Result:
        """Do what is due, or what was asked.

        Raises
        ------
        UnknownConnection, Paused, Disconnected, AuthorizationRequired, ClientRefused, TemporarilyUnavailable
            When asked, and no valid token can be had. The schedule meets UnknownConnection only.
        """
        give_up = min(self._now + ask.wait, self._deadline)
        while True:
            connection = self._ports.records.get(ask.connection)
            if connection is None:
                raise UnknownConnection(ask.connection)
            if connection.status in AT_REST:
                return self._at_rest(ask, connection)
            tokens = self._unsealed(connection) if ask.asked else None
            try:
                if not self._wants_refresh(connection, ask, tokens):
                    return self._publish_unpublished(connection, ask, tokens)
                if not connection.leased(int(self._now)):
                    return self._refresh(connection, ask, tokens)
            except Conflict:
                pass  # somebody was quicker between our look and our write
            if not ask.asked or self._now + _POLL >= give_up:
                return self._serve(connection, ask, tokens, "busy")
            self._ports.clock.sleep(_POLL)

    def save_from_queue(self, message: Mapping[str, Any]) -> None:
        """Save a sealed set that the table would not take when it came (see :mod:`~evergrant.deferred`)."""
        self._fenced(message["connection"], deferred.changes_of(message), message["generation"], message["status"])

    # --- look -------------------------------------------------------------------------------------------------

    def _wants_refresh(self, connection: Connection, ask: Ask, tokens: TokenSet | None) -> bool:
        now = int(self._now)
        # Backing off, or waiting for a person: what is left is served, and nothing is hammered.
        failing = connection.failures > 0 and (connection.refresh_at is None or connection.refresh_at > now)
        if not ask.asked:
            return connection.refresh_at is not None and connection.refresh_at <= now
        if ask.force:
            return tokens is not None or connection.refresh_at is not None
        if tokens is None:
            return connection.refresh_at is not None and not failing
        age, left = now - tokens.issued_at, tokens.expires_at - now
        refused = ask.rejected == tokens.access_token.fingerprint
        # More than the tokens live cannot be had: then half a life is fresh enough.
        enough = ask.min_ttl if ask.min_ttl < tokens.lifetime else tokens.lifetime // 2
        youngest = max(FORCED_COOLDOWN if refused else 0, self._profile(connection).rotation.minimum_age)
        if left > 0 and ((left > enough and not refused) or age < youngest):
            return False
        return not failing

    def _serve(self, connection: Connection, ask: Ask, tokens: TokenSet | None, outcome: Outcome) -> Result:
        """What is left of the current token set, or the error that says why there is none."""
        now = int(self._now)
        if not ask.asked:
            return Result(outcome, connection, tokens)
        needs_a_person = connection.status in (Status.AUTHORIZATION_REQUIRED, Status.CLIENT_REFUSED)
        refused = tokens is not None and ask.rejected == tokens.access_token.fingerprint
        if tokens and tokens.expires_at > now and not (needs_a_person and refused):
            return Result(outcome, connection, tokens)
        if connection.status is Status.CLIENT_REFUSED:
            raise ClientRefused(connection.name, connection.client)
        if needs_a_person or connection.refresh_at is None:
            raise AuthorizationRequired(connection.name)
        reason = f" ({connection.last_error})" if connection.last_error else ""
        raise TemporarilyUnavailable(
            f"No valid token of {connection.name} can be had now{reason}.", max(connection.refresh_at - now, 1)
        )

    def _at_rest(self, ask: Ask, connection: Connection) -> Result:
        if not ask.asked:
            self._publication.deliver_outbox(connection)
            return Result("at_rest", connection)
        raise (Paused if connection.status is Status.PAUSED else Disconnected)(connection.name)

    # --- prepare, lease and mark, spend -----------------------------------------------------------------------

    def _refresh(self, connection: Connection, ask: Ask, tokens: TokenSet | None) -> Result:
        now = int(self._now)
        try:
            profile = self._profile(connection)
            tokens = tokens or self._unsealed(connection)
            in_doubt = connection.spend_id is not None
            again = transitions.replay_at(connection, profile, now) if in_doubt and not ask.force else now
            if again is None or again > now:
                return self._postponed(
                    connection, ask, tokens, transitions.in_doubt(connection, profile, now), "waiting"
                )
            can_refresh = profile.refresh is not None and tokens is not None and tokens.refresh_token is not None
            if connection.grant not in HEADLESS and not can_refresh:
                return self._postponed(connection, ask, tokens, transitions.must_authorize(connection, now), "failed")
            client = self._ports.vault.client(connection.client)
            data_key = self._ports.seal.prepare(connection.name, connection.generation + 1)
        except PortUnavailable as error:
            if ask.asked:
                raise TemporarilyUnavailable("A service of AWS that a refresh needs does not answer.", 10) from error
            return Result("failed", connection)
        except (Conflict, AuthorizationRequired):
            raise
        except EvergrantError as error:
            return self._postponed(
                connection, ask, tokens, transitions.unprepared(connection, error.code, now), "failed"
            )
        budgets, now = self._settings.budgets, int(self._now)
        if self._deadline - now < budgets.attempt + 2 * budgets.save:
            return self._serve(connection, ask, tokens, "handed_back")
        marked = self._marked(
            connection,
            {
                "lease_owner": self._worker,
                "lease_until": now + budgets.lease,
                "spend_id": connection.spend_id or str(uuid.uuid4()),
                "spend_at": connection.spend_at if in_doubt else now,
                "spend_tries": connection.spend_tries
                + (in_doubt and not transitions.may_replay(connection, profile, now)),
            },
        )
        phase, values = next_phase(profile, marked.grant, tokens), _values(marked, tokens)
        # Time is kept for the save twice: a table that hangs uses up its share, and the queue needs one too.
        end = min(now + budgets.spend, now + budgets.lease - budgets.save, self._deadline - 2 * budgets.save)
        spend = Spend(marked, profile, client, phase, values, tokens, end, in_doubt)
        return self._spend(spend, data_key, ask)

    def _marked(self, connection: Connection, marks: Mapping[str, Any]) -> Connection:
        """Take the lease and write the spend marker, in one write, if nothing has changed since the look."""
        try:
            return self._ports.records.change(
                connection.name,
                marks,
                only_if={name: getattr(connection, name) for name in ("generation", "status", "spend_id")},
                lease_free_at=int(self._now),
            )
        except PortUnavailable:
            # It may have been written all the same. Nothing is sent now, and a marker left behind would say "in doubt".
            unmarked = {name: getattr(connection, name) for name in ("spend_id", "spend_at", "spend_tries")}
            with suppress(Conflict, PortUnavailable):
                self._ports.records.change(
                    connection.name, {**unmarked, **transitions.RELEASED}, only_if={"lease_owner": self._worker}
                )
            raise

    def _spend(self, spend: Spend, data_key: DataKey, ask: Ask) -> Result:
        connection = spend.connection
        try:
            answer = spend.ask(self._ports.provider, self._ports.clock, self._settings)
        except Unreadable as error:
            changes = transitions.unread(connection, data_key.seal(error.body), int(self._now))
        except NotSent:
            changes = self._refused(spend, transitions.NOT_SENT)
        except LostAnswer:
            changes = transitions.lost(connection, spend.profile, int(self._now))
        else:
            if isinstance(answer, TokenSet):
                return self._saved(connection, spend.profile, answer, data_key)
            changes = self._refused(spend, answer)
        try:
            connection = self._ports.records.change(
                connection.name,
                {**changes, **transitions.RELEASED},
                only_if={
                    "generation": connection.generation,
                    "status": connection.status,
                    "lease_owner": self._worker,
                },
            )
        except Conflict as conflict:
            # Somebody rotated, re-connected, paused or took over meanwhile: theirs is the truth.
            if conflict.current is not None:
                connection = conflict.current
            return self._serve(connection, ask, self._unsealed(connection), "busy")
        self._publication.deliver_outbox(connection)
        return self._serve(connection, ask, spend.previous, "failed")

    def _refused(self, spend: Spend, refusal: Refusal) -> dict[str, Any]:
        now = int(self._now)
        if spend.in_doubt:
            return transitions.refused_in_doubt(spend.connection, spend.profile, refusal, now)
        return transitions.refused(spend.connection, refusal, now)

    def _postponed(
        self, connection: Connection, ask: Ask, tokens: TokenSet | None, changes: Mapping[str, Any], outcome: Outcome
    ) -> Result:
        """Nothing is sent now: write down why and until when."""
        connection = self._ports.records.change(
            connection.name,
            changes,
            only_if={"generation": connection.generation, "spend_id": connection.spend_id},
            lease_free_at=int(self._now),
        )
        self._publication.deliver_outbox(connection)
        return self._serve(connection, ask, tokens, outcome)

    # --- save and publish -------------------------------------------------------------------------------------

    def _saved(self, connection: Connection, profile: Profile, tokens: TokenSet, data_key: DataKey) -> Result:
        """Nothing else stands between the provider's answer and safety.

        Where the table will not take it, the sealed set goes into the queue as a message of its own.
        """
        sealed = data_key.seal(tokens.encode())
        changes = transitions.saved(connection, tokens, sealed, profile, self._settings, int(self._now))
        until = self._now + self._settings.budgets.save / 2
        while True:
            try:
                saved = self._fenced(connection.name, changes, connection.generation, connection.status)
                break
            except PortUnavailable:
                if self._now < until:
                    self._ports.clock.sleep(_POLL)
                    continue
            self._ports.queue.send(deferred.message(connection, changes))
            saved = replace(connection, **{name: changes[name] for name in changes if "." not in name})
            return Result("rotated", saved, tokens)
        if saved.sealed != sealed:
            return Result("busy", saved, self._unsealed(saved))  # another answer of this generation was first
        return Result("rotated", self._publication.publish(saved, profile, tokens, self._worker), tokens)

    def _fenced(self, name: str, changes: Mapping[str, Any], generation: int, status: str) -> Connection:
        """Save by generation. Returns the record as it then is: ours, or the one that was saved before."""
        try:
            return self._ports.records.change(name, changes, only_if={"generation": generation, "status": status})
        except Conflict as conflict:
            current: Connection | None = conflict.current
            if current is None:
                raise
            if current.generation != generation or current.status is Status.DISCONNECTED:
                return current  # an answer for a grant that was given up is nobody's
            if current.status is Status.PAUSED:
                changes = transitions.keeping_rest(dict(changes))
            return self._fenced(name, changes, generation, current.status)

    def _publish_unpublished(self, connection: Connection, ask: Ask, tokens: TokenSet | None) -> Result:
        now = int(self._now)
        if not connection.unpublished or connection.leased(now):
            return self._serve(connection, ask, tokens, "fresh")
        lease = {"lease_owner": self._worker, "lease_until": now + self._settings.budgets.lease}
        connection = self._ports.records.change(
            connection.name, lease, only_if={"generation": connection.generation}, lease_free_at=now
        )
        tokens = tokens or self._unsealed(connection)
        connection = self._publication.publish(connection, self._profile(connection), tokens, self._worker)
        return self._serve(connection, ask, tokens, "published")

    # --- small things -----------------------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        return self._ports.clock.now()

    def _profile(self, connection: Connection) -> Profile:
        return self._ports.profiles.pinned(connection.profile_hash)

    def _unsealed(self, connection: Connection) -> TokenSet | None:
        if connection.sealed is None:
            return None
        key = connection.name, connection.generation
        if key not in self._opened:
            plain = self._ports.seal.unseal(connection.sealed, *key)
            self._opened = {key: TokenSet.decode(plain)}
        return self._opened[key]


def _values(connection: Connection, tokens: TokenSet | None) -> dict[str, str | None]:
    """What the request that obtains the next token set may need."""
    refresh_token = tokens.refresh_token if tokens else None
    return {
        "refresh_token": refresh_token.reveal() if refresh_token else None,
        "redirect_uri": connection.redirect_uri,
        "scope": connection.scope,
    }
