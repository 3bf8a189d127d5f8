"""A provider profile: everything Evergrant knows of one provider, as data.

One TOML file per provider; its keys are the fields below. Each field's description and example are the source of the
JSON Schema and of docs/profiles.md. :mod:`evergrant.profiles.loader` reads and checks files. A connection pins the
profile
it was made with by :func:`content_hash`, so a live connection never changes its behaviour by an upgrade; defaults are
left out of the hash, so that a release which adds a field changes no hash.
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
from .request_specs import Authorize, Callback, JwtBearer, Login, Revoke, Seconds, Static, Text, TokenRequest, says

Grant = Literal["authorization_code", "client_credentials", "login", "jwt_bearer", "static"]
#: Grants that a client obtains by itself: nobody ever has to authorize.
HEADLESS_GRANTS: frozenset[str] = frozenset({"client_credentials", "login", "jwt_bearer"})
FailureKind = Literal[
    "transient", "rate_limited", "grant_rejected", "client_rejected", "rejected_unknown", "not_used", "malformed"
]
Path = Annotated[str, Meta(min_length=1, max_length=200)]
Status = Annotated[int, Meta(ge=100, le=599)]


class Documentation(Struct, frozen=True, forbid_unknown_fields=True):
    """A page that facts of the profile come from."""

    url: Annotated[Text, says("The page.", "https://developer.example.com/oauth")]
    read: Annotated[str, says("The day it was read.", "2026-11-22", pattern=r"^\d{4}-\d\d-\d\d$")]
    says: Annotated[str, says("Which facts, in a few words.", "refresh tokens rotate and live for 60 days")] = ""


class Variable(Struct, frozen=True, forbid_unknown_fields=True):
    """A value that each connection chooses, such as a tenant's sub-domain."""

    pattern: Annotated[Text, says("A regular expression that the value must match in full.", "[a-z0-9-]+")]
    describe: Annotated[str, says("What it is and where an operator finds it.", "The tenant's sub-domain.")] = ""
    default: Annotated[str | None, says("Its value where a connection gives none.", "api.example.com")] = None


class ExpiryRule(Struct, frozen=True, forbid_unknown_fields=True):
    """One way to learn when a token lapses: exactly one of `path`, `jwt` and `default`.

    Where a provider's documents disagree, or accounts differ, a `default` may name a variable: then the profile has
    the safe value as the variable's default, and a connection may say another.
    """

    path: Annotated[Path | None, says("A field of the answer (dotted path).", "data.expires_at")] = None
    format: Annotated[
        Literal["seconds", "milliseconds", "days", "epoch", "epoch_milliseconds", "iso8601"],
        says(
            "What the field or the default holds: a duration in seconds, milliseconds or days, or a moment as Unix "
            "time in seconds or milliseconds, or as ISO 8601. The field's name proves nothing.",
            "epoch",
        ),
    ] = "seconds"
    jwt: Annotated[Path | None, says("A field that holds a JWT, whose `exp` counts.", "access_token")] = None
    default: Annotated[
        Seconds | Text | None,
        says(
            "What the provider documents, in seconds unless `format` says else; or a variable of digits, in braces.",
            "{refresh_token_days}",
        ),
    ] = None

    @property
    def variable(self) -> str | None:
        """The variable whose value is the default, if one is."""
        return self.default.strip("{}") if isinstance(self.default, str) else None

    @property
    def name(self) -> str:
        """How the record names this rule."""
        if self.default is not None:
            return "default"
        return f"jwt:{self.jwt}" if self.jwt is not None else f"{self.path}:{self.format}"


class Success(Struct, frozen=True, forbid_unknown_fields=True):
    """What tells a success from an error that comes with HTTP 200."""

    path: Annotated[Path, says("A field of the answer.", "ok")]
    equals: Annotated[str | int | bool, says("What it holds in a success.", True)]


