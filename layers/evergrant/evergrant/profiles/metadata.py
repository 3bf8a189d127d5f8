"""The metadata of an authorization server: its well-known documents, read and merged. Pure.

RFC 8414 and OpenID Connect Discovery 1.0. A server publishes one of them or both, and each may hold values that the
other lacks. Only values that passed a check are kept: no other text of the server is repeated, not even in an error.
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
from .templates import is_host

ENDPOINTS = ("authorization_endpoint", "token_endpoint", "revocation_endpoint")
_LISTS = (
    "grant_types_supported",
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
    "revocation_endpoint_auth_methods_supported",
    "code_challenge_methods_supported",
    "scopes_supported",
)
#: Longer than any real endpoint, and shorter than the limit of a profile.
_MAX_URL_CHARACTERS = 1000
#: Visible ASCII without the characters that URL parsers read differently.
_URL = re.compile(r"[!-\[\]-~]+")
#: An entry of a list: a name from a standard, or a scope (RFC 6749 section 3.3).
_LISTED_NAME = re.compile(r"[!-~]{1,200}")
_LOOPBACK = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Source:
    """One well-known address, and whether its document was used; ``detail`` says why not."""

    url: str
    used: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An endpoint on which two documents differ. Both values passed the check."""

    field: str
    used: str
    passed_over: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """The merged documents.

    A list is None if no document has it, which proves nothing about the server. ``unreadable`` names the entries that
    some document has and that are no lists of names.
    """

    issuer: str
    endpoints: Mapping[str, str]
    lists: Mapping[str, tuple[str, ...] | None]
    announces_iss: bool
    sources: tuple[Source, ...]
    disagreements: tuple[Disagreement, ...]
    unreadable: tuple[str, ...]


def check_issuer(issuer: str) -> SplitResult:
    """Split an issuer identifier, which is an https URL without query or fragment (RFC 8414 section 2).

    Plain http is allowed on loopback, for a server on the same machine.

    Raises
    ------
    InvalidIssuer
    """
    parts = _split_url(issuer)
    if isinstance(parts, str):
        raise InvalidIssuer(f"This is not an issuer: {parts}.")
    return parts


def is_loopback(host: str | None) -> bool:
    """Whether a host, without its port, is one of the names that the local run uses for this machine."""
    return host in _LOOPBACK


def build_well_known_urls(issuer: str) -> tuple[str, ...]:
    """Build the addresses at which an issuer's metadata may be, the preferred one first.

    RFC 8414 section 3.1 puts the well-known part between host and path, OpenID Connect Discovery 1.0 section 4 behind
    the path. RFC 8414 section 5 allows OpenID's document between host and path too.
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


def merge_metadata(issuer: str, responses: Iterable[tuple[str, HttpResponse | None]]) -> Metadata:
    """Merge the documents at the well-known addresses.

    A single value comes from the first document that has it: RFC 8414's has priority over OpenID's. Lists are united.

    Parameters
    ----------
    responses
        Address and response, the preferred address first; None if no response came.

    Raises
    ------
    NoMetadata
        Nothing is published at any address.
    InvalidMetadata
        A document is no metadata, or one of its endpoints cannot be used.
    IssuerMismatch
        A document is another issuer's; RFC 8414 section 3.3 forbids using it.
    """
    loopback = is_loopback(check_issuer(issuer).hostname)
    sources: list[Source] = []
    documents: list[dict[str, Any]] = []
    failures: list[NoMetadata | InvalidMetadata | IssuerMismatch] = []
    for url, response in responses:
        try:
            documents.append(_read_document(issuer, url, response))
            sources.append(Source(url, True))
        except (NoMetadata, InvalidMetadata, IssuerMismatch) as failure:
            failures.append(failure)
            sources.append(Source(url, False, failure.message))
    if not documents:
        raise _choose_failure(issuer, failures)
    endpoints, disagreements = _merge_endpoints(documents, loopback=loopback)
    lists, unreadable = _merge_lists(documents)
    announces_iss = any(
        document.get("authorization_response_iss_parameter_supported") is True for document in documents
    )
    return Metadata(issuer, endpoints, lists, announces_iss, tuple(sources), disagreements, unreadable)


def _merge_endpoints(
    documents: list[dict[str, Any]], *, loopback: bool
) -> tuple[dict[str, str], tuple[Disagreement, ...]]:
    endpoints: dict[str, str] = {}
    disagreements: list[Disagreement] = []
    for name in ENDPOINTS:
        values = dict.fromkeys(
            _check_endpoint(document[name], name, loopback) for document in documents if document.get(name)
        )
        if values:
            endpoints[name], *others = values
            disagreements += [Disagreement(name, endpoints[name], other) for other in others]
    return endpoints, tuple(disagreements)


def _merge_lists(documents: list[dict[str, Any]]) -> tuple[dict[str, tuple[str, ...] | None], tuple[str, ...]]:
    """Unite the documents' lists, and name those that are in some document and unreadable there."""
    lists: dict[str, tuple[str, ...] | None] = {}
    unreadable: list[str] = []
    for name in _LISTS:
        stated = [document[name] for document in documents if document.get(name) is not None]
        readable = [value for value in stated if _is_list_of_names(value)]
        if len(readable) < len(stated):
            unreadable.append(name)
        lists[name] = tuple(dict.fromkeys(entry for value in readable for entry in value)) if readable else None
    return lists, tuple(unreadable)


