"""The code for tokens, and the new grant into the record (RFC 6749 section 4.1.3)."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, replace
from typing import Any

from . import deferred, transitions
from .connection import Connection, Status
from .dialect import Client, HttpRequest, Refusal, read_answer, token_requests
from .errors import LinkInvalid, LostAnswer, NotSent, ProviderRefused, UnreadAnswer
from .ports import Clock, DataKey, PortUnavailable, Provider, Queue, Records, Seal
from .profile import Profile
from .saving import Saving
from .settings import Settings
from .tickets import Authorization
from .tokens import TokenSet


@dataclass(frozen=True, slots=True)
class CodeExchange:
    """Spends an authorization code, and keeps what it brings."""

    records: Records
    seal: Seal
    provider: Provider
    queue: Queue
    clock: Clock
    settings: Settings

    def exchange(
        self, profile: Profile, authorization: Authorization, client: Client, code: str, code_verifier: str
    ) -> TokenSet:
        """The code for tokens: with the newest client secret, then with the older ones while the client is refused."""
        values = {
            "code": code,
            "redirect_uri": authorization.redirect_uri,
            "code_verifier": code_verifier if profile.authorize and profile.authorize.pkce else None,
        }
        answer: TokenSet | Refusal = transitions.NOT_SENT
        for request in token_requests(
            profile,
            "exchange",
            authorization.variables,
            client,
            values,
            now=self._now,
            loopback=self.settings.allow_loopback,
        ):
            answer = self._ask(request, profile, authorization, client.hosts)
            if not (isinstance(answer, Refusal) and answer.kind == "client_rejected"):
                break
        if isinstance(answer, Refusal):
            raise ProviderRefused(f"The provider refused the code's exchange ({answer.code or answer.status}).")
        if answer.refresh_token is None and profile.refresh:
            raise ProviderRefused("The provider gave no refresh token: the connection could not be kept alive.")
        return answer

    def _ask(
        self, request: HttpRequest, profile: Profile, authorization: Authorization, hosts: tuple[str, ...]
    ) -> TokenSet | Refusal:
        sent_at = self._now
        try:
            response = self.provider.send(request, hosts=hosts, timeout=self.settings.budgets.attempt)
            return read_answer(profile, response, sent_at, variables=authorization.variables)
        except (NotSent, LostAnswer, UnreadAnswer) as error:
            raise ProviderRefused(error.message) from error

    def save(
        self,
        current: Connection,
        authorization: Authorization,
        profile: Profile,
        tokens: TokenSet,
        data_key: DataKey,
    ) -> Connection:
        """Save the new grant, on top of whatever a rotation of the old one saved meanwhile."""
        authorization_id = str(uuid.uuid4())
        saving = Saving(self.records, self.queue, self.clock, self.settings.budgets.save)
        while True:
            changes = {
                **transitions.saved(
                    _pending(current, authorization),
                    tokens,
                    data_key.seal(tokens.encode()),
                    profile,
                    self.settings,
                    self._now,
                ),
                **_brought(authorization),
                "grant": "authorization_code",
                "authorization_id": authorization_id,
            }
            saved = saving.keep(current, changes, self._now + self.settings.budgets.save)
            if saved is None or saved.authorization_id == authorization_id:
                return saved or current
            demand_connected(saved)
            try:
                data_key = self.seal.prepare(saved.name, saved.generation + 1)
            except PortUnavailable:
                # Sealed for a generation that is gone: whoever receives it seals it anew, and puts it on top.
                self.queue.send(deferred.message(current, changes))
                return current
            current = saved

    @property
    def _now(self) -> int:
        return int(self.clock.now())


def demand_connected(connection: Connection) -> None:
    """A link does not outlive a disconnect: connecting again takes a new one."""
    if connection.status is Status.DISCONNECTED:
        raise LinkInvalid("The connection was disconnected meanwhile.")


def _brought(authorization: Authorization) -> dict[str, Any]:
    """What the saved grant brings into the record, over whatever an earlier one left there."""
    brought = asdict(authorization)
    del brought["connection"]
    return brought


def _pending(current: Connection, authorization: Authorization) -> Connection:
    """The record as if this authorization were its first: whatever troubled the old grant is over."""
    return replace(current, **_brought(authorization), grant="authorization_code", status=Status.AWAITING_AUTHORIZATION)
