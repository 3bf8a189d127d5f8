"""The code for tokens (RFC 6749 section 4.1.3)."""

from __future__ import annotations

from dataclasses import dataclass

from . import transitions
from .dialect import Client, HttpRequest, Refusal, read_answer, token_requests
from .errors import LostAnswer, NotSent, ProviderRefused, UnreadAnswer
from .ports import Clock, Provider
from .profile import Profile
from .settings import Settings
from .tickets import Authorization
from .tokens import TokenSet


@dataclass(frozen=True, slots=True)
class CodeExchange:
    """Spends an authorization code."""

    provider: Provider
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

    @property
    def _now(self) -> int:
        return int(self.clock.now())
