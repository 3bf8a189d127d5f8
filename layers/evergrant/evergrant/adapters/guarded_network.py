"""The network below httpx: checked addresses, and one deadline over name, connection, TLS, writing and reading.

httpcore asks a :class:`httpcore.NetworkBackend` for its connections and gives it a timeout for each single step. Here
those are ignored: a server that sends a byte now and then would keep every one of them. What failed is not turned into
httpcore's errors either, so that nothing but :class:`Exchange` says how far a request came.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import httpcore

from ..errors import NotSentReason
from .address_policy import require_public_address
from .name_lookup import KeptAddresses


@dataclass(slots=True)
class Exchange:
    """One request and its response: the time that it has, and how far it came.

    Attributes
    ----------
    end
        By :func:`time.monotonic`.
    step
        What is under way. ``sent`` from the moment at which the first byte may leave.
    ending
        How the provider ended the connection, None while it is open.
    """

    end: float
    plain: bool
    allow_loopback: bool
    step: NotSentReason | Literal["sent"] = "request"
    ending: Literal["reset", "truncated"] | None = None

    def compute_seconds_left(self) -> float:
        """Return the seconds that are left. Raises TimeoutError where none are."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for this request is over")
        return left


class GuardedNetwork(httpcore.NetworkBackend):
    """Connects one exchange to a public address of its host."""

    def __init__(self, exchange: Exchange, kept: KeptAddresses) -> None:
        self._exchange, self._kept = exchange, kept

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first of the host's addresses that answers. Each is checked before."""
        exchange = self._exchange
        exchange.step = "dns"
        failure = OSError("the name has no address")
        for address in self._kept.find(host, exchange.compute_seconds_left()):
            exchange.step = "address"
            require_public_address(address, plain=exchange.plain, allow_loopback=exchange.allow_loopback)
            exchange.step = "connect"
            try:
                connection = socket.create_connection((address, port), exchange.compute_seconds_left())
            except OSError as error:
                failure = error
            else:
                # The end of a long request does not wait for the acknowledgement of its beginning.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return _Stream(connection, exchange)
        raise failure


class _Stream(httpcore.NetworkStream):
    """A connection whose every step ends at the exchange's deadline."""

    def __init__(self, connection: socket.socket, exchange: Exchange) -> None:
        self._connection, self._exchange = connection, exchange

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        self._exchange.step = "tls"
        try:
            self._connection.settimeout(self._exchange.compute_seconds_left())
            # Asked for by itself: around a connection that is already reset, wrapping makes no handshake and no error.
            self._connection = wrapped = ssl_context.wrap_socket(
                self._connection, server_hostname=server_hostname, do_handshake_on_connect=False
            )
            wrapped.do_handshake()
        except BaseException:
            self.close()
            raise
        return self

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        while view:
            self._connection.settimeout(self._exchange.compute_seconds_left())
            self._exchange.step = "sent"
            try:
                view = view[self._connection.send(view) :]
            except TimeoutError:
                raise
            except OSError as error:
                self._exchange.ending = "reset"
                # A server that closed early may have answered before: on this error, httpcore reads the response.
                raise httpcore.WriteError from error

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._connection.settimeout(self._exchange.compute_seconds_left())
        piece = self._connection.recv(max_bytes)
        if not piece:
            self._exchange.ending = self._exchange.ending or "truncated"
        return piece

    def close(self) -> None:
        self._connection.close()
