"""A provider profile: everything Evergrant knows of one provider, as data.

One TOML file per provider; its keys are the fields below, and an unknown key is an error. A connection pins the
profile it was made with by :func:`content_hash`, so a live connection never changes its behaviour by an upgrade.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from .errors import InvalidName, InvalidProfile, InvalidVariable
from .names import check_provider
from .placeholders import names_in

Seconds = Annotated[int, Meta(ge=0, le=315_360_000)]
Path = Annotated[str, Meta(min_length=1, max_length=200)]
FailureKind = Literal[
    "transient", "rate_limited", "grant_rejected", "client_rejected", "rejected_unknown", "not_spent", "malformed"
]
Grant = Literal["authorization_code", "client_credentials"]

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?")
_CLIENT = {"client_id", "client_secret"}
#: What each phase's templates may name, besides the profile's variables (never more than the phase needs).
NAMES_BY_PHASE: dict[str, set[str]] = {
    "authorize": {"client_id", "redirect_uri", "scope", "state", "code_challenge"},
    "exchange": {*_CLIENT, "code", "redirect_uri", "code_verifier"},
    "refresh": {*_CLIENT, "refresh_token", "redirect_uri", "scope"},
    "client_credentials": {*_CLIENT, "scope"},
    "consumer": {"access_token", "token_type"},
}


class Documentation(Struct, frozen=True, forbid_unknown_fields=True):
    """A page that a fact of the profile comes from, and the day it was read."""

    url: str
    read: str


class Variable(Struct, frozen=True, forbid_unknown_fields=True):
    """A value that a connection chooses. It must match ``pattern`` in full."""

    pattern: str
    describe: str = ""
    default: str | None = None


class Authorize(Struct, frozen=True, forbid_unknown_fields=True):
    """The authorization request a browser is sent with (RFC 6749 section 4.1.1, RFC 7636)."""

    url: str
    params: dict[str, str] = {}
    scopes: tuple[str, ...] = ()
    scope_separator: str = " "
    pkce: bool = True
    issuer: str | None = None


class TokenRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """One phase's request to a token endpoint. ``params`` add to the grant's own; an empty one deletes a default."""

    url: str
    method: Literal["POST", "GET"] = "POST"
    format: Literal["form", "json", "query"] = "form"
    client_auth: Literal["post", "basic", "basic_raw", "none"] = "post"
    headers: dict[str, str] = {}
    params: dict[str, str] = {}


class ExpiryRule(Struct, frozen=True, forbid_unknown_fields=True):
    """One way to learn when a token lapses: a field and its format, the ``exp`` of a JWT, or a declared default."""

    path: Path | None = None
    format: Literal["seconds", "milliseconds", "epoch", "epoch_milliseconds", "iso8601"] = "seconds"
    jwt: Path | None = None
    default: Seconds | None = None

    @property
    def name(self) -> str:
        """How the record names this rule."""
        if self.default is not None:
            return "default"
        return f"jwt:{self.jwt}" if self.jwt is not None else f"{self.path}:{self.format}"


class Response(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the answer holds what: dotted paths, the first that is there wins."""

    access_token: tuple[Path, ...] = ("access_token",)
    refresh_token: tuple[Path, ...] = ("refresh_token",)
    token_type: tuple[Path, ...] = ("token_type",)
    scope: tuple[Path, ...] = ("scope",)
    expires: tuple[ExpiryRule, ...] = (ExpiryRule(path="expires_in"),)
    refresh_expires: tuple[ExpiryRule, ...] = ()
    capture: dict[str, Path] = {}


class ErrorRule(Struct, frozen=True, forbid_unknown_fields=True, rename={"kind": "as"}):
    """An answer that is no success, and what it means. Every condition given must hold; texts compare in full."""

    kind: FailureKind
    status: int | None = None
    code: str | None = None
    description: str | None = None


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """When and how safely this provider's tokens can be refreshed. Times in seconds."""

    lead: Seconds = 0
    minimum_age: Seconds = 0
    rotates: bool = True
    reuse_grace: Seconds = 0
    old_access_token_revoked: bool = False


