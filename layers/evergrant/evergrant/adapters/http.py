"""Send HTTP requests to providers: one request, one fresh connection, one whole response, within one deadline.

httpx speaks HTTP. This module gives it a transport that makes a connection for each request
(:mod:`evergrant.adapters.guarded_network`), and keeps from it what a token request must not have: redirects, proxies,
cookies, credentials of the environment, and decoding without a limit (:mod:`evergrant.content_coding`).
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import cache, lru_cache
from urllib.parse import SplitResult, urlsplit, urlunsplit

import certifi
import h11
import httpcore
import httpx

from ..content_coding import NotDecodable, decode_content
from ..errors import LostReason, LostResponse, NotSent
from ..http_messages import HttpRequest, HttpResponse
from .guarded_network import Exchange, GuardedNetwork
from .name_lookup import KeptAddresses

#: A token set is a few kilobytes, and has to fit into a record sealed; what is longer is refused while it is read.
MAX_RESPONSE_BYTES = 128 * 1024
#: The port of plain HTTP and of TLS.
_PORTS = {True: 80, False: 443}

# They log what is sent and received: headers hold secrets.
for _name in ("httpx", "httpcore.connection", "httpcore.http11"):
    logging.getLogger(_name).disabled = True


class GuardedHttp:
    """:class:`evergrant.ports.Provider` over the network. May be used from several threads at once.

    Parameters
    ----------
    allow_loopback
        The local run's switch: lets loopback addresses be connected to, in plain HTTP too.
    """

    def __init__(self, *, allow_loopback: bool = False) -> None:
        self._allow_loopback = allow_loopback
        self._kept = KeptAddresses()
        self._client = httpx.Client(transport=_FreshConnections(self._kept), trust_env=False, follow_redirects=False)

    def send(self, request: HttpRequest, *, hosts: tuple[str, ...], timeout: float) -> HttpResponse:
        """Send ``request`` to one of ``hosts``; the whole answer must be there after ``timeout`` seconds.

        A body is decoded as its ``Content-Encoding`` says, and kept as it came, with that header, where it cannot be.
        Of a response that is no success the first 128 KiB are enough.

        Raises
        ------
        NotSent
            No byte of the request left: forbidden host or address, DNS, connect or TLS failed, or no time was left.
        LostResponse
            Some of it left and no whole answer of at most 128 KiB came.
        """
        url = urlsplit(request.url)
        plain = url.scheme != "https"
        if url.netloc.lower() not in hosts:
            raise NotSent(
                f"The client's entry does not allow the host {url.netloc}.",
                "Add it to the client's hosts.",
                reason="host",
            )
        if plain and not (self._allow_loopback and url.scheme == "http"):
            raise NotSent("Only https is spoken to a provider.", reason="request")
        if timeout <= 0:
            raise NotSent("No time was left to ask the provider.", reason="timeout")
        exchange = Exchange(time.monotonic() + timeout, plain, self._allow_loopback)
        failure: Exception
        cause: Exception | None = None
        try:
            # Before anything is connected to: what HTTP forbids in a request is found here.
            built = _build_request(request, url, exchange)
            with closing(self._client.send(built, stream=True)) as response:
                return _read_response(response)
        except (h11.ProtocolError, httpcore.ProtocolError, httpx.InvalidURL, ResponseTooLarge) as error:
            # Not chained, and so raised below: its text quotes the header, or the piece of the answer, that is wrong.
            failure = error
        except (OSError, ValueError) as error:  # ValueError for a name or port that cannot be: "a..b", "a:99999"
            failure = cause = error
        self._kept.forget(url.hostname or "")
        raise _build_error(exchange, failure) from cause


class ResponseTooLarge(Exception):
    """A successful response is longer than the limit."""


class _FreshConnections(httpx.BaseTransport):
    """Makes a connection for each request, which ends with its response."""

    def __init__(self, kept: KeptAddresses) -> None:
        self._kept = kept

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        exchange: Exchange = request.extensions["exchange"]
        origin = httpcore.Origin(
            request.url.raw_scheme, request.url.raw_host, request.url.port or _PORTS[exchange.plain]
        )
        connection = httpcore.HTTPConnection(
            origin,
            ssl_context=None if exchange.plain else _create_tls_context(),
            network_backend=GuardedNetwork(exchange, self._kept),
        )
        outgoing = httpcore.Request(
            request.method,
            httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=request.extensions["target"]),
            headers=request.headers.raw,
            content=request.stream,
        )
        try:
            incoming = connection.handle_request(outgoing)
        except BaseException:
            connection.close()
            raise
        # httpx would keep cookies, and parse the address of a redirect. It is not shown the headers.
        return httpx.Response(
            incoming.status, stream=_Body(incoming.iter_stream(), connection), extensions={"headers": incoming.headers}
        )


class _Body(httpx.SyncByteStream):
    """A body as it comes; closing it closes the connection."""

    def __init__(self, stream: Iterator[bytes], connection: httpcore.HTTPConnection) -> None:
        self._stream, self._connection = stream, connection

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._connection.close()


def _build_request(request: HttpRequest, url: SplitResult, exchange: Exchange) -> httpx.Request:
    """Build the whole request. Raises h11.LocalProtocolError and ValueError.

    httpx gets the URL without path and query, which may hold secrets: those go to the transport as they are.
    """
    own = {
        "host": url.netloc,
        "user-agent": "evergrant",
        "accept-encoding": "identity",
        "content-length": str(len(request.body)),
        "connection": "close",
    }
    target = urlunsplit(("", "", url.path or "/", url.query, "")).encode()
    headers = [(name.encode(), value.encode()) for name, value in {**own, **request.headers}.items()]
    h11.Request(method=request.method, target=target, headers=headers)
    origin = _build_origin(url.scheme, url.hostname or "", url.port)
    extensions = {"exchange": exchange, "target": target}
    return httpx.Request(request.method, origin, headers=headers, content=request.body, extensions=extensions)


@lru_cache(maxsize=64)
def _build_origin(scheme: str, host: str, port: int | None) -> httpx.URL:
    return httpx.URL(scheme=scheme, host=host, port=port)


def _read_response(response: httpx.Response) -> HttpResponse:
    """Read the body as it comes and decode it.

    Raises
    ------
    ResponseTooLarge
        It is a success. What is no success is cut.
    httpcore.RemoteProtocolError, OSError
    """
    raw = bytearray()
    for piece in response.iter_raw():
        raw += piece
        if len(raw) > MAX_RESPONSE_BYTES:
            if response.is_success:
                raise ResponseTooLarge
            break
    body, is_cut = bytes(raw[:MAX_RESPONSE_BYTES]), len(raw) > MAX_RESPONSE_BYTES
    headers = _join_headers(response.extensions["headers"])
    accepted = {"whole"} if response.is_success else {"whole", "too_long"} | ({"truncated"} if is_cut else set())
    try:
        decoded = decode_content(body, headers.get("content-encoding", ""), MAX_RESPONSE_BYTES)
    except NotDecodable:
        return HttpResponse(response.status_code, headers, body)
    if decoded.extent in accepted:
        headers.pop("content-encoding", None)
        body = decoded.body
    return HttpResponse(response.status_code, headers, body)


def _join_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Join the values of repeated headers (RFC 9110 section 5.3), which those of Set-Cookie cannot be."""
    values: dict[str, list[str]] = {}
    for name, value in raw:
        values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    values.pop("set-cookie", None)
    return {name: ", ".join(each) for name, each in values.items()}


def _build_error(exchange: Exchange, failure: Exception) -> NotSent | LostResponse:
    name, is_late = type(failure).__name__, isinstance(failure, TimeoutError)
    if exchange.step != "sent":
        return NotSent(f"The provider could not be reached ({name}).", reason="timeout" if is_late else exchange.step)
    return LostResponse(f"The provider's answer is lost ({name}).", reason=_find_lost_reason(exchange, failure))


def _find_lost_reason(exchange: Exchange, failure: Exception) -> LostReason:
    if isinstance(failure, ResponseTooLarge):
        return "too_large"
    if isinstance(failure, TimeoutError):
        return "timeout"
    return exchange.ending or ("reset" if isinstance(failure, OSError) else "protocol")


@cache
def _create_tls_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certifi.where())
