"""The steps of a call with a connection's headers, for httpx and httpx2, which share their shape but no class.

This module imports neither: `evergrant_client.httpx` and `evergrant_client.httpx2` give it their own types.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from ._call import Call
from ._client import DEFAULT_MIN_TTL, Evergrant
from ._default import default
from ._errors import MissingHeaders
from ._tokens import AccessToken

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

# One for each event loop and connection: tasks that wait for a fetch under way wait in the loop, and not in one of the
# threads that the application shares.
_limiters: anyio.lowlevel.RunVar[dict[object, anyio.CapacityLimiter]] = anyio.lowlevel.RunVar(__name__)


class AuthFlow(Generic[RequestT, ResponseT]):
    """The part of both auth classes that is the same; see `evergrant_client.httpx.EvergrantAuth`."""

    #: The library's class of bodies that are in memory, which can be sent again.
    _replayable_stream: ClassVar[type]

    def __init__(
        self, connection: str, *, min_ttl: float = DEFAULT_MIN_TTL, evergrant: Evergrant | None = None
    ) -> None:
        self._connection = connection
        self._min_ttl = min_ttl
        self._evergrant = evergrant

    def auth_flow(self, request: RequestT) -> Generator[RequestT, ResponseT, None]:
        """Run the steps. Called by the library."""
        steps = self._steps(self._call(), request, _Guard)
        result: Any = None
        while True:
            try:
                step = steps.send(result)
            except StopIteration:
                return
            result = step() if callable(step) else (yield step)

    async def async_auth_flow(self, request: RequestT) -> AsyncGenerator[RequestT, ResponseT]:
        """Run the same steps; those that block run in a thread. Called by the library."""
        call = self._call()
        steps = self._steps(call, request, _AsyncGuard)
        result: Any = None
        while True:
            try:
                step = steps.send(result)
            except StopIteration:
                return
            if callable(step):
                # A cancelled call does not wait: the fetch ends by itself and fills the cache.
                result = await anyio.to_thread.run_sync(step, abandon_on_cancel=True, limiter=_limiter(call.slot))
            else:
                result = yield step

    def _call(self) -> Call:
        return Call(self._evergrant or default(), self._connection, self._min_ttl)

    def _steps(self, call: Call, request: Any, guard: type[_Guard]) -> Generator[Any, Any, None]:
        """Yield requests, to be answered with a response, and functions, to be answered with their result."""
        first: AccessToken = call.token or (yield call.begin)
        missing = first.find_missing_headers(request.headers)
        if missing:
            raise MissingHeaders(self._connection, missing)
        token: AccessToken | None = first
        replayable = isinstance(request.stream, self._replayable_stream)
        _guard(request, first, guard)
        while token is not None:
            request.headers.update(token.headers)
            response = yield request
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
    requests of redirects. httpcore2 and httpx2 do the same.
    """

    def __init__(self, request: Any, names: frozenset[bytes]) -> None:
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


def _guard(request: Any, token: AccessToken, guard: type[_Guard]) -> None:
    names = frozenset(name.lower().encode() for name in token.headers) - {b"authorization"}
    if names:
        request.extensions = {**request.extensions, "trace": guard(request, names)}


def _same_origin(one: Any, other: Any) -> bool:
    return bool((one.scheme, one.host, one.port) == (other.scheme, other.host, other.port))
