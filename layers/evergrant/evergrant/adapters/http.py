"""Send HTTP requests to providers: one request, one fresh connection, one whole response, within one deadline.

h11, the protocol inside httpx, is used bare: a token request must not have redirects, proxies, cookies, decoding or
kept connections. This module adds a limit on the *total* time, from the name's resolution to the last byte. It checks
every address before it connects (:mod:`evergrant.adapters.address_policy`).
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from functools import cache
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

import certifi
import h11

from ..errors import LostResponse, NotSent
from ..http_messages import HttpRequest, HttpResponse
from .address_policy import require_public_address

#: A token set is a few kilobytes, and has to fit into a record sealed; what is longer is refused while it is read.
MAX_RESPONSE_BYTES = 128 * 1024
#: The limit of the head, and of what frames a chunk.
_MAX_HEAD_BYTES = 100 * 1024
_READ_BYTES = 64 * 1024
_PORTS = {"https": 443, "http": 80}
#: How long, and of how many names, addresses that answered are kept; see :class:`GuardedHttp`.
_KEPT_SECONDS, _MAX_KEPT_NAMES = 30, 256


class GuardedHttp:
    """:class:`evergrant.ports.Provider` over the network.

    A name's addresses are kept for 30 seconds, so that refreshes at one provider look its name up once. That is as
    safe: each address is checked just before each connection, and TLS proves the name. Where a provider fails over by
    DNS, the first request without a whole response has the name looked up anew; after 30 seconds every request does.

    Parameters
    ----------
    allow_loopback
        The local run's switch: lets loopback addresses be connected to, in plain HTTP too.
    """

    def __init__(self, *, allow_loopback: bool = False) -> None:
        self._allow_loopback = allow_loopback
        #: Name to its addresses, and until when they are kept.
        self._kept: dict[str, tuple[list[str], float]] = {}

    def send(self, request: HttpRequest, *, hosts: tuple[str, ...], timeout: float) -> HttpResponse:
        """Send ``request`` to one of ``hosts``; the whole answer must be there after ``timeout`` seconds.

        Raises
        ------
        NotSent
            No byte of the request left: forbidden host or address, DNS, connect or TLS failed, or no time was left.
        LostResponse
            Some of it left and no whole answer of at most 128 KiB came.
        """
        url = urlsplit(request.url)
        if url.netloc.lower() not in hosts:
            raise NotSent(f"The client's entry does not allow the host {url.netloc}.", "Add it to the client's hosts.")
        if url.scheme != "https" and not (self._allow_loopback and url.scheme == "http"):
            raise NotSent("Only https is spoken to a provider.")
        if timeout <= 0:
            raise NotSent("No time was left to ask the provider.")
        end, sent = time.monotonic() + timeout, False
        cause: Exception | None = None
        try:
            # Before anything is connected to: what HTTP forbids in a request is found here.
            protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
            written = _serialize(request, url, protocol)
            with self._connect(url, end) as plain, _wrap_in_tls(plain, url, end) as connection:
                connection.settimeout(_compute_seconds_left(end))
                sent = True
                with suppress(ConnectionError):  # a server that closed early may have answered before
                    connection.sendall(written)
                return _read_response(protocol, connection, end)
        except h11.ProtocolError as error:
            # Not chained, and so raised below: its text quotes the header, or the piece of the answer, that is wrong.
            failure = type(error).__name__
        except (OSError, ValueError) as error:  # ValueError for a name or port that cannot be: "a..b", "a:99999"
            failure, cause = type(error).__name__, error
        self._kept.pop(url.hostname or "", None)
        if sent:
            raise LostResponse(f"The provider's answer is lost ({failure}).") from cause
        raise NotSent(f"The provider could not be reached ({failure}).") from cause

    def _connect(self, url: SplitResult, end: float) -> socket.socket:
        """Connect to the first of the host's addresses that answers. Each is checked before."""
        port = _PORTS[url.scheme] if url.port is None else url.port
        failure = OSError("the name has no address")
        for address in self._resolve(url.hostname or "", end):
            require_public_address(address, plain=url.scheme == "http", allow_loopback=self._allow_loopback)
            try:
                connection = socket.create_connection((address, port), _compute_seconds_left(end))
            except OSError as error:
                failure = error
            else:
                # The end of a long request does not wait for the acknowledgement of its beginning.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection
        raise failure

    def _resolve(self, host: str, end: float) -> list[str]:
        """Return the host's addresses, in the order of the name server's answer."""
        addresses, until = self._kept.get(host, ([], 0.0))
        if time.monotonic() >= until:
            found = _look_ups.ask(host, _compute_seconds_left(end))
            addresses = list(dict.fromkeys(address[0] for *_, address in found))
            if len(self._kept) >= _MAX_KEPT_NAMES:
                self._kept.clear()
            self._kept[host] = addresses, time.monotonic() + _KEPT_SECONDS
        return addresses


