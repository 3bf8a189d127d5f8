"""The format of the corpus: one TOML file is one case, read strictly. An unknown key or a missing source is an error.

The folder below ``cases/`` is the case's kind. ``README.md`` explains every key.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from evergrant.profiles import built_in
from evergrant.profiles.loader import load_profile
from evergrant.profiles.model import Profile

FOLDER = Path(__file__).parent / "cases"
#: A page, an issue or pull request, a file of a repository, a section of a standard, or a server that was run.
SOURCE = re.compile(
    r"https://\S+|[\w.-]+/[\w.-]+#\d+|[\w.-]+/[\w.-]+:\S+|RFC \d+ section [\d.]+|run against [\w:. -]+", re.ASCII
)
#: Of these, reports and pages: neither a standard nor a run of our own.
PUBLIC = re.compile(r"https://|[\w.-]+/[\w.-]+[#:]")

AnswerClass = Literal["token_set", "kept", "not_acted_upon", "refusal", "vague", "not_reached", "unclear", "lost"]
Seconds = Annotated[int, Meta(ge=0)]


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    """What the server writes, byte for byte, and how it ends the connection."""

    status: str | None = None
    """Code and reason. None: the server writes nothing at all."""
    headers: list[str] = []
    """Whole header lines in their order; a name may come twice."""
    body: str = ""
    body_base64: str | None = None
    charset: str = "utf-8"
    encode: Literal["gzip", "deflate", "raw-deflate"] | None = None
    """How the runner compresses the body. The Content-Encoding header is the case's own."""
    framing: Literal["length", "chunked", "close", "truncated", "chunked-truncated", "none"] = "length"
    ends: Literal["close", "reset", "silence"] = "close"


class Previous(Struct, frozen=True, forbid_unknown_fields=True):
    """The token set that a refresh starts from."""

    lifetime: int = 3600
    scope: str | None = None
    refresh_lifetime: int | None = None
    """Seconds that the refresh token has left, counted from the request."""
    captured: dict[str, str] = {}


class ExpectedTokens(Struct, frozen=True, forbid_unknown_fields=True):
    """The token set that is read. What is left out must be absent."""

    lifetime: int
    refresh_token: str | None = None
    access_token: str = "access-2"
    token_type: str | UnsetType = UNSET
    scope: str | None = None
    refresh_lifetime: int | None = None
    captured: dict[str, str] = {}


class Expected(Struct, frozen=True, forbid_unknown_fields=True):
    """What one answer is read as."""

    as_class: AnswerClass = msgspec.field(name="class")
    kind: str | None = None
    code: str | None = None
    retry_after: int | None = None
    content_type: str | UnsetType | None = UNSET
    reason: str | None = None
    tokens: ExpectedTokens | None = None


class ExpectedDay(Struct, frozen=True, forbid_unknown_fields=True):
    """What 24 hours of it lead to."""

    status: str
    """Of each connection that got the answer, at the end."""
    without: Seconds
    """Minutes without a valid token, at most, of each connection that got the answer."""
    asked: bool
    """Whether the owner of an account was asked."""
    others_without: Seconds = 0
    requests: Seconds | None = None
    """Requests to the token endpoint, at most, of each connection that got the answer."""


class Day(Struct, frozen=True, forbid_unknown_fields=True):
    """The same answer in 24 simulated hours, for some of the connections of one client."""

    expect: ExpectedDay
    connections: Seconds = 5
    hit: Seconds = 1
    """How many connections get the answer."""
    begins: Seconds = 1800
    lasts: Seconds | None = None
    """For how long they get it, in seconds; for ever where it is left out."""
    answers: Seconds | None = None
    """How many of these answers there are for each of them, in place of a time. Any of them may get them."""
    lifetime: Seconds = 3600
    """Of the access tokens that the provider issues."""
    acted_upon: bool = False
    """Whether the provider acts on each request and then sends this answer."""


