"""The preparation: everything that an attempt and its save need, fetched before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import AuthorizationRequired, EvergrantError, ProfileTampered, RecordTampered, ResponsePending
from ..http_messages import HttpRequest
from ..oauth.client import Client
from ..oauth.issuance import Issuance, describe_issuance, require_issued_for
from ..oauth.token_request import Phase, build_token_requests, choose_phase, find_endpoint
from ..oauth.token_set import TokenSet
from ..ports import DataKey, PortUnavailable, RotationPorts, Seal
from ..profiles.model import HEADLESS_GRANTS, Profile
from ..record import failures, lost_response, retries
from ..record.circuit import Circuit, Surroundings
from ..record.connection import STALE, Connection, RecordChange
from ..record.refresh_schedule import schedule_refresh
from ..record.sealed import Sealed
from ..settings import Settings
from .circuit_breaker import CircuitBreaker
from .refresh_attempt import TokenRequests
from .refresh_demand import Outcome, TokenDemand


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that an attempt takes. ``previous`` is the token set that it replaces, ``fallback`` the log-in that follows a
    refused refresh where the profile says so. ``issuance`` is what the next token set will be issued for."""

    profile: Profile
    previous: TokenSet | None = field(repr=False)
    client: Client
    endpoint: str
    surroundings: Surroundings
    requests: TokenRequests = field(repr=False)
    fallback: TokenRequests | None = field(repr=False)
    data_key: DataKey = field(repr=False)
    issuance: Issuance = field(repr=False)


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Nothing is to be sent now. ``change`` is empty where the record says so already.

    ``error`` is for an operator who forces the request all the same. ``circuit`` is the open one that holds it back.
    """

    change: RecordChange
    outcome: Outcome
    previous: TokenSet | None = field(default=None, repr=False)
    error: EvergrantError | None = None
    circuit: Circuit | None = None


class SealedTokenSets:
    """Opens token sets. The current one of a connection is opened once per generation and pass: each call is in KMS."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._last: tuple[tuple[str, int], TokenSet] | None = None

    def open_current(self, connection: Connection) -> TokenSet | None:
        """Open a connection's current token set, None when there is none. Raises PortUnavailable, SealBroken."""
        if connection.sealed is None:
            return None
        key = connection.name, connection.generation
        if self._last is None or self._last[0] != key:
            self._last = key, self.open(connection.sealed, *key)
        return self._last[1]

    def open(self, sealed: Sealed, name: str, generation: int) -> TokenSet:
        """Open a token set that was sealed for this connection and generation. Raises PortUnavailable, SealBroken."""
        return TokenSet.decode(self._seal.unseal(sealed, name, generation))