def _wrap_in_tls(connection: socket.socket, url: SplitResult, end: float) -> socket.socket:
    """Wrap the connection in TLS with the URL's host; return it unchanged for plain HTTP."""
    if url.scheme == "http":
        return connection
    connection.settimeout(_compute_seconds_left(end))
    return _create_tls_context().wrap_socket(connection, server_hostname=url.hostname)


def _serialize(request: HttpRequest, url: SplitResult, protocol: h11.Connection) -> bytes:
    """Serialize the whole request. Raises h11.LocalProtocolError."""
    own = {
        "host": url.netloc,
        "user-agent": "evergrant",
        "accept-encoding": "identity",
        "content-length": str(len(request.body)),
    }
    target = urlunsplit(("", "", url.path or "/", url.query, ""))
    headers = [(name.encode(), value.encode()) for name, value in {**own, **request.headers}.items()]
    head = h11.Request(method=request.method, target=target.encode(), headers=headers)
    pieces = [protocol.send(event) for event in (head, h11.Data(data=request.body), h11.EndOfMessage())]
    return b"".join(piece or b"" for piece in pieces)


def _read_response(protocol: h11.Connection, connection: socket.socket, end: float) -> HttpResponse:
    """Read the whole response. Raises h11.RemoteProtocolError and OSError."""
    head, body = None, bytearray()
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            connection.settimeout(_compute_seconds_left(end))
            protocol.receive_data(connection.recv(_READ_BYTES))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_RESPONSE_BYTES:
                raise h11.RemoteProtocolError("the answer is too large")
        elif isinstance(event, h11.EndOfMessage) and head:
            named = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
            return HttpResponse(head.status_code, named, bytes(body))
        elif not isinstance(event, h11.InformationalResponse):
            raise h11.RemoteProtocolError("no whole answer came")


def _compute_seconds_left(end: float) -> float:
    """Return the seconds that are left until ``end``. Raises TimeoutError where none are."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time for this request is over")
    return left


@cache
def _create_tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


class _LookUps:
    """Looks names up in threads that are kept, since getaddrinfo has no timeout.

    A thread is started where none is idle, so that a look-up that hangs delays no other.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[str, SimpleQueue[Any]]] = SimpleQueue()
        self._idle = Semaphore(0)

    def ask(self, host: str, timeout: float) -> list[Any]:
        """Return the result of getaddrinfo within ``timeout`` seconds. Raises what it raises, and TimeoutError."""
        said: SimpleQueue[Any] = SimpleQueue()
        self._asked.put((host, said))
        if not self._idle.acquire(blocking=False):
            try:
                Thread(target=self._look_up, daemon=True).start()
            except RuntimeError as error:
                raise OSError("there is no thread to look the name up in") from error
        try:
            found = said.get(timeout=timeout)
        except Empty:
            raise TimeoutError("the name was not resolved in time") from None
        if isinstance(found, Exception):
            raise found
        return list(found)

    def _look_up(self) -> None:
        while True:
            host, said = self._asked.get()
            found: Any
            try:
                found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            except Exception as error:  # noqa: BLE001 - the caller waits for it
                found = error
            self._idle.release()
            said.put(found)


_look_ups = _LookUps()