class Case(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the cases of all kinds have."""

    title: Annotated[str, Meta(min_length=10, max_length=150)]
    source: Annotated[list[str], Meta(min_length=1)]
    profile: str
    """The name of a shipped profile, or ``inline``."""
    inline: str = ""
    """More TOML of the inline profile, behind the least one that the runner has."""
    variables: dict[str, str] = {}
    note: str = ""

    def load_profile(self) -> Profile:
        """Return the profile that the case names."""
        if self.profile != "inline":
            return built_in.load_built_in()[self.profile]
        return load_profile(LEAST_PROFILE + self.inline)

    def bind_variables(self, profile: Profile) -> dict[str, str]:
        """Return the case's variables, and an example for each that has no default."""
        missing = {
            name: next(example for example in EXAMPLES if re.fullmatch(variable.pattern, example))
            for name, variable in profile.variables.items()
            if variable.default is None
        }
        return profile.bind({**missing, **self.variables})


class AnswerCase(Case, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One answer of a token endpoint to a refresh, a code's exchange or a client's own grant."""

    answer: Answer
    expect: Expected
    phase: Literal["refresh", "exchange", "client_credentials"] = "refresh"
    previous: Previous = Previous()
    day: Day | None = None


class ExpectedCallback(Struct, frozen=True, forbid_unknown_fields=True):
    """How the callback ends."""

    outcome: str
    """``connected``, or the code of the error."""
    missing_scope: str | None = None
    captured: dict[str, str] = {}


class CallbackCase(Case, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The parameters with which a browser comes back, and the answer to the code's exchange where there is one."""

    params: dict[str, str]
    expect: ExpectedCallback
    scope: list[str] = []
    """The scopes that are asked for."""
    with_state: bool = True
    answer: Answer | None = None


class ExpectedImport(Struct, frozen=True, forbid_unknown_fields=True):
    """What is read of the file, or which words the error has."""

    tokens: ExpectedTokens | None = None
    error_names: list[str] = []
    ignored: list[str] | UnsetType = UNSET


class ImportCase(Case, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file with a token set, as another system kept it."""

    expect: ExpectedImport
    file: str = ""
    file_base64: str | None = None
    prove: bool = False
    capture: dict[str, str] = {}


class ExpectedDiscovery(Struct, frozen=True, forbid_unknown_fields=True):
    """The profile that is built: values by dotted path, and words of its notes; or the code of the error."""

    profile: dict[str, Any] = {}
    notes: list[str] = []
    error: str | None = None


class DiscoveryCase(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a server publishes at its well-known addresses."""

    title: Annotated[str, Meta(min_length=10, max_length=150)]
    source: Annotated[list[str], Meta(min_length=1)]
    issuer: str
    documents: dict[str, Answer]
    """By path. Every other well-known address is answered with 404."""
    expect: ExpectedDiscovery
    note: str = ""


class ExpectedClient(Struct, frozen=True, forbid_unknown_fields=True):
    """The entry without what people paste by mistake, or the field that the error names. Either is right."""

    field: str
    client_id: str | None = None
    client_secrets: list[str] = []


class ClientCase(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The entry of a client, as an operator stored it."""

    title: Annotated[str, Meta(min_length=10, max_length=150)]
    source: Annotated[list[str], Meta(min_length=1)]
    entry: str
    expect: ExpectedClient
    note: str = ""


KINDS: dict[str, type[AnswerCase | CallbackCase | ImportCase | DiscoveryCase | ClientCase]] = {
    "answers": AnswerCase,
    "callbacks": CallbackCase,
    "imports": ImportCase,
    "discovery": DiscoveryCase,
    "clients": ClientCase,
}
#: What a variable without a default may look like; the first that its pattern takes.
EXAMPLES = ("example", "api.example.com", "https://api.example.com", "common")
LEAST_PROFILE = """
name = "acme"
title = "Acme"
[authorize]
url = "https://login.example.com/authorize"
[exchange]
url = "https://api.example.com/token"
[refresh]
url = "https://api.example.com/token"
"""


def list_cases(kind: str) -> list[Path]:
    """List the files of one kind."""
    return sorted((FOLDER / kind).glob("*.toml"))


def read_case(file: Path) -> Any:
    """Read one case. Raises ValueError with the file's name where it is none."""
    try:
        case = msgspec.convert(tomllib.loads(file.read_text("utf-8")), KINDS[file.parent.name])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"{file.parent.name}/{file.name}: {error}") from error
    wrong = [text for text in case.source if not SOURCE.fullmatch(text)]
    if wrong:
        raise ValueError(f"{file.parent.name}/{file.name}: no source: {wrong[0]}")
    return case


def list_sources(file: Path) -> list[str]:
    """List the sources of a case."""
    sources: list[str] = read_case(file).source
    return sources
