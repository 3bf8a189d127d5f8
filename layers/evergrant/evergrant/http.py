"""Outbound HTTP to providers: one request, one fresh connection, one whole answer, within one deadline.

httpcore, the engine inside httpx, is used bare: redirects, proxies, cookies and decoding are exactly what a token
request must not have, and it imports in half the time. What it lacks is here: a limit on the *total* time, from the
name's resolution to the last byte, and a look at every address before it is connected to.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import cache
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import certifi
import httpcore

from .dialect import HttpRequest, HttpResponse
from .errors import LostAnswer, NotSent

#: A token set is a few kilobytes, and has to fit into a record sealed; what is longer is refused while it is read.
LARGEST_ANSWER = 128 * 1024
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_Options = Iterable[tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]]


class GuardedHttp:
    """:class:`evergrant.ports.Provider` over the network.

    Parameters
    ----------
    allow_loopback
        The local run's switch: lets loopback addresses be connected to, in plain HTTP too.
    """

    def __init__(self, *, allow_loopback: bool = False) -> None:
        self._allow_loopback = allow_loopback

    def send(self, request: HttpRequest, *, hosts: tuple[str, ...], timeout: float) -> HttpResponse:
        """Send ``request`` to one of ``hosts``; the whole answer must be there after ``timeout`` seconds.

        Raises
        ------
        NotSent
            No byte of the request left: forbidden host or address, DNS, connect or TLS failed, or no time was left.
        LostAnswer
            Some of it left and no whole answer of at most 128 KiB came.
        """
        url = urlsplit(request.url)
        if url.netloc.lower() not in hosts:
            raise NotSent(f"The client's entry does not allow the host {url.netloc}.", "Add it to the client's hosts.")
        if url.scheme != "https" and not (self._allow_loopback and url.scheme == "http"):
            raise NotSent("Only https is spoken to a provider.")
        if timeout <= 0:
            raise NotSent("No time was left to ask the provider.")
        network = _Network(time.monotonic() + timeout, self._allow_loopback, plain=url.scheme == "http")
        cause: Exception | None = None
        try:
            return _exchange(request, network)
        except httpcore.ProtocolError as error:
            # Not chained, and so raised below: its text quotes the header, or the piece of the answer, that is wrong.
            failure = type(error).__name__
        except (httpcore.TimeoutException, httpcore.NetworkError, OSError) as error:
            failure, cause = type(error).__name__, error
        if network.sent:
            raise LostAnswer(f"The provider's answer is lost ({failure}).") from cause
        raise NotSent(f"The provider could not be reached ({failure}).") from cause


def _exchange(request: HttpRequest, network: _Network) -> HttpResponse:
    with httpcore.ConnectionPool(
        ssl_context=_tls(), network_backend=network, max_connections=1, http2=False, retries=0
    ) as pool:
        own = {"user-agent": "evergrant", "accept-encoding": "identity"}
        headers = [(name.encode(), value.encode()) for name, value in {**own, **request.headers}.items()]
        with pool.stream(request.method, request.url, headers=headers, content=request.body) as answer:
            body = bytearray()
            for chunk in answer.iter_stream():
                body += chunk
                if len(body) > LARGEST_ANSWER:
                    raise httpcore.RemoteProtocolError("the answer is too large")
            named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
            return HttpResponse(answer.status, named, bytes(body))


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certifi.where())


class _Network(httpcore.NetworkBackend):
    """Connects only where it may, and gives every operation only what is left of the whole time."""

    def __init__(self, deadline: float, allow_loopback: bool, *, plain: bool) -> None:
        self._deadline = deadline
        self._allow_loopback = allow_loopback
        self._plain = plain
        self._backend = httpcore.SyncBackend()
        self.sent = False

    def left(self, failure: type[httpcore.TimeoutException]) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise failure("the time for this request is over")
        return left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _Options | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("the name has no address")
        for address in self._resolve(host, port):
            self._check(address)
            try:
                stream = self._backend.connect_tcp(address, port, timeout=self.left(httpcore.ConnectTimeout))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self)
        raise failure

    def _resolve(self, host: str, port: int) -> list[str]:
        """The host's addresses. getaddrinfo has no timeout of its own, so it gets a thread to hang in."""
        found: Future[list[Any]] = Future()

        def look_up() -> None:
            try:
                found.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError) as error:  # the latter for what cannot be a name: "a..b"
                found.set_exception(error)

        Thread(target=look_up, daemon=True).start()
        try:
            answers = found.result(timeout=self.left(httpcore.ConnectTimeout))
        except FutureTimeoutError as error:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name does not resolve") from error
        return list(dict.fromkeys(answer[4][0] for answer in answers))

    def _check(self, address: str) -> None:
        """Refuse addresses inside the account: metadata services, private networks (checked at connect time)."""
        ip = _destination(ipaddress.ip_address(address.partition("%")[0]))
        public = ip.is_global and not (ip.is_multicast or ip.is_reserved or getattr(ip, "is_site_local", False))
        if public and not self._plain:
            return
        if not (self._allow_loopback and ip.is_loopback):
            raise httpcore.ConnectError(
                "only loopback is spoken to in plain http"
                if public
                else "the host resolves to an address that is not public"
            )


def _destination(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Where an address leads: the IPv4 one inside a mapped, 6to4 or NAT64 one (RFC 4291, RFC 3056, RFC 6052)."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


class _Stream(httpcore.NetworkStream):
    """A connection that keeps the deadline, and remembers whether anything of the request was sent."""

    def __init__(self, stream: httpcore.NetworkStream, network: _Network) -> None:
        self._stream = stream
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._network.left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = self._network.left(httpcore.WriteTimeout)
        self._network.sent = True
        self._stream.write(buffer, left)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._network.left(httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._network)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
