"""A provider profile: all that Evergrant knows of one provider, as data.

A profile is one TOML file, whose keys are the fields below. The fields' descriptions and examples are the source of the
JSON Schema and of docs/profiles.md. :mod:`evergrant.profiles.loader` reads and checks files.

A connection pins the profile that it was made with by :func:`content_hash`, so an upgrade never changes the behaviour
of a live connection. Defaults are left out of the hash, so a release that adds a field changes no hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ..errors import InvalidVariable
from ..texts import is_safe
from .pattern_limits import MAX_VALUE_CHARACTERS
from .request_specs import (
    Authorize,
    Callback,
    JwtBearer,
    Login,
    Revoke,
    Scopes,
    Seconds,
    Static,
    Text,
    TokenRequest,
    document,
)
from .response_specs import ErrorRule, Path, Response, Status

Grant = Literal["authorization_code", "client_credentials", "login", "jwt_bearer", "static"]
#: Grants that a client obtains by itself: no person has to authorize.
HEADLESS_GRANTS: frozenset[str] = frozenset({"client_credentials", "login", "jwt_bearer"})


class Documentation(Struct, frozen=True, forbid_unknown_fields=True):
    """A page that the profile's facts come from."""

    url: Annotated[Text, document("The page.", "https://developer.example.com/oauth")]
    read: Annotated[str, document("The day it was read.", "2026-11-22", pattern=r"^\d{4}-\d\d-\d\d$")]
    says: Annotated[str, document("Which facts, in a few words.", "refresh tokens rotate and live for 60 days")] = ""


class Variable(Struct, frozen=True, forbid_unknown_fields=True):
    """A value that each connection chooses, such as a tenant's sub-domain."""

    pattern: Annotated[Text, document("A regular expression that the value must match in full.", "[a-z0-9-]+")]
    describe: Annotated[str, document("What it is, and where an operator finds it.", "The tenant's sub-domain.")] = ""
    default: Annotated[str | None, document("Its value where a connection gives none.", "api.example.com")] = None


class Rate(Struct, frozen=True, forbid_unknown_fields=True):
    """The number of requests that the token endpoint accepts from one client, as documented."""

    requests: Annotated[int, document("The number of requests.", 100, ge=1, le=1_000_000)]
    seconds: Annotated[int, document("The period for that number, in seconds.", 60, ge=1, le=86_400)]


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """When and how safely this provider's tokens can be refreshed. Times in seconds."""

    refresh: Annotated[
        Literal["always", "on_demand"],
        document(
            "`always`: refresh before the token expires. `on_demand`: refresh when a consumer asks getter and the "
            "token has expired or was rejected. Then a token is refreshed without a request only to keep the refresh "
            "token alive: one that expires with its access token, or when it is not used. A secret that consumers read "
            "directly may hold an expired token: they must then ask getter, as evergrant_client does if it is given "
            "one.",
            "on_demand",
        ),
    ] = "always"
    lead: Annotated[Seconds, document("The least time before expiry at which a token is refreshed.", 10800)] = 0
    minimum_age: Annotated[Seconds, document("The least age of a token before it may be refreshed.", 570)] = 0
    rotates: Annotated[bool, document("Whether a refresh ends the old refresh token.", False)] = True
    reuse_grace: Annotated[Seconds, document("For how long the provider accepts the old refresh token again.", 30)] = 0
    refresh_token_life: Annotated[
        Literal["hard", "idle", "with_access_token"],
        document(
            "What `response.refresh_expires` counts from. `hard`: from the authorization, however often it is "
            "refreshed. `idle`: from the last use. `with_access_token`: it expires with its access token.",
            "idle",
        ),
    ] = "idle"  # noqa: S105
    old_access_token_revoked: Annotated[bool, document("Whether a refresh ends the old access token.", True)] = False
    rate: Annotated[
        Rate | None,
        document(
            "The documented limit of the token endpoint for one client. Refreshes that are due together are spread to "
            "stay within it.",
            {"requests": 100, "seconds": 60},
        ),
    ] = None
    max_retry_after: Annotated[
        Seconds,
        document("The longest wait that a `Retry-After` of this provider is followed for.", 86400),
    ] = 3600
    unknown_lifetime: Annotated[
        Annotated[int, Meta(ge=1, le=315_360_000)] | None,
        document(
            "The lifetime to assume where nothing credible says how long an access token is valid. Without it, that is "
            "a day for a token that comes with a refresh token.",
            43200,
        ),
    ] = None
    fall_back_to_login: Annotated[
        bool, document("Whether Evergrant logs in again after the provider refuses a refresh.", True)
    ] = False