class Consumer(Struct, frozen=True, forbid_unknown_fields=True):
    """How a consumer calls the provider's API, and how a dead token shows there."""

    headers: dict[str, str] = msgspec.field(default_factory=lambda: {"Authorization": "Bearer {access_token}"})
    required_headers: tuple[str, ...] = ()
    reject_statuses: tuple[int, ...] = (401,)


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole provider. ``[authorize]`` with ``[exchange]``, or ``[client_credentials]``, or both."""

    name: str
    title: str
    documentation: tuple[Documentation, ...] = ()
    variables: dict[str, Variable] = {}
    authorize: Authorize | None = None
    exchange: TokenRequest | None = None
    refresh: TokenRequest | None = None
    client_credentials: TokenRequest | None = None
    response: Response = Response()
    errors: tuple[ErrorRule, ...] = ()
    rotation: Rotation = Rotation()
    consumer: Consumer = Consumer()

    @property
    def grants(self) -> tuple[Grant, ...]:
        """The grants this profile can obtain, the usual one first."""
        grants: list[Grant] = []
        if self.authorize:
            grants.append("authorization_code")
        if self.client_credentials:
            grants.append("client_credentials")
        return tuple(grants)

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


def load(text: str, source: str = "the profile") -> Profile:
    """Read a profile from TOML.

    Parameters
    ----------
    text
        The file's text.
    source
        What to call it in an error.

    Raises
    ------
    InvalidProfile
        With the source, the key at fault and what is allowed there.
    """
    try:
        profile = msgspec.convert(tomllib.loads(text), Profile)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise InvalidProfile(f"{source}: {error}") from error
    for problem in _problems(profile):
        raise InvalidProfile(f"{source}: {problem}")
    return profile


def encode(profile: Profile) -> bytes:
    """The canonical form in which a profile is stored and hashed."""
    return msgspec.json.encode(profile, order="sorted")


def decode(stored: bytes) -> Profile:
    """The inverse of :func:`encode`."""
    return msgspec.json.decode(stored, type=Profile)


def content_hash(profile: Profile) -> str:
    """The SHA-256 of the canonical form, in hexadecimal: the name under which a profile is stored and pinned."""
    return sha256(encode(profile)).hexdigest()


def is_host(value: str) -> bool:
    """Whether ``value`` can stand as a URL's authority: a host name or IPv4 address, and perhaps a port."""
    return _HOST.fullmatch(value) is not None


def _problems(profile: Profile) -> Iterator[str]:
    try:
        check_provider(profile.name)
    except InvalidName as error:
        yield f"name: {error}"
    if not profile.grants:
        yield "it needs [authorize] with [exchange], or [client_credentials]"
    if (profile.authorize is None) != (profile.exchange is None):
        yield "[authorize] and [exchange] go together"
    if profile.authorize and not profile.refresh:
        yield "[refresh] is missing"
    for name, variable in profile.variables.items():
        try:
            re.compile(variable.pattern)
        except re.error as error:
            yield f"variables.{name}.pattern: {error}"
    rules = (*profile.response.expires, *profile.response.refresh_expires)
    if any((rule.path is None) + (rule.jwt is None) + (rule.default is None) != 2 for rule in rules):
        yield "response: an expiry rule has exactly one of path, jwt and default"
    for place, template in _templates(profile):
        phase = place.split(".")[0]
        is_url = place == f"{phase}.url"
        # Only variables go into a URL's host and path; what a phase names goes into its parameters and headers.
        allowed = profile.variables.keys() | (set() if is_url else NAMES_BY_PHASE[phase])
        try:
            unknown = [name for name in names_in(template) if name not in allowed]
        except ValueError as error:
            yield f"{place}: {error}"
            continue
        if unknown:
            yield f"{place}: {{{unknown[0]}}} has no value here; allowed are {', '.join(sorted(allowed))}"
        if is_url and not re.fullmatch(r"https://[^/{}?#]*(\{[a-z0-9_]+\})?[^/{}?#]*(/[^?#]*)?", template):
            yield f"{place}: write https://host/path, with no query"
    if any("\r" in text or "\n" in text for _, text in _templates(profile)):
        yield "a template holds a line break"


def _templates(profile: Profile) -> Iterator[tuple[str, str]]:
    if profile.authorize:
        yield "authorize.url", profile.authorize.url
        for key, template in profile.authorize.params.items():
            yield f"authorize.params.{key}", template
    for phase in ("exchange", "refresh", "client_credentials"):
        request: TokenRequest | None = getattr(profile, phase)
        if request:
            yield f"{phase}.url", request.url
            for group, entries in (("headers", request.headers), ("params", request.params)):
                for key, template in entries.items():
                    yield f"{phase}.{group}.{key}", template
    for key, template in profile.consumer.headers.items():
        yield f"consumer.headers.{key}", template
