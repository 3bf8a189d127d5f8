"""The profiles' template language: values and a few pure functions of them in braces, and nothing else.

``{client_id}`` is a value. ``{base64(user, ':', key)}`` is a function of values and of texts in single quotes, which
are concatenated first. ``{{`` is a brace. Nothing is evaluated: the functions are the closed set :data:`FUNCTIONS`.
"""

from __future__ import annotations

import difflib
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote, urlsplit

from ..errors import InvalidVariable

#: Name to the function and its description in docs/profiles.md. Each takes a text and returns one.
FUNCTIONS: dict[str, tuple[Callable[[str], str], str]] = {
    "base64": (
        lambda text: b64encode(text.encode()).decode(),
        "Base64 of the text's UTF-8 (RFC 4648 section 4), for example in the provider's own form of HTTP Basic",
    ),
    "percent": (
        lambda text: quote(text, safe=""),
        "Percent-encoding (RFC 3986 section 2.1) of all but letters, digits and `-._~`, for a value inside another",
    ),
    "lower": (str.lower, "Lower case, for values that people write in either case, such as a shop's sub-domain"),
}
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?")
_ARGUMENT = r"\s*(?:[a-z][a-z0-9_]*|'[^'{}]*')\s*"
_PLACEHOLDER = re.compile(rf"\{{\{{|\}}\}}|\{{([a-z][a-z0-9_]*)(?:\(({_ARGUMENT}(?:,{_ARGUMENT})*)\))?\}}|[{{}}]")
_PARTS = re.compile(r"([a-z][a-z0-9_]*)|'([^']*)'")
#: Text that looks like a function, for the error message.
_ATTEMPT = re.compile(r"\{\s*(\w+)\s*\(")


def find_names(template: str) -> Iterator[str]:
    """Find the names of the values that a template uses.

    Raises
    ------
    ValueError
        A single brace, an unknown function, or a function with a syntax error.
    """
    for found in _PLACEHOLDER.finditer(template):
        name, arguments = found[1], found[2]
        if arguments is not None:
            if name not in FUNCTIONS:
                raise ValueError(_describe_unknown(name))
            yield from (part[1] for part in _PARTS.finditer(arguments) if part[1])
        elif name:
            yield name
        elif len(found[0]) == 1:
            attempt = _ATTEMPT.match(template, found.start())
            if attempt and attempt[1] not in FUNCTIONS:
                raise ValueError(_describe_unknown(attempt[1]))
            if attempt:
                raise ValueError(
                    f"{attempt[1]} takes names and texts in single quotes, with commas between: "
                    f"{{{attempt[1]}(name, ':', other)}}"
                )
            raise ValueError(f"a single {found[0]!r} at position {found.start()}; write it twice to mean the character")


def fill_template(
    template: str, values: Mapping[str, str | None], encode: Callable[[str], str] = lambda text: text
) -> str | None:
    """Fill a template with values, each passed through ``encode``; None when one of them has no value."""
    missing = False

    def replace(found: re.Match[str]) -> str:
        nonlocal missing
        name, arguments = found[1], found[2]
        if not name:
            return found[0][0]
        if arguments is None:
            text = values.get(name)
            missing = missing or text is None
            return encode(text or "")
        parts = [values.get(part[1]) if part[1] else part[2] for part in _PARTS.finditer(arguments)]
        if name not in FUNCTIONS or None in parts:
            missing = True
            return ""
        return encode(FUNCTIONS[name][0]("".join(part or "" for part in parts)))

    filled = _PLACEHOLDER.sub(replace, template)
    return None if missing else filled


def _describe_unknown(function: str) -> str:
    near = difflib.get_close_matches(function.lower(), FUNCTIONS, n=1)
    meant = f". Did you mean {near[0]}?" if near else ""
    return f"there is no function {function}; allowed are {', '.join(FUNCTIONS)}{meant}"


def fill_params(templates: Mapping[str, str], values: Mapping[str, str | None]) -> dict[str, str]:
    """Fill the templates of parameters; a parameter without a value is left out.

    Raises
    ------
    InvalidVariable
        A filled value holds a line break.
    """
    filled = {}
    for name, template in templates.items():
        value = fill_template(template, values)
        if value:
            if "\r" in value or "\n" in value:
                raise InvalidVariable(f"The value for {name} holds a line break.")
            filled[name] = value
    return filled


def fill_headers(templates: Mapping[str, str], values: Mapping[str, str | None]) -> dict[str, str]:
    """Fill the templates of headers; a header without a value is left out.

    Raises
    ------
    InvalidVariable
        A filled value is not ASCII, or holds a line break (RFC 9110 section 5.5).
    """
    filled = fill_params(templates, values)
    for name, value in filled.items():
        if not value.isascii():
            raise InvalidVariable(f"The value for the header {name} holds a character that no header may hold.")
    return filled


def fill_url(template: str, variables: Mapping[str, str], *, loopback: bool) -> str:
    """Fill the template of an endpoint's URL, with every variable in the path percent-encoded.

    Parameters
    ----------
    loopback
        Set by the local run alone: requests to a host on loopback use plain HTTP.

    Raises
    ------
    InvalidVariable
        A variable does not give a host name.
    """
    scheme, _, rest = template.partition("://")
    authority, slash, path = rest.partition("/")
    host = fill_template(authority, variables) or ""
    if not is_host(host):
        raise InvalidVariable("A variable makes the URL's host unusable.", "It must be a host name, or host:port.")
    path = fill_template(path, variables, lambda value: quote(value, safe="")) or ""
    if any(segment in (".", "..") for segment in path.split("/")):
        # RFC 3986 section 5.2.4: a client or a server removes such a segment, with the one before it.
        raise InvalidVariable("A variable makes a part of the URL's path `.` or `..`.")
    if loopback and urlsplit(f"//{host}").hostname in ("localhost", "127.0.0.1"):
        scheme = "http"
    return f"{scheme}://{host}{slash}{path}"


def is_host(value: str) -> bool:
    """Whether ``value`` can be a URL's authority: a host name or IPv4 address, with or without a port."""
    return _HOST.fullmatch(value) is not None
