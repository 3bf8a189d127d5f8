"""Exchange an authorization code for tokens (RFC 6749 section 4.1.3)."""

from __future__ import annotations

from dataclasses import dataclass

from ..authorization_failure import AuthorizationFailure
from ..errors import LostResponse, NotSent, UnreadableResponse
from ..http_messages import HttpRequest
from ..link_errors import NoRefreshToken, ProviderRefused
from ..oauth.client import Client
from ..oauth.error_response import Refusal, read_media_type
from ..oauth.token_request import build_token_requests, try_each_secret
from ..oauth.token_response import parse_token_response, read_value
from ..oauth.token_set import TokenSet
from ..ports import Clock, Provider
from ..profiles.model import Profile
from ..profiles.validation import LONG_LIVED_SECONDS
from ..secret import Secret
from ..settings import Settings
from .links import Authorization


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A token set, and the ID token of the same response where the profile uses one."""

    tokens: TokenSet
    id_token: Secret | None


@dataclass(frozen=True, slots=True)
class CodeExchange:
    """Exchanges an authorization code, which can be done once."""

    provider: Provider
    clock: Clock
    settings: Settings

    def exchange(
        self, profile: Profile, authorization: Authorization, client: Client, code: str, code_verifier: str
    ) -> Exchanged:
        """Send the code with the newest client secret, then with the older ones while the provider rejects the client.

        Raises
        ------
        ProviderRefused
        NoRefreshToken
            The grant would end with its first token. The page says at once what may help, and nothing is saved:
            callback cannot unseal an earlier grant to see whether that one has a refresh token.
        """
        values = {
            "code": code,
            "redirect_uri": authorization.redirect_uri,
            "code_verifier": code_verifier if profile.authorize and profile.authorize.pkce else None,
        }
        requests = build_token_requests(
            profile,
            "exchange",
            authorization.variables,
            client,
            values,
            now=self._now,
            loopback=self.settings.allow_loopback,
        )
        answer = try_each_secret(
            requests,
            lambda request: self._send(request, profile, authorization, client.hosts),
            lambda answer: isinstance(answer, Refusal) and answer.kind == "client_rejected",
        )
        if isinstance(answer, Refusal):
            failure = AuthorizationFailure("exchange", answer.status, answer.code, answer.content_type)
            raise ProviderRefused("The provider refused the code's exchange.", failure=failure)
        tokens = answer.tokens
        if tokens.refresh_token is None and profile.refresh and tokens.lifetime < LONG_LIVED_SECONDS:
            remedy = profile.authorize.refresh_token_remedy if profile.authorize else None
            raise NoRefreshToken("The provider gave no refresh token: the connection would end soon.", remedy=remedy)
        return answer

    def _send(
        self, request: HttpRequest, profile: Profile, authorization: Authorization, hosts: tuple[str, ...]
    ) -> Exchanged | Refusal:
        sent_at = self._now
        try:
            response = self.provider.send(request, hosts=hosts, timeout=self.settings.budgets.request)
        except (NotSent, LostResponse) as error:
            raise ProviderRefused(
                error.message, failure=AuthorizationFailure("exchange", reason=error.reason)
            ) from error
        try:
            answer = parse_token_response(profile, response, sent_at, variables=authorization.variables)
        except UnreadableResponse as error:
            failure = AuthorizationFailure(
                "exchange", response.status, content_type=read_media_type(response), reason="unreadable"
            )
            raise ProviderRefused(error.message, failure=failure) from error
        if isinstance(answer, Refusal):
            return answer
        wanted = profile.subject is not None and profile.subject.source == "id_token"
        id_token = read_value(response, "id_token") if wanted else None
        return Exchanged(answer, Secret(id_token) if id_token else None)

    @property
    def _now(self) -> int:
        return int(self.clock.now())