class Subject(Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """How to recognize the account that a grant is for, so that connecting again cannot replace it by another.

    Only a digest of the value is kept. If the provider's response does not hold it, a first grant is accepted anyway.
    """

    source: Annotated[
        Literal["id_token", "userinfo", "capture"],
        document(
            "Where the value is. `id_token`: in the ID token that comes with the tokens (OpenID Connect; the scopes "
            "must include `openid`). `userinfo`: in the response to a GET with the new access token. `capture`: in a "
            "captured value.",
            "id_token",
        ),
    ]
    path: Annotated[Path, document("The claim, the field (dotted path), or the captured value's name.", "sub")] = "sub"
    issuers: Annotated[
        tuple[Text, ...],
        document(
            "For `id_token`: the values that `iss` may have, compared character by character. `{tid}` is the token's "
            "own claim of that name, which is Microsoft's directory.",
            ["https://accounts.example.com"],
        ),
    ] = ()
    url: Annotated[
        Text | None,
        document(
            "For `userinfo`: the address. For a value that the callback captures, which anyone can change in the "
            "browser: an address that accepts only tokens of that account. It may use captured values that have a "
            "pattern.",
            "https://{host}/oauth/userinfo",
        ),
    ] = None


class Consumer(Struct, frozen=True, forbid_unknown_fields=True):
    """How a consumer calls the provider's API, and how the API rejects a token."""

    headers: Annotated[
        dict[str, str], document("Headers, ready to send.", {"X-Shopify-Access-Token": "{access_token}"})
    ] = msgspec.field(default_factory=lambda: {"Authorization": "Bearer {access_token}"})
    required_headers: Annotated[
        tuple[str, ...], document("Headers that the consumer must add to each call.", ["x-user-id"])
    ] = ()
    reject_statuses: Annotated[
        tuple[Status, ...], document("The statuses with which the API rejects an access token.", [401, 403])
    ] = (401,)


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """A provider. It has a grant for each phase that obtains one."""

    name: Annotated[Text, document("The first half of every connection's name.", "keap")]
    title: Annotated[Text, document("The provider's name for people.", "Keap (Infusionsoft)")]
    documentation: Annotated[
        tuple[Documentation, ...],
        document(
            "The pages that its facts come from.",
            [{"url": "https://developer.example.com/oauth", "read": "2026-11-22"}],
        ),
    ] = ()
    notes: Annotated[
        tuple[str, ...],
        document("Notes for operators, and the facts that could not be confirmed.", ["Add offline_access."]),
    ] = ()
    variables: Annotated[
        dict[str, Variable], document("Values that each connection chooses.", {"host": {"pattern": "[a-z.]+"}})
    ] = {}
    authorize: Annotated[Authorize | None, Meta(description="Where a person consents; with `exchange`.")] = None
    callback: Callback = Callback()
    scopes: Scopes = Scopes()
    exchange: Annotated[
        TokenRequest | None, Meta(description="The exchange of the code for tokens (RFC 6749 section 4.1.3).")
    ] = None
    refresh: Annotated[
        TokenRequest | None, Meta(description="The exchange of a refresh token for tokens (section 6).")
    ] = None
    client_credentials: Annotated[TokenRequest | None, Meta(description="The client's own grant (section 4.4).")] = None
    login: Login | None = None
    jwt_bearer: JwtBearer | None = None
    static: Static | None = None
    revoke: Revoke | None = None
    subject: Subject | None = None
    response: Response = Response()
    errors: Annotated[
        tuple[ErrorRule, ...],
        document("What error responses mean. These rules come before those of the standards.", [{"as": "transient"}]),
    ] = ()
    rotation: Rotation = Rotation()
    consumer: Consumer = Consumer()

    @property
    def grants(self) -> tuple[Grant, ...]:
        """The grants this profile can obtain, the usual one first."""
        has: dict[Grant, object] = {
            "authorization_code": self.authorize,
            "client_credentials": self.client_credentials,
            "login": self.login,
            "jwt_bearer": self.jwt_bearer,
            "static": self.static,
        }
        return tuple(grant for grant, phase in has.items() if phase is not None)

    @property
    def defaults(self) -> dict[str, str]:
        """The values of the variables that have a default."""
        return {name: variable.default for name, variable in self.variables.items() if variable.default is not None}

    def join_scopes(self, grant: str, given: Sequence[str] = ()) -> str | None:
        """Join the scopes to ask for: those given, else those that the profile asks a person for.

        Without a person there is no default: many servers refuse `offline_access` or `openid` in a client's own grant.
        A scope that such a phase always needs belongs in its params.
        """
        asked = self.authorize.scopes if self.authorize and grant == "authorization_code" else ()
        separator = self.authorize.scope_separator if self.authorize else " "
        return separator.join(given or asked) or None

    def bind(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the variables' values for one connection: those given, over the defaults.

        Raises
        ------
        InvalidVariable
            One is unknown, missing or does not match its pattern in full.
        """
        for name in given:
            if name not in self.variables:
                known = ", ".join(self.variables) or "none"
                raise InvalidVariable(f"{self.name} has no variable {name}.", f"Its variables: {known}.")
        bound = {}
        for name, variable in self.variables.items():
            value = given.get(name, variable.default)
            if value is None:
                raise InvalidVariable(
                    f"{self.name} needs a value for {name}.", f"Give --var {name}=… {variable.describe}".rstrip()
                )
            is_plain = is_safe(value) and len(value) <= MAX_VALUE_CHARACTERS
            if not is_plain or not re.fullmatch(variable.pattern, value):
                raise InvalidVariable(
                    f"The value of {name} does not match its pattern.", f"It must match {variable.pattern}."
                )
            bound[name] = value
        return bound


def encode(profile: Profile) -> bytes:
    """Encode a profile into the canonical form that is stored and hashed: without defaults, keys sorted."""
    return msgspec.json.encode(_drop_defaults(profile), order="sorted")


#: Without the cache, most of the time of an encoding goes into this look-up.
_list_fields = cache(msgspec.structs.fields)


def _drop_defaults(value: Any) -> Any:
    """Drop the fields that equal their defaults.

    msgspec's own omit_defaults compares most types by identity, and a profile that was read has other objects.
    """
    if isinstance(value, Struct):
        kept = {}
        for field in _list_fields(type(value)):
            current = getattr(value, field.name)
            default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
            if default is msgspec.NODEFAULT or current != default:
                kept[field.encode_name] = _drop_defaults(current)
        return kept
    if isinstance(value, tuple):
        return [_drop_defaults(item) for item in value]
    if isinstance(value, dict):
        return {key: _drop_defaults(item) for key, item in value.items()}
    return value


def decode(stored: bytes) -> Profile:
    """The inverse of :func:`encode`."""
    return msgspec.json.decode(stored, type=Profile)


def content_hash(profile: Profile) -> str:
    """Hash the canonical form: SHA-256 in hexadecimal, by which a profile is stored and pinned."""
    return sha256(encode(profile)).hexdigest()
