"""What one simulated provider speaks, as data.

A dialect says how token requests must look (encoding, where the client authenticates, which fields), how
refusals are spelt, and what the protected API demands. The machinery that enforces it is common to all providers,
so another provider is another :class:`Dialect`, not another server.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

BodyFormat = Literal["form", "json"]
ClientAuthentication = Literal["body", "basic"]

CONTENT_TYPES: Mapping[BodyFormat, str] = {
    "form": "application/x-www-form-urlencoded",
    "json": "application/json",
}


@dataclass(frozen=True, slots=True)
class Phase:
    """How a token request of one grant type must look.

    Parameters
    ----------
    client_authentication
        ``body``: `client_id` and `client_secret` as fields. ``basic``: HTTP Basic, and neither of them as a field.
    required
        Fields without which the request is an `invalid_request`, beside `grant_type` and the client's own.
    """

    client_authentication: ClientAuthentication
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProtectedApi:
    """The one protected resource that a provider serves.

    Parameters
    ----------
    required_headers
        Demanded of every call that has a good token; a call without one is answered 400.
    answer
        The JSON object that a good call gets.
    """

    path: str
    answer: Mapping[str, object]
    required_headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialect:
    """One provider's way of speaking OAuth 2.0.

    Parameters
    ----------
    name
        The provider's name as Evergrant's profiles use it, which also begins every token it issues.
    title
        The provider's name as people know it.
    phases
        By `grant_type`. Any other grant type is `unsupported_grant_type`.
    authorize_path
        Where people consent, or nothing if the provider has no such page.
    default_audience
        The `audience` that clients must name unless they are registered with another one.
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
    default_audience: str | None = None
    default_account: str = field(default="Example Ltd")
