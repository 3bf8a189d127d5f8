"""The OAuth endpoints of a simulated provider, by oauthlib's grants and our validator.

An :class:`AuthorizationServer` handles one request on the state that it is given: the live one, or a copy.
"""

import hmac
import json
from typing import Any
from urllib.parse import parse_qs, urlencode

from oauthlib.common import Request
from oauthlib.oauth2 import (
    AccessDeniedError,
    AuthorizationCodeGrant,
    AuthorizationEndpoint,
    BearerToken,
    ClientCredentialsGrant,
    OAuth2Error,
    RefreshTokenGrant,
    ResourceEndpoint,
    TokenEndpoint,
)

from local.providers.dialect import Dialect
from local.providers.messages import Answer, TokenRequest, answer_json, check_fields, read_fields, spell
from local.providers.settings import Settings
from local.providers.state import Client, State
from local.providers.tokens import Tokens
from local.providers.validator import Validator

# oauthlib requires https, but does not use the address itself.
_BASE = "https://provider.example"


class AuthorizationServer:
    """The token endpoint, the authorization endpoint and the check of access tokens."""

    def __init__(self, dialect: Dialect, settings: Settings, state: State, now: float) -> None:
        self._dialect = dialect
        self._settings = settings
        self._state = state
        self._now = now
        self._token_store = Tokens(dialect, settings, state, now)
        validator = Validator(dialect, settings, state, now, self._token_store)
        bearer = BearerToken(
            validator,
            token_generator=lambda request: self._token_store.new_access_token(str(request.client_id)),
            refresh_token_generator=lambda request: self._token_store.new_refresh_token(),
            expires_in=settings.access_token_lifetime,
        )
        code = AuthorizationCodeGrant(validator, pre_auth=[validator.check_code_challenge])
        grants: dict[str, Any] = {
            "authorization_code": code,
            "refresh_token": RefreshTokenGrant(validator),
            "client_credentials": ClientCredentialsGrant(validator, post_token=[validator.check_audience_and_standing]),
        }
        # The type stubs say str, but oauthlib takes the default handler.
        handler: Any = bearer
        self._tokens = TokenEndpoint("authorization_code", handler, grants)
        self._authorization = AuthorizationEndpoint("code", handler, {"code": code})
        self._resources = ResourceEndpoint("Bearer", {"Bearer": bearer})

    def token(self, request: TokenRequest) -> tuple[dict[str, str] | None, Answer]:
        """Answer a token request; return its fields too, if they could be read."""
        fields = None
        try:
            fields = read_fields(request, self._dialect)
            check_fields(fields, request, self._dialect)
            _, body, status = self._tokens.create_token_response(
                f"{_BASE}{self._dialect.token_path}?{request.query}",
                body=list(fields.items()),
                headers=dict(request.headers),
            )
            content = json.loads(body)
            if status == 200 and fields["grant_type"] == "authorization_code":
                content = self._complete(content, fields["code"])
            answer = answer_json(status, spell(content, self._dialect) if status == 200 else content)
        except OAuth2Error as error:
            answer = answer_json(error.status_code, dict(error.twotuples))
        if answer.status == 401:
            # RFC 6749, section 5.2: the challenge names the scheme that clients have to use.
            answer = Answer(
                401, answer.body, {**answer.headers, "www-authenticate": f'Basic realm="{self._dialect.title}"'}
            )
        return fields, answer

    def check_authorization(self, query: str) -> Client:
        """Return the client that asks for authorization.

        Raises
        ------
        oauthlib.oauth2.FatalClientError
            Client or redirect URI is invalid: the browser must not be redirected.
        oauthlib.oauth2.OAuth2Error
            Any other error, which is sent to the redirect URI.
        ValueError
            The query cannot be read.
        """
        _, found = self._authorization.validate_authorization_request(self._authorize_uri(query))
        client: Client = found["request"].client
        return client

    def allow(self, query: str) -> str:
        """Return the redirect with a new code, for an authorization request that has been checked."""
        asked = parse_qs(query).get("scope", [" ".join(self._dialect.scopes)])[0].split()
        scopes = [scope for scope in asked if scope not in self._settings.withheld_scopes.split()]
        headers, _, _ = self._authorization.create_authorization_response(self._authorize_uri(query), scopes=scopes)
        return self._add_issuer(str(headers["Location"]))

    def deny(self, query: str) -> str:
        """Return the redirect with `access_denied`: the account's owner has refused."""
        request = Request(self._authorize_uri(query))
        return self.redirect(AccessDeniedError("The account's owner refused.", request=request))

    def redirect(self, error: OAuth2Error) -> str:
        """Return the redirect with an error of the authorization request."""
        return self._add_issuer(str(error.in_uri(str(error.redirect_uri))))

    def userinfo(self, authorization: str | None) -> Answer:
        """Answer with the account of an access token."""
        if not self.accepts(authorization):
            return answer_json(401, {"error": "invalid_token"}, {"www-authenticate": "Bearer"})
        token = str(authorization).partition(" ")[2]
        return answer_json(200, {"sub": self._token_store.get_account(token)})

    def revoke(self, request: TokenRequest) -> Answer:
        """Answer a revocation (RFC 7009) of a client that authenticates in the body."""
        try:
            fields = read_fields(request, self._dialect)
        except OAuth2Error as error:
            return answer_json(error.status_code, dict(error.twotuples))
        if "authorization" in request.headers or "token" not in fields:
            return answer_json(400, {"error": "invalid_request"})
        if fields.get("token_type_hint") not in (None, "access_token", "refresh_token"):
            return answer_json(400, {"error": "unsupported_token_type"})
        client = self._state.clients.get(fields.get("client_id", ""))
        if client is None or not hmac.compare_digest(client.client_secret, fields.get("client_secret", "")):
            return answer_json(401, {"error": "invalid_client"})
        self._token_store.revoke(fields["token"], client.client_id)
        return Answer(200, "")

    def accepts(self, authorization: str | None) -> bool:
        """Return whether a call of the protected API has a valid token."""
        headers = {} if authorization is None else {"Authorization": authorization}
        accepted, _ = self._resources.verify_request(f"{_BASE}{self._dialect.api.path}", headers=headers)
        return accepted

    def _complete(self, content: dict[str, object], value: str) -> dict[str, object]:
        """Complete a token response for a code: add an ID token for `openid`, drop a withheld refresh token."""
        code = self._state.codes[value]
        if self._dialect.issuer is not None and "openid" in code.scope.split():
            content["id_token"] = self._token_store.new_id_token(code.client_id, code.account, code.nonce)
        if not self._settings.refresh_tokens:
            del content["refresh_token"]
        return content

    def _add_issuer(self, location: str) -> str:
        """Return a redirect with the provider's own name in it (RFC 9207)."""
        if self._dialect.issuer is None:
            return location
        return f"{location}&{urlencode({'iss': self._dialect.issuer})}"

    def _authorize_uri(self, query: str) -> str:
        return f"{_BASE}{self._dialect.authorize_path}?{query}"
