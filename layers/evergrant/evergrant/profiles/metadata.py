"""What an authorization server says of itself: its well-known documents, read and merged. Pure.

RFC 8414 and OpenID Connect Discovery 1.0. Servers publish one or the other or both, and each may hold what the other
lacks. Of their texts only what was checked gets any further: nothing else is repeated, not even in an error.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ..errors import InvalidIssuer, InvalidMetadata, IssuerMismatch, NoMetadata
from ..http_messages import HttpResponse
from ..names import is_host

ENDPOINTS = ("authorization_endpoint", "token_endpoint", "revocation_endpoint")
_LISTS = (
    "grant_types_supported",
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
    "revocation_endpoint_auth_methods_supported",
    "code_challenge_methods_supported",
    "scopes_supported",
)
#: Far beyond any real endpoint, and well within what a profile may hold.
_MAX_URL_CHARACTERS = 1000
#: A URL's visible ASCII, without what parsers disagree about.
_URL = re.compile(r"[!-\[\]-~]+")
#: What the lists hold: words of the standards, and scopes (RFC 6749 section 3.3).
_WORD = re.compile(r"[!-~]{1,200}")
_LOOPBACK = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Source:
    """One well-known address and what became of it; ``detail`` says why it was not used."""

    url: str
    used: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An endpoint on which two documents differ. Both values were checked."""

    field: str
    used: str
    passed_over: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """The documents as one.

    A list is None where no document has it: that proves nothing about the server. ``unreadable`` names those that a
    document has in a form that is none.
    """

    issuer: str
    endpoints: Mapping[str, str]
    lists: Mapping[str, tuple[str, ...] | None]
    announces_iss: bool
    sources: tuple[Source, ...]
    disagreements: tuple[Disagreement, ...]
    unreadable: tuple[str, ...]


def check_issuer(issuer: str) -> SplitResult:
    """The parts of an issuer identifier: an https URL without query or fragment (RFC 8414 section 2).

    Plain http is for loopback, where the server is one's own.

    Raises
    ------
    InvalidIssuer
    """
    parts = _parts(issuer)
    if isinstance(parts, str):
        raise InvalidIssuer(f"This is no issuer: {parts}.")
    return parts


def is_loopback(host: str | None) -> bool:
    """Whether a host, without its port, is this machine by one of the names the local run uses."""
    return host in _LOOPBACK


