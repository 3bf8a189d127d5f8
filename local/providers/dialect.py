"""The protocol of a simulated provider, as data.

A dialect describes token requests (encoding, client authentication, fields), the spelling of responses and refusals,
and the rules of the protected API. All providers share the code that enforces it, so that another provider is another
:class:`Dialect` and not another server.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

BodyFormat = Literal["form", "json"]
ClientAuthentication = Literal["body", "basic", "none"]
Protocol = Literal["oauth", "login"]
AccessTokenFormat = Literal["opaque", "jwt"]
WithdrawnClient = Literal["access_denied", "invalid_client"]
DeadRefreshToken = Literal["invalid_grant", "invalid_request", 401, 403]

CONTENT_TYPES: Mapping[BodyFormat, str] = {
    "form": "application/x-www-form-urlencoded",
    "json": "application/json",
}


@dataclass(frozen=True, slots=True)
class Phase:
    """How a token request of one kind must look.

    Parameters
    ----------
    client_authentication
        ``body``: `client_id` and `client_secret` as fields. ``basic``: HTTP Basic, and neither of them as a field.
        ``none``: the refresh token alone identifies the grant.
    required
        Fields without which the request is an `invalid_request`, beside `grant_type` and the client's own.
        A refresh that requires `redirect_uri` requires the one of the authorization.
    client_fields, person_fields
        Of a log-in: the fields with the client's id and secret, and the alternative ones with the name and password of
        a person.
    path
        Its path, if not the dialect's `token_path`. A log-in's phases differ by this alone.
    """

    client_authentication: ClientAuthentication
    required: tuple[str, ...] = ()
    client_fields: tuple[str, str] = ("client_id", "client_secret")
    person_fields: tuple[str, str] | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class ProtectedApi:
    """The one protected resource that a provider serves.

    Parameters
    ----------
    required_headers
        Required in every call with a valid token; a call without one of them gets 400.
    answer
        The JSON object that a valid call gets.
    dead_token_status
        The status for a token that is not accepted. A call without credentials gets 401.
    """

    path: str
    answer: Mapping[str, object]
    required_headers: tuple[str, ...] = ()
    dead_token_status: Literal[401, 403] = 401


@dataclass(frozen=True, slots=True)
class Dialect:
    """One provider's way of issuing tokens.

    Parameters
    ----------
    name
        The provider's name as Evergrant's profiles use it, which also begins every token it issues.
    title
        The provider's name as people know it.
    phases
        By `grant_type`. Any other grant type is `unsupported_grant_type`. Of a login: ``login`` and ``refresh_token``.
    protocol
        ``oauth``: OAuth 2.0. ``login``: two addresses that take JSON of their own, and refuse by status alone.
    authorize_path
        Where people consent, or nothing if the provider has no such page.
    default_audience
        The `audience` that clients must name unless they are registered with another one.
    accept
        What the `Accept` header must say, to the letter, at the token endpoint and at the API.
    answer_fields
        The provider's spelling of each field of a token answer, by its name in RFC 6749; a field without one is
        left out. Nothing: all fields, as the RFC spells them.
    access_token_format
        ``opaque``, or ``jwt``: signed, with `exp` among its claims.
    withdrawn_client
        How client credentials of a client are refused whose standing has been revoked.
    dead_refresh_token
        How a dead refresh token is answered; a setting may change it at run time.
    issuer
        How the provider names itself: as `iss` in its answers to an authorization request (RFC 9207), and in the ID
        token that comes with the tokens where the scope `openid` was asked for.
    userinfo_path, revoke_path
        The paths that return the account of an access token, and revoke a token (RFC 7009), if the provider has them.
    requires_pkce
        Whether an authorization request needs a code challenge.
    access_token_lifetime, refresh_token_lifetime
        Seconds, as the provider documents them; settings may change them at run time.
    """

    name: str
    title: str
    body_format: BodyFormat
    token_path: str
    phases: Mapping[str, Phase]
    api: ProtectedApi
    scopes: tuple[str, ...]
    access_token_lifetime: int
    refresh_token_lifetime: int = 180 * 86400
    authorize_path: str | None = None
    issuer: str | None = None
    userinfo_path: str | None = None
    revoke_path: str | None = None
    requires_pkce: bool = False
    default_audience: str | None = None
    protocol: Protocol = "oauth"
    accept: str | None = None
    answer_fields: Mapping[str, str] | None = None
    access_token_format: AccessTokenFormat = "opaque"
    withdrawn_client: WithdrawnClient = "access_denied"
    dead_refresh_token: DeadRefreshToken = "invalid_grant"
    default_account: str = field(default="Example Ltd")

    def get_path(self, phase: Phase) -> str:
        """Return where a phase is asked for."""
        return phase.path or self.token_path

    def list_token_paths(self) -> frozenset[str]:
        """Return every address that takes token requests."""
        return frozenset(self.get_path(phase) for phase in self.phases.values())
