"""Authentication for httpx. Importing this module imports httpx; the rest of the package does not.

>>> client = httpx.Client(auth=EvergrantAuth("keap/main"))  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import anyio.to_thread
import httpx

from ._call import Call
from ._client import DEFAULT_MIN_TTL, Evergrant
from ._default import default
from ._errors import MissingHeaders
from ._tokens import AccessToken

__all__ = ["EvergrantAuth"]

_Step = httpx.Request | Callable[[], AccessToken | None]


class EvergrantAuth(httpx.Auth):
    """Sends a connection's headers with every request, for `httpx.Client` and `httpx.AsyncClient`.

    When the provider refuses the token, the call is sent again with another one: at most once with what
    the secret holds by then, and once with what getter renewed. A body that is a stream is not sent
    again: its caller gets the refusal, and the next call has the new token.

    If redirects are followed, httpx takes only ``Authorization`` off a request that goes to another host:
    where the profile sends the token in another header, do not follow redirects.

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
        On a call without the headers which the provider requires of every call.
    EvergrantError
        On a call for which no token can be had; see `Evergrant.token`.
    """

    def __init__(
        self, connection: str, *, min_ttl: float = DEFAULT_MIN_TTL, evergrant: Evergrant | None = None
    ) -> None:
        self._connection = connection
        self._min_ttl = min_ttl
        self._evergrant = evergrant

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Drive the steps; httpx calls this."""
        steps = self._steps(request)
        result: Any = None
        while True:
            try:
                step = steps.send(result)
            except StopIteration:
                return
            result = (yield step) if isinstance(step, httpx.Request) else step()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Drive the same steps, those that block in a thread; httpx calls this."""
        steps = self._steps(request)
        result: Any = None
        while True:
            try:
                step = steps.send(result)
            except StopIteration:
                return
            if isinstance(step, httpx.Request):
                result = yield step
            else:
                # A cancelled call need not wait: the fetch ends by itself and fills the cache.
                result = await anyio.to_thread.run_sync(step, abandon_on_cancel=True)

    def _steps(self, request: httpx.Request) -> Generator[_Step, Any, None]:
        """Yield requests, to be answered with a response, and functions, to be answered with their result."""
        call = Call(self._evergrant or default(), self._connection, self._min_ttl)
        first: AccessToken = call.token or (yield call.begin)
        missing = first.missing(request.headers)
        if missing:
            raise MissingHeaders(self._connection, missing)
        token: AccessToken | None = first
        replayable = isinstance(request.stream, httpx.ByteStream)
        while token is not None:
            request.headers.update(token.headers)
            response: httpx.Response = yield request
            # After redirects the answer may come from elsewhere, where our token was never sent.
            if not call.refused(response.status_code) or not _same_origin(response.request.url, request.url):
                return
            token = yield call.another
            if not replayable:
                return


def _same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)