@dataclass(frozen=True, slots=True)
class Preparation:
    """Prepares the attempts of one pass. ``dependency_errors`` collects what services of AWS refused."""

    ports: RotationPorts
    settings: Settings
    breaker: CircuitBreaker
    token_sets: SealedTokenSets
    dependency_errors: list[str]

    def prepare(self, connection: Connection, demand: TokenDemand, tokens: TokenSet | None) -> Prepared | HeldBack:
        """Fetch what the attempt needs, unless nothing is to be sent.

        Raises
        ------
        PortUnavailable
            A caller waits, and a service of AWS failed. For the schedule that is a failure to be recorded.
        """
        try:
            tokens = tokens or self.token_sets.open_current(connection)
            return self._fetch(connection, demand, tokens)
        except PortUnavailable as error:
            if demand.caller_waits:
                raise
            self.dependency_errors.append(str(error))
            code = failures.SERVICE_UNAVAILABLE
        except (RecordTampered, ProfileTampered) as error:
            differs = error.field if isinstance(error, RecordTampered) else "profile"
            change = failures.apply_tampered_record(connection, differs, self._now)
            return HeldBack(change, "failed", tokens, error)
        except EvergrantError as error:
            code = error.code
        return HeldBack(failures.apply_preparation_failure(connection, code, self._now), "failed", tokens)

    def find_obstacle(
        self, connection: Connection, demand: TokenDemand, profile: Profile, tokens: TokenSet | None
    ) -> HeldBack | None:
        """Find why nothing may be sent at this moment, by the record alone. A worker that had to wait asks again."""
        if connection.last_error == STALE:
            return HeldBack(RecordChange(), "waiting", tokens, AuthorizationRequired(connection.name))
        held_back = self._wait_in_doubt(connection, demand, profile, tokens) or self._spare(connection, demand, profile)
        if held_back:
            return held_back
        is_refreshable = profile.refresh is not None and tokens is not None and tokens.refresh_token is not None
        if connection.grant not in HEADLESS_GRANTS and not is_refreshable:
            return HeldBack(failures.require_authorization(connection, self._now), "failed", tokens)
        return None

    def _fetch(self, connection: Connection, demand: TokenDemand, tokens: TokenSet | None) -> Prepared | HeldBack:
        profile = self.ports.profiles.load_pinned(connection.profile_hash)
        obstacle = self.find_obstacle(connection, demand, profile, tokens)
        if obstacle:
            return obstacle
        client = self.ports.vault.client(connection.client)
        issuance = describe_issuance(profile, connection, client)
        usable = self._find_usable(connection, tokens, issuance)
        phase = choose_phase(profile, connection.grant, usable)
        endpoint = find_endpoint(profile, phase, connection.variables, loopback=self.settings.allow_loopback)
        surroundings = self.breaker.look(connection, endpoint, client.version)
        circuit = self.breaker.find_obstacle(connection, surroundings, demand)
        if circuit is not None:
            return HeldBack(RecordChange(), "waiting", tokens, circuit=circuit)
        logs_in = (connection.grant, phase) == ("login", "refresh") and profile.rotation.fall_back_to_login
        return Prepared(
            profile,
            tokens,
            client,
            endpoint,
            surroundings,
            self._build_requests(phase, connection, profile, client, usable),
            self._build_requests("login", connection, profile, client, None) if logs_in else None,
            self.ports.seal.prepare(connection.name, connection.generation + 1),
            issuance,
        )

    def _find_usable(self, connection: Connection, tokens: TokenSet | None, present: Issuance) -> TokenSet | None:
        """Return the token set that may be sent; None where a log-in takes its place, as after a change of the client.

        Raises
        ------
        RecordTampered
        """
        if tokens is None or tokens.refresh_token is None:
            return tokens
        try:
            require_issued_for(connection.name, tokens.issued_for, present, tokens.issued_at, self._now)
        except RecordTampered:
            if connection.grant in HEADLESS_GRANTS:
                return None
            raise
        return tokens

    def _wait_in_doubt(
        self, connection: Connection, demand: TokenDemand, profile: Profile, tokens: TokenSet | None
    ) -> HeldBack | None:
        """Hold back a connection whose attempt is in doubt, until a replay is allowed."""
        if connection.attempt_id is None:
            return None
        now = self._now
        replay_at = lost_response.compute_replay_at(connection, profile, now)
        if (replay_at is None and lost_response.is_probe_due(connection, now)) or replay_at == now:
            return None
        if demand.force and replay_at is not None:
            pending = ResponsePending(connection.name, replay_at - now)
            return HeldBack(RecordChange(), "waiting", tokens, pending)
        change = lost_response.wait_in_doubt(connection, profile, now).set(connection.snapshot("token_rejected_at"))
        is_planned = connection.refresh_at is not None and connection.refresh_at > now
        is_recorded = is_planned and connection.in_doubt_since is not None and change.status is None
        return HeldBack(RecordChange() if is_recorded else change, "waiting", tokens)

    def _spare(self, connection: Connection, demand: TokenDemand, profile: Profile) -> HeldBack | None:
        """Hold back a refresh token that the provider may have used, while the access token lives."""
        now = self._now
        since = connection.unclear_at
        if connection.attempt_id is not None or since is None or retries.is_within_grace(profile, since, now):
            return None
        tried_at = connection.last_error_at or since
        spared_until = retries.compute_spared_until(connection, profile, since, tried_at, now)
        if spared_until <= now:
            return None
        pending = ResponsePending(connection.name, spared_until - now) if demand.force else None
        return HeldBack(RecordChange(schedule_refresh(connection, spared_until)), "waiting", error=pending)

    def _build_requests(
        self, phase: Phase, connection: Connection, profile: Profile, client: Client, tokens: TokenSet | None
    ) -> TokenRequests:
        """Build the requests that obtain the next token set."""
        refresh_token = tokens.refresh_token if tokens else None
        values = {
            "refresh_token": refresh_token.reveal() if refresh_token else None,
            "redirect_uri": connection.redirect_uri,
            "scope": connection.scope,
        }

        def build() -> tuple[HttpRequest, ...]:
            loopback = self.settings.allow_loopback
            return build_token_requests(
                profile, phase, connection.variables, client, values, now=self._now, loopback=loopback
            )

        return TokenRequests(build(), build)

    @property
    def _now(self) -> int:
        return int(self.ports.clock.now())