class Response(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the answer holds what: dotted paths, the first that is there wins."""

    access_token: Annotated[
        tuple[Path, ...], says("The access token.", ["accessTtoken", "accessToken", "access_token"])
    ] = ("access_token",)
    refresh_token: Annotated[tuple[Path, ...], says("The refresh token.", ["refresh_token"])] = ("refresh_token",)
    token_type: Annotated[tuple[Path, ...], says("The token's type.", ["tokenType"])] = ("token_type",)
    scope: Annotated[tuple[Path, ...], says("The granted scope, as a text or a list.", ["scope"])] = ("scope",)
    expires: Annotated[
        tuple[ExpiryRule, ...],
        says("How to learn when the access token lapses; the first that applies.", [{"path": "expires_in"}]),
    ] = (ExpiryRule(path="expires_in"),)
    refresh_expires: Annotated[
        tuple[ExpiryRule, ...],
        says("The same for the refresh token.", [{"path": "x_refresh_token_expires_in"}, {"default": 8640000}]),
    ] = ()
    capture: Annotated[
        dict[str, Path], says("Values for consumers: their name, and where they are.", {"api": "instance_url"})
    ] = {}
    success_when: Annotated[
        Success | None, says("Where HTTP 200 alone is no success.", {"path": "ok", "equals": True})
    ] = None
    error: Annotated[tuple[Path, ...], says("The error's code.", ["error", "error.code"])] = ("error",)
    error_description: Annotated[tuple[Path, ...], says("The error's text. It is matched, never kept.", ["msg"])] = (
        "error_description",
    )


class ErrorRule(Struct, frozen=True, forbid_unknown_fields=True, rename={"kind": "as"}):
    """An answer that is no success, and what it means. Every condition given must hold."""

    kind: Annotated[
        FailureKind,
        says(
            "What it means: `transient`, try again; `rate_limited`, later; `grant_rejected`, somebody must authorize "
            "again; `client_rejected`, the client's credentials are refused; `rejected_unknown`, one of the two; "
            "`not_used`, the refresh token was certainly not used; `malformed`, the request is wrong.",
            "grant_rejected",
        ),
    ]
    status: Annotated[Status | None, says("The HTTP status.", 400)] = None
    code: Annotated[str | None, says("The error's code, in full.", "invalid_request")] = None
    description: Annotated[str | None, says("The error's text, in full.", "Invalid Refresh Token")] = None
    empty: Annotated[bool, says("Whether the answer's body must be empty.", True)] = False


class Rate(Struct, frozen=True, forbid_unknown_fields=True):
    """How many requests the token endpoint takes from one client, as documented."""

    requests: Annotated[int, says("So many requests.", 100, ge=1, le=1_000_000)]
    seconds: Annotated[int, says("In so many seconds.", 60, ge=1, le=86_400)]


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """When and how safely this provider's tokens can be refreshed. Times in seconds."""

    refresh: Annotated[
        Literal["always", "on_demand"],
        says(
            "`always`: before a token lapses, whether anybody reads it or not. `on_demand`: when somebody asks getter "
            "and the token has lapsed or is refused; while nobody asks, only what would die of it is kept alive: a "
            "refresh token that dies with its access token, or of not being used. A secret that is read directly may "
            "then hold a token that has lapsed: its readers go on to getter, as evergrant_client does where it is "
            "told of one.",
            "on_demand",
        ),
    ] = "always"
    lead: Annotated[Seconds, says("How long before expiry, at the least.", 10800)] = 0
    minimum_age: Annotated[Seconds, says("A token younger than this must not be refreshed.", 570)] = 0
    rotates: Annotated[bool, says("Whether a refresh ends the old refresh token.", False)] = True
    reuse_grace: Annotated[Seconds, says("For how long the old refresh token may be repeated.", 30)] = 0
    refresh_token_life: Annotated[
        Literal["hard", "idle", "with_access_token"],
        says(
            "What `response.refresh_expires` means: `hard`, from the authorization on, whatever is done; `idle`, from "
            "its last use on; `with_access_token`, it dies with its access token.",
            "idle",
        ),
    ] = "idle"  # noqa: S105
    old_access_token_revoked: Annotated[bool, says("Whether a refresh ends the old access token.", True)] = False
    rate: Annotated[
        Rate | None,
        says(
            "The documented limit of the token endpoint for one client. What falls due together is spread within it.",
            {"requests": 100, "seconds": 60},
        ),
    ] = None
    fall_back_to_login: Annotated[bool, says("Whether a refused refresh is followed by a log-in.", True)] = False


class Subject(Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """How to know which account a grant is of, so that connecting again brings the same one.

    Only a digest of what is found is kept. Where the provider does not tell, a first grant is taken all the same.
    """

    source: Annotated[
        Literal["id_token", "userinfo", "capture"],
        says(
            "Where it is told: in the ID token that comes with the tokens (OpenID Connect; the scopes hold `openid`); "
            "in the answer to a GET with the new access token; or in a captured value.",
            "id_token",
        ),
    ]
    path: Annotated[Path, says("The claim, the field (dotted path), or the captured value's name.", "sub")] = "sub"
    issuers: Annotated[
        tuple[Text, ...],
        says(
            "Of an ID token: what `iss` may say, to the letter. `{tid}` is the token's own claim of that name, "
            "Microsoft's directory.",
            ["https://accounts.example.com"],
        ),
    ] = ()
    url: Annotated[Text | None, says("Of `userinfo`: what to ask.", "https://{host}/oauth/userinfo")] = None


class Consumer(Struct, frozen=True, forbid_unknown_fields=True):
    """How a consumer calls the provider's API, and how a dead token shows there."""

    headers: Annotated[
        dict[str, str], says("Headers, ready to send.", {"X-Shopify-Access-Token": "{access_token}"})
    ] = msgspec.field(default_factory=lambda: {"Authorization": "Bearer {access_token}"})
    required_headers: Annotated[tuple[str, ...], says("Headers that each call must add.", ["x-user-id"])] = ()
    reject_statuses: Annotated[tuple[Status, ...], says("Statuses of a dead token.", [401, 403])] = (401,)


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole provider. Its grants are what it has phases for."""

    name: Annotated[Text, says("The first half of every connection's name.", "keap")]
    title: Annotated[Text, says("What people call it.", "Keap (Infusionsoft)")]
    documentation: Annotated[
        tuple[Documentation, ...],
        says("Where its facts come from.", [{"url": "https://developer.example.com/oauth", "read": "2026-11-22"}]),
    ] = ()
    notes: Annotated[
        tuple[str, ...],
        says("What an operator should know, and which facts could not be confirmed.", ["Add offline_access."]),
    ] = ()
    variables: Annotated[
        dict[str, Variable], says("Values that each connection chooses.", {"host": {"pattern": "[a-z.]+"}})
    ] = {}
    authorize: Annotated[Authorize | None, Meta(description="Where a person consents; with `exchange`.")] = None
    callback: Callback = Callback()
    exchange: Annotated[TokenRequest | None, Meta(description="The code for tokens (RFC 6749 section 4.1.3).")] = None
    refresh: Annotated[TokenRequest | None, Meta(description="A refresh token for tokens (section 6).")] = None
    client_credentials: Annotated[TokenRequest | None, Meta(description="The client's own grant (section 4.4).")] = None
    login: Login | None = None
    jwt_bearer: JwtBearer | None = None
    static: Static | None = None
    revoke: Revoke | None = None
    subject: Subject | None = None
    response: Response = Response()
    errors: Annotated[
        tuple[ErrorRule, ...], says("What refusals mean, before the standard's own rules.", [{"as": "transient"}])
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

    def scope(self, grant: str, given: Sequence[str] = ()) -> str | None:
        """What is asked for: the scopes given, else what the profile asks a person for.

        A client's own grant has nobody to ask: many servers refuse `offline_access` or `openid` there. What its phase
        always needs stands in its params.
        """
        asked = self.authorize.scopes if self.authorize and grant == "authorization_code" else ()
        separator = self.authorize.scope_separator if self.authorize else " "
        return separator.join(given or asked) or None

    def bind(self, given: Mapping[str, str]) -> dict[str, str]:
        """The variables' values for one connection: what was given, over the defaults.

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
            if not re.fullmatch(variable.pattern, value) or any(ord(character) < 32 for character in value):
                raise InvalidVariable(f"The value of {name} does not fit.", f"It must match {variable.pattern}.")
            bound[name] = value
        return bound


def encode(profile: Profile) -> bytes:
    """The canonical form in which a profile is stored and hashed: all that differs from a default, keys sorted."""
    return msgspec.json.encode(_said(profile), order="sorted")


#: Looking a type up takes msgspec most of an encoding's time.
_fields = cache(msgspec.structs.fields)


def _said(value: Any) -> Any:
    """Compared by value: msgspec's own omit_defaults compares most types by identity, which a reader does not keep."""
    if isinstance(value, Struct):
        said = {}
        for field in _fields(type(value)):
            current = getattr(value, field.name)
            default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
            if default is msgspec.NODEFAULT or current != default:
                said[field.encode_name] = _said(current)
        return said
    if isinstance(value, tuple):
        return [_said(item) for item in value]
    if isinstance(value, dict):
        return {key: _said(item) for key, item in value.items()}
    return value


def decode(stored: bytes) -> Profile:
    """The inverse of :func:`encode`."""
    return msgspec.json.decode(stored, type=Profile)


def content_hash(profile: Profile) -> str:
    """The SHA-256 of the canonical form, in hexadecimal: the name under which a profile is stored and pinned."""
    return sha256(encode(profile)).hexdigest()
