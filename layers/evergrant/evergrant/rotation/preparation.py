"""The preparation: everything that a spend and its save will need, fetched before anything is spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import EvergrantError, ResponsePending
from ..http_messages import HttpRequest
from ..oauth.client import Client
from ..oauth.token_request import Phase, build_token_requests, choose_phase
from ..oauth.token_set import TokenSet
from ..ports import Clock, DataKey, PortUnavailable, Profiles, Seal, Vault
from ..profiles.model import HEADLESS_GRANTS, Profile
from ..record import failures, lost_response
from ..record.connection import Connection
from ..settings import Settings
from .circuit_breaker import CircuitBreaker, CircuitDecision
from .demand import Outcome, TokenDemand
from .refresh_attempt import TokenRequests


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a spend takes. ``previous`` is the token set that it replaces, ``fallback`` the log-in that follows a
    refused refresh where the profile says so."""

    profile: Profile
    previous: TokenSet | None = field(repr=False)
    client: Client
    decision: CircuitDecision
    requests: TokenRequests = field(repr=False)
    fallback: TokenRequests | None = field(repr=False)
    data_key: DataKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Nothing is to be sent now, and what to write down of it: nothing where it is written already.

    ``told`` is what an operator hears who would have it sent all the same.
    """

    changes: Mapping[str, Any]
    outcome: Outcome
    previous: TokenSet | None = field(default=None, repr=False)
    error: EvergrantError | None = None


@dataclass(frozen=True, slots=True)
class Preparation:
    """Prepares the spends of one pass.

    ``unsealed`` opens a connection's current token set; ``dependency_errors`` takes what services refused.
    """

    profiles: Profiles
    vault: Vault
    seal: Seal
    clock: Clock
    settings: Settings
    breaker: CircuitBreaker
    unsealed: Callable[[Connection], TokenSet | None]
    dependency_errors: list[str]

    def prepare(self, connection: Connection, ask: TokenDemand, tokens: TokenSet | None) -> Prepared | HeldBack:
        """Fetch what the spend needs, unless nothing is to be sent.

        Raises
        ------
        PortUnavailable
            Somebody asked, and a service of AWS failed. For the schedule that is a failure to be written down.
        """
        try:
            tokens = tokens or self.unsealed(connection)
            return self._prepared(connection, ask, tokens)
        except PortUnavailable as error:
            if ask.caller_waits:
                raise
            self.dependency_errors.append(str(error))
            code = failures.SERVICE_UNAVAILABLE
        except EvergrantError as error:
            code = error.code
        return HeldBack(failures.apply_preparation_failure(connection, code, self._now), "failed", tokens)

    def _prepared(self, connection: Connection, ask: TokenDemand, tokens: TokenSet | None) -> Prepared | HeldBack:
        profile = self.profiles.load_pinned(connection.profile_hash)
        held_back = self.held_back(connection, ask, profile, tokens)
        if held_back:
            return held_back
        client = self.vault.client(connection.client)
        passage = self.breaker.decide(connection, client.version, force=ask.force)
        if passage.held is not None:
            return HeldBack(passage.held, "waiting", tokens)
        phase = choose_phase(profile, connection.grant, tokens)
        log_in = (connection.grant, phase) == ("login", "refresh") and profile.rotation.fall_back_to_login
        return Prepared(
            profile,
            tokens,
            client,
            passage,
            self._requests(phase, connection, profile, client, tokens),
            self._requests("login", connection, profile, client, None) if log_in else None,
            self.seal.prepare(connection.name, connection.generation + 1),
        )

    def held_back(
        self, connection: Connection, ask: TokenDemand, profile: Profile, tokens: TokenSet | None
    ) -> HeldBack | None:
        """Why nothing may be sent at this moment, by the record alone. To be asked again by who had to wait."""
        now = self._now
        if connection.attempt_id is not None:
            again = lost_response.compute_replay_at(connection, profile, now, forced=ask.force)
            if ask.force and again is not None and again > now:
                return HeldBack({}, "waiting", tokens, ResponsePending(connection.name, again - now))
            if (again is None or again > now) and not (again is None and lost_response.is_probe_due(connection, now)):
                changes = lost_response.wait_in_doubt(connection, profile, now)
                known = connection.refresh_at is not None and connection.refresh_at > now
                known = known and connection.in_doubt_since is not None and "status" not in changes
                return HeldBack({} if known else changes, "waiting", tokens)
        refreshable = profile.refresh is not None and tokens is not None and tokens.refresh_token is not None
        if connection.grant not in HEADLESS_GRANTS and not refreshable:
            return HeldBack(failures.require_authorization(connection, now), "failed", tokens)
        return None

    def _requests(
        self, phase: Phase, connection: Connection, profile: Profile, client: Client, tokens: TokenSet | None
    ) -> TokenRequests:
        """The requests that obtain the next token set."""
        refresh_token = tokens.refresh_token if tokens else None
        values = {
            "refresh_token": refresh_token.reveal() if refresh_token else None,
            "redirect_uri": connection.redirect_uri,
            "scope": connection.scope,
        }

        def anew() -> tuple[HttpRequest, ...]:
            loopback = self.settings.allow_loopback
            return build_token_requests(
                profile, phase, connection.variables, client, values, now=self._now, loopback=loopback
            )

        return TokenRequests(anew(), anew)

    @property
    def _now(self) -> int:
        return int(self.clock.now())
