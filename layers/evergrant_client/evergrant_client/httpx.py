"""Authentication for httpx. Importing this module imports httpx; the rest of the package does not.

>>> client = httpx.Client(auth=EvergrantAuth("keap/main"))  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx

from ._call import Call
from ._client import DEFAULT_MIN_TTL, Evergrant
from ._default import default
from ._errors import MissingHeaders
from ._tokens import AccessToken

__all__ = ["EvergrantAuth"]

_Step = httpx.Request | Callable[[], AccessToken | None]

# One for each event loop and connection: tasks that wait for a fetch under way wait in the loop, and not in one of the
# threads that the application shares.
_limiters: anyio.lowlevel.RunVar[dict[object, anyio.CapacityLimiter]] = anyio.lowlevel.RunVar(__name__)


class EvergrantAuth(httpx.Auth):
    """Sends a connection's headers with every request, for `httpx.Client` and `httpx.AsyncClient`.

    When the provider rejects the token, the call is sent again with another one: at most once with what
    the secret holds by then, and once with what getter renewed. A body that is a stream is not sent
    again: its caller gets the rejection, and the next call has the new token.

    If redirects are followed, none of the connection's headers go to another origin: httpx removes
    ``Authorization``, and this class the others, by httpcore's ``trace`` extension. With a transport that
    has no such extension, and a profile that sends the token in another header, do not follow redirects.

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

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Run the steps. Called by httpx."""
        steps = self._steps(self._call(), request, _Guard)
        result: Any = None
        while True:
            try:
                step = steps.send(result)
            except StopIteration:
                return
            result = (yield step) if isinstance(step, httpx.Request) else step()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Run the same steps; those that block run in a thread. Called by httpx."""
        call = self._call()
        steps = self._steps(call, request, _AsyncGuard)
        result: Any = None
        while True:
            try:
                step = steps.send(result)
            except StopIteration:
                return
            if isinstance(step, httpx.Request):
                result = yield step
            else:
                # A cancelled call does not wait: the fetch ends by itself and fills the cache.
                result = await anyio.to_thread.run_sync(step, abandon_on_cancel=True, limiter=_limiter(call.slot))

    def _call(self) -> Call:
        return Call(self._evergrant or default(), self._connection, self._min_ttl)

    def _steps(self, call: Call, request: httpx.Request, guard: type[_Guard]) -> Generator[_Step, Any, None]:
        """Yield requests, to be answered with a response, and functions, to be answered with their result."""
        first: AccessToken = call.token or (yield call.begin)
        missing = first.find_missing_headers(request.headers)
        if missing:
            raise MissingHeaders(self._connection, missing)
        token: AccessToken | None = first
        replayable = isinstance(request.stream, httpx.ByteStream)
        _guard(request, first, guard)
        while token is not None:
            request.headers.update(token.headers)
            response: httpx.Response = yield request
            # After redirects the response may come from another origin, where the token was never sent.
            if not call.is_rejected(response.status_code) or not _same_origin(response.request.url, request.url):
                return
            token = yield call.fetch_other
            if not replayable:
                return


def _limiter(slot: object) -> anyio.CapacityLimiter:
    try:
        limiters = _limiters.get()
    except LookupError:
        _limiters.set(limiters := {})
    if slot not in limiters:
        limiters[slot] = anyio.CapacityLimiter(1)
    return limiters[slot]


class _Guard:
    """Removes the connection's headers from what httpcore is about to send to another origin.

    httpcore calls a request's ``trace`` extension at each step, and httpx hands the extension on to the
    requests of redirects.
    """

    def __init__(self, request: httpx.Request, names: frozenset[bytes]) -> None:
        self._origin = request.url.scheme.encode(), request.headers["Host"].encode().lower()
        self._names = names
        self._next: Callable[[str, Mapping[str, Any]], Any] | None = request.extensions.get("trace")

    def __call__(self, event: str, info: Mapping[str, Any]) -> Any:
        self._look(event, info)
        return self._next(event, info) if self._next else None

    def _look(self, event: str, info: Mapping[str, Any]) -> None:
        if not event.endswith(".send_request_headers.started"):
            return
        request = info["request"]
        # The header and not the URL, which is the proxy's where one forwards plain HTTP.
        hosts = [value.lower() for name, value in request.headers if name.lower() == b"host"]
        if [(request.url.scheme, host) for host in hosts] != [self._origin]:
            request.headers = [(name, value) for name, value in request.headers if name.lower() not in self._names]


class _AsyncGuard(_Guard):
    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        self._look(event, info)
        following: Awaitable[None] | None = self._next(event, info) if self._next else None
        if following is not None:
            await following


def _guard(request: httpx.Request, token: AccessToken, guard: type[_Guard]) -> None:
    names = frozenset(name.lower().encode() for name in token.headers) - {b"authorization"}
    if names:
        request.extensions = {**request.extensions, "trace": guard(request, names)}


def _same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)