def _read_document(issuer: str, url: str, response: HttpResponse | None) -> dict[str, Any]:
    if response is None:
        raise NoMetadata("No complete response came from there.")
    if response.status != 200:
        redirects = ": redirects are not followed" if 300 <= response.status < 400 else ""
        raise NoMetadata(f"It responded with status {response.status}{redirects}.")
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("issuer"), str):
        raise InvalidMetadata("It responded with status 200 and a body that is no metadata.")
    if document["issuer"] != issuer:
        other = document["issuer"]
        named = other if len(other) <= _MAX_URL_CHARACTERS and not isinstance(_split_url(other), str) else None
        raise IssuerMismatch(
            f"The metadata there are of another issuer{f', {named}' if named else ''}.",
            f"An issuer is compared character by character. If that is the one you mean: --issuer {named}"
            if named
            else None,
        )
    return document


def _choose_failure(
    issuer: str, failures: list[NoMetadata | InvalidMetadata | IssuerMismatch]
) -> NoMetadata | InvalidMetadata | IssuerMismatch:
    for kind in (IssuerMismatch, InvalidMetadata):
        for failure in failures:
            if isinstance(failure, kind):
                return failure
    reasons = " ".join(dict.fromkeys(failure.message for failure in failures))
    return NoMetadata(f"{issuer} publishes no metadata at any of its {len(failures)} well-known addresses. {reasons}")


def _check_endpoint(value: Any, name: str, loopback: bool) -> str:
    """Return an endpoint that a profile can hold. Raises InvalidMetadata."""
    problem = _split_url(value, with_query=True)
    if isinstance(problem, SplitResult):
        if problem.query or problem.fragment or value.endswith(("?", "#")):
            raise InvalidMetadata(
                f"{name} cannot be used: it has a query or a fragment.",
                "Write the profile by hand (docs/profiles.md), with the parameters in [phase.params].",
            )
        if not is_loopback(problem.hostname) or loopback:
            return str(value)
        problem = "it is a loopback address"
    raise InvalidMetadata(f"{name} cannot be used: {problem}.", "Ask the provider for its documented endpoints.")


def _split_url(url: Any, *, with_query: bool = False) -> SplitResult | str:
    """Split a URL that credentials may be sent to; of any other, return what is wrong. Names are resolved later."""
    if not isinstance(url, str) or len(url) > _MAX_URL_CHARACTERS or not _URL.fullmatch(url):
        return "it is not a URL"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "it is not a URL"
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


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) and _LISTED_NAME.fullmatch(entry) for entry in value)