def build_well_known_urls(issuer: str) -> tuple[str, ...]:
    """Where an issuer's metadata may be, the preferred address first.

    RFC 8414 section 3.1 puts the well-known part between host and path, OpenID Connect Discovery 1.0 section 4 behind
    the path; RFC 8414 section 5 knows of OpenID's document at its own place too.
    """
    parts = check_issuer(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.removesuffix("/")
    return tuple(
        dict.fromkeys(
            (
                f"{origin}/.well-known/oauth-authorization-server{path}",
                f"{origin}{path}/.well-known/openid-configuration",
                f"{origin}/.well-known/openid-configuration{path}",
            )
        )
    )


def merge_metadata(issuer: str, answers: Iterable[tuple[str, HttpResponse | None]]) -> Metadata:
    """The documents behind the well-known addresses as one.

    Single values are taken from the first document that has them, so RFC 8414's outranks OpenID's; lists are united.

    Parameters
    ----------
    answers
        Address and answer, the preferred address first; None where no answer came.

    Raises
    ------
    NoMetadata
        Nothing is published at any address.
    InvalidMetadata
        What is published is no metadata, or an endpoint in it cannot be used.
    IssuerMismatch
        It is another issuer's (RFC 8414 section 3.3: then it must not be used).
    """
    loopback = is_loopback(check_issuer(issuer).hostname)
    sources: list[Source] = []
    documents: list[dict[str, Any]] = []
    failures: list[NoMetadata | InvalidMetadata | IssuerMismatch] = []
    for url, answer in answers:
        try:
            documents.append(_document(issuer, url, answer))
            sources.append(Source(url, True))
        except (NoMetadata, InvalidMetadata, IssuerMismatch) as failure:
            failures.append(failure)
            sources.append(Source(url, False, failure.message))
    if not documents:
        raise _most_telling(issuer, failures)
    unreadable: dict[str, None] = {}
    disagreements: list[Disagreement] = []
    endpoints: dict[str, str] = {}
    for name in ENDPOINTS:
        values = dict.fromkeys(
            _endpoint(document[name], name, loopback) for document in documents if document.get(name)
        )
        if values:
            endpoints[name], *others = values
            disagreements += [Disagreement(name, endpoints[name], other) for other in others]
    lists: dict[str, tuple[str, ...] | None] = {}
    for name in _LISTS:
        stated = [document[name] for document in documents if document.get(name) is not None]
        readable = [value for value in stated if _is_words(value)]
        if len(readable) < len(stated):
            unreadable[name] = None
        lists[name] = tuple(dict.fromkeys(word for value in readable for word in value)) if readable else None
    announces_iss = any(
        document.get("authorization_response_iss_parameter_supported") is True for document in documents
    )
    return Metadata(issuer, endpoints, lists, announces_iss, tuple(sources), tuple(disagreements), tuple(unreadable))


def _document(issuer: str, url: str, answer: HttpResponse | None) -> dict[str, Any]:
    if answer is None:
        raise NoMetadata("No whole answer came from there.")
    if answer.status != 200:
        redirects = ": redirects are not followed" if 300 <= answer.status < 400 else ""
        raise NoMetadata(f"It answered {answer.status}{redirects}.")
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("issuer"), str):
        raise InvalidMetadata("It answered 200 with something that is no metadata.")
    if document["issuer"] != issuer:
        other = document["issuer"]
        named = other if len(other) <= _MAX_URL_CHARACTERS and not isinstance(_parts(other), str) else None
        raise IssuerMismatch(
            f"The metadata there is of another issuer{f', {named}' if named else ''}.",
            f"An issuer is compared character by character. If it is the one you mean: --issuer {named}"
            if named
            else None,
        )
    return document


def _most_telling(
    issuer: str, failures: list[NoMetadata | InvalidMetadata | IssuerMismatch]
) -> NoMetadata | InvalidMetadata | IssuerMismatch:
    for kind in (IssuerMismatch, InvalidMetadata):
        for failure in failures:
            if isinstance(failure, kind):
                return failure
    told = " ".join(dict.fromkeys(failure.message for failure in failures))
    return NoMetadata(f"{issuer} publishes no metadata at any of its {len(failures)} well-known addresses. {told}")


def _endpoint(value: Any, name: str, loopback: bool) -> str:
    """An endpoint that a profile can hold, or InvalidMetadata."""
    problem = _parts(value, with_query=True)
    if isinstance(problem, SplitResult):
        if problem.query or problem.fragment or value.endswith(("?", "#")):
            raise InvalidMetadata(
                f"{name} cannot be used: it has a query or a fragment.",
                "A profile sends parameters by [phase.params]: write it by hand (docs/profiles.md).",
            )
        if not is_loopback(problem.hostname) or loopback:
            return str(value)
        problem = "it points to the machine that asks"
    raise InvalidMetadata(f"{name} cannot be used: {problem}.", "Ask the provider for its documented endpoints.")


def _parts(url: Any, *, with_query: bool = False) -> SplitResult | str:
    """A URL's parts if credentials might be sent there, else what is wrong with it. Names are resolved only later."""
    if not isinstance(url, str) or len(url) > _MAX_URL_CHARACTERS or not _URL.fullmatch(url):
        return "it is no URL"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "it is no URL"
    host = parts.hostname or ""
    if not is_host(parts.netloc):
        return "it names no host (write https://host/path, without a user name)"
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        return "it is not https"
    if not with_query and (parts.query or parts.fragment or url.endswith(("?", "#"))):
        return "it has a query or a fragment"
    try:
        public = ipaddress.ip_address(host).is_global
    except ValueError:
        public = not host.endswith(".localhost")
    return parts if public or is_loopback(host) else "its address is not public"


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) and _WORD.fullmatch(word) for word in value)
