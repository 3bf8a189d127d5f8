"""The parts of a request, filled from a profile's templates: parameters, headers and URL."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from ..errors import InvalidVariable
from ..names import is_host
from ..profiles.templates import fill_template


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
    if loopback and urlsplit(f"//{host}").hostname in ("localhost", "127.0.0.1"):
        scheme = "http"
    return f"{scheme}://{host}{slash}{path}"
