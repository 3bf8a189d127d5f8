"""Authentication for requests. Importing this module imports requests; the rest of the package does not.

>>> session.auth = EvergrantAuth("keap/main")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase
from requests.cookies import extract_cookies_to_jar

from ._call import Call
from ._client import DEFAULT_MIN_TTL, Evergrant
from ._default import default
from ._errors import MissingHeaders

__all__ = ["EvergrantAuth"]


class EvergrantAuth(AuthBase):
    """Sends a connection's headers with every request.

    When the provider rejects the token, the call is sent again with another one: at most once with what
    the secret holds by then, and once with what getter renewed. A body that cannot be read twice is not
    sent again: its caller gets the rejection, and the next call has the new token. On a redirect to another
    host none of the connection's headers are sent.

    Parameters
    ----------
    connection : str
        ``provider/account``.
    min_ttl : float
        Seconds that the token must last when a call begins.
    evergrant : Evergrant, optional
        Where tokens come from. Default: the one behind `evergrant_client.token`.

    Raises
    ------
    MissingHeaders
        On a call without the headers that the provider requires on every call.
    EvergrantError
        On a call for which no token is available; see `Evergrant.token`.
    """

    def __init__(
        self, connection: str, *, min_ttl: float = DEFAULT_MIN_TTL, evergrant: Evergrant | None = None
    ) -> None:
        self._connection = connection
        self._min_ttl = min_ttl
        self._evergrant = evergrant

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Prepare one request. Called by requests."""
        call = Call(self._evergrant or default(), self._connection, self._min_ttl)
        token = call.begin()
        missing = token.find_missing_headers(r.headers)
        if missing:
            raise MissingHeaders(self._connection, missing)
        r.headers.update(token.headers)
        r.register_hook("response", _Hook(call, r))  # type: ignore[no-untyped-call]
        return r


class _Hook:
    """Checks each response of one call. A class, so that it holds only what it needs."""

    def __init__(self, call: Call, request: requests.PreparedRequest) -> None:
        self._call = call
        self._origin = _origin(request.url)
        self._names = tuple(call.begin().headers)
        self._start = _position(request.body)

    def __call__(self, response: requests.Response, **send: Any) -> requests.Response:
        # requests copies hooks to the requests of redirects. The token is not sent to another origin.
        if _origin(response.request.url) != self._origin:
            return response
        while self._call.is_rejected(response.status_code):
            token = self._call.fetch_other()
            if token is None or not self._rewind(response.request.body):
                break
            # In place, since requests makes a redirect's request from this one. Sent as a copy, as its
            # own digest authentication does, so that `history` keeps both.
            response.request.headers.update(token.headers)
            response = _send_again(response, send)
        self._before_redirect(response)
        return response

    def _rewind(self, body: Any) -> bool:
        if body is None or isinstance(body, str | bytes):
            return True
        if self._start is None:
            return False
        try:
            body.seek(self._start)
        except (OSError, ValueError):
            return False
        return True

    def _before_redirect(self, response: requests.Response) -> None:
        target = response.headers.get("location") if response.is_redirect else None
        if target is None or _origin(urljoin(str(response.request.url), target)) == self._origin:
            return
        # requests itself removes Authorization only, but a profile may send the token in another header.
        for request in (response.request, *(earlier.request for earlier in response.history)):
            for name in self._names:
                request.headers.pop(name, None)


def _send_again(refused: requests.Response, send: dict[str, Any]) -> requests.Response:
    _ = refused.content  # the connection is released only when the response has been read
    refused.close()
    request = refused.request.copy()
    jar = request._cookies  # type: ignore[attr-defined]
    extract_cookies_to_jar(jar, refused.request, refused.raw)  # type: ignore[no-untyped-call]
    request.prepare_cookies(jar)
    response: requests.Response = refused.connection.send(request, **send)
    response.history.append(refused)
    response.request = request
    return response


def _position(body: Any) -> int | None:
    try:
        position = body.tell()
    except (AttributeError, OSError, ValueError):
        return None
    return position if isinstance(position, int) else None


def _origin(url: Any) -> tuple[str, str | None, int | None]:
    parts = urlsplit(str(url))
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port
