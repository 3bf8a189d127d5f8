"""The rules of a simulated provider for oauthlib: clients, codes, scopes, refresh tokens and their reuse."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oauthlib.common import Request
from oauthlib.oauth2 import (
    AccessDeniedError,
    InvalidClientError,
    InvalidGrantError,
    InvalidRequestError,
    RequestValidator,
)
from oauthlib.oauth2.rfc6749.errors import UnsupportedCodeChallengeMethodError

from local.providers.dialect import Dialect
from local.providers.messages import parse_basic_credentials
from local.providers.settings import Settings
from local.providers.state import Client, Code, State
from local.providers.tokens import Tokens

# RFC 7636, sections 4.1 and 4.2: the verifier, and the S256 challenge, which is always 43 characters.
_CODE_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_S256_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


class Validator(RequestValidator):
    """The rules for one request: the provider's state and settings, and the current time."""

    def __init__(self, dialect: Dialect, settings: Settings, state: State, now: float, tokens: Tokens) -> None:
        super().__init__()
        self.dialect = dialect
        self.settings = settings
        self.state = state
        self.now = now
        self.tokens = tokens

    # --- the client ---

    def client_authentication_required(self, request: Request, *args: object, **kwargs: object) -> bool:
        return True

    def authenticate_client(self, request: Request, *args: object, **kwargs: object) -> bool:
        phase = self.dialect.phases[str(request.grant_type)]
        if phase.client_authentication == "basic":
            credentials = parse_basic_credentials(request.headers.get("authorization"))
        else:
            credentials = (str(request.client_id), str(request.client_secret))
        client = self.state.clients.get(credentials[0]) if credentials else None
        if client is None or credentials is None:
            return False
        request.client = client
        return hmac.compare_digest(client.client_secret.encode(), credentials[1].encode())

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Any, request: Request, *args: object, **kwargs: object
    ) -> bool:
        return grant_type in self.dialect.phases

    def check_audience_and_standing(self, request: Request) -> None:
        """Refuse client credentials for another audience, or of a client whose standing has been revoked."""
        client: Client = self.state.clients[str(request.client_id)]
        audience = client.audience or self.dialect.default_audience
        if audience is not None and getattr(request, "audience", None) != audience:
            raise AccessDeniedError("The client may not ask for this audience.", status_code=403)
        standing = self.state.standing_grants.get(client.client_id)
        if standing is not None and self.state.grants[standing].revoked_at is not None:
            if self.dialect.withdrawn_client == "invalid_client":
                raise InvalidClientError(request=request)
            raise AccessDeniedError("The client's access has been withdrawn.", status_code=403)

    # --- the authorization request ---

    def validate_client_id(self, client_id: str, request: Request, *args: object, **kwargs: object) -> bool:
        request.client = self.state.clients.get(client_id)
        return request.client is not None

    def validate_redirect_uri(
        self, client_id: str, redirect_uri: str, request: Request, *args: object, **kwargs: object
    ) -> bool:
        return redirect_uri in self.state.clients[client_id].redirect_uris

    # There is no default redirect URI: the real providers require the parameter.
    def get_default_redirect_uri(self, client_id: str, request: Request, *args: object, **kwargs: object) -> str:
        return ""

    def validate_response_type(
        self, client_id: str, response_type: str, client: Any, request: Request, *args: object, **kwargs: object
    ) -> bool:
        return response_type == "code"

    def get_default_scopes(self, client_id: str, request: Request, *args: object, **kwargs: object) -> list[str]:
        return list(self.dialect.scopes)

    def validate_scopes(
        self, client_id: str, scopes: list[str], client: Any, request: Request, *args: object, **kwargs: object
    ) -> bool:
        return set(scopes) <= set(self.dialect.scopes)

    def is_pkce_required(self, client_id: str, request: Request) -> bool:
        return self.dialect.requires_pkce

    def check_code_challenge(self, request: Request) -> dict[str, object]:
        """Require S256 if PKCE is used: oauthlib would accept `plain`, even by default."""
        method = request.code_challenge_method
        if request.code_challenge is None:
            if method is not None:
                raise InvalidRequestError("Missing code_challenge parameter.", request=request)
        elif method != "S256":
            raise UnsupportedCodeChallengeMethodError(request=request)
        elif not _S256_CHALLENGE.fullmatch(request.code_challenge):
            raise InvalidRequestError("The code challenge is malformed.", request=request)
        return {}

    def save_authorization_code(
        self, client_id: str, code: Mapping[str, Any], request: Request, *args: object, **kwargs: object
    ) -> None:
        value = str(code["code"])
        self.state.codes[value] = Code(
            code=value,
            client_id=client_id,
            account=self.settings.account,
            scope=" ".join(request.scopes or ()),
            redirect_uri=str(request.redirect_uri),
            expires_at=self.now + self.settings.code_lifetime,
            code_challenge=request.code_challenge,
            nonce=request.nonce,
        )
        self.state.counters["codes_issued"] += 1

    # --- the exchange of the code ---

    def validate_code(
        self, client_id: str, code: str, client: Any, request: Request, *args: object, **kwargs: object
    ) -> bool:
        known = self.state.codes.get(code)
        if known is None or known.client_id != client_id:
            return False
        if known.grant_id is not None:
            # RFC 6749, section 4.1.2: a second use of a code revokes all tokens issued for it.
            self.state.counters["codes_reused"] += 1
            self.state.revoke(known.grant_id, "code_reuse", self.now)
            return False
        request.scopes = known.scope.split()
        # Refused here and not in confirm_redirect_uri, for which oauthlib answers invalid_request;
        # RFC 6749, section 5.2, lists another redirect URI under invalid_grant.
        return self.now < known.expires_at and request.redirect_uri == known.redirect_uri

    def confirm_redirect_uri(
        self,
        client_id: str,
        code: str,
        redirect_uri: str,
        client: Any,
        request: Request,
        *args: object,
        **kwargs: object,
    ) -> bool:
        return self.state.codes[code].redirect_uri == redirect_uri

    def get_code_challenge(self, code: str, request: Request) -> Any:
        challenge = self.state.codes[code].code_challenge
        verifier = request.code_verifier
        if verifier is not None and (challenge is None or not _CODE_VERIFIER.fullmatch(verifier)):
            # A verifier without a challenge is a downgrade attack (RFC 9700, section 2.1.1).
            raise InvalidGrantError(request=request)
        return challenge

    def get_code_challenge_method(self, code: str, request: Request) -> str:
        return "S256"

    def invalidate_authorization_code(
        self, client_id: str, code: str, request: Request, *args: object, **kwargs: object
    ) -> None:
        """Do nothing: the save of the tokens has marked the code as used."""

    # --- the refresh ---

    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: Request, *args: object, **kwargs: object
    ) -> bool:
        known = self.tokens.find_valid_refresh_token(refresh_token, client.client_id)
        if known is not None:
            if "redirect_uri" not in self.dialect.phases["refresh_token"].required:
                return True
            # A refused request is no use of the token: it stays valid.
            return bool(request.redirect_uri == self.state.grants[known.grant_id].redirect_uri)
        if self.settings.dead_refresh_token == "invalid_request":
            raise InvalidRequestError("Invalid Refresh Token")
        return False

    def get_original_scopes(self, refresh_token: str, request: Request, *args: object, **kwargs: object) -> list[str]:
        return self.state.grants[self.state.refresh_tokens[refresh_token].grant_id].scope.split()

    def rotate_refresh_token(self, request: Request) -> bool:
        return self.settings.single_use_refresh_tokens

    # --- what is issued ---

    def save_bearer_token(self, token: Mapping[str, Any], request: Request, *args: object, **kwargs: object) -> None:
        used = str(request.refresh_token) if request.grant_type == "refresh_token" else None
        self.tokens.save(
            self._find_grant(request),
            str(request.client_id),
            str(token["access_token"]),
            token.get("refresh_token"),
            used,
        )

    def _find_grant(self, request: Request) -> str:
        state, client_id = self.state, str(request.client_id)
        if request.grant_type == "refresh_token":
            return self.tokens.use_refresh_token(str(request.refresh_token)).grant_id
        if request.grant_type == "authorization_code":
            code = state.codes[str(request.code)]
            grant = state.new_grant(
                "authorization_code", client_id, code.account, code.scope, self.now, code.redirect_uri
            )
            state.codes[code.code] = replace(code, grant_id=grant.grant_id)
            return grant.grant_id
        if client_id not in state.standing_grants:
            scope = " ".join(request.scopes or ())
            grant = state.new_grant("client_credentials", client_id, self.settings.account, scope, self.now)
            state.standing_grants[client_id] = grant.grant_id
        return state.standing_grants[client_id]

    # --- the protected API ---

    def validate_bearer_token(self, token: str | None, scopes: list[str], request: Request) -> bool:
        return self.tokens.accept(token or "")
