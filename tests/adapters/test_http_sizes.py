"""Protects the memory of a function against a provider's answer: what is too large is refused while it is read, however
it is delimited, and what is packed is unpacked to a limit. Real sockets on loopback."""

from __future__ import annotations

import gzip
import socket
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from evergrant.adapters.http import MAX_RESPONSE_BYTES, GuardedHttp
from evergrant.errors import LostResponse, UnreadableResponse
from evergrant.http_messages import HttpRequest, HttpResponse
from evergrant.oauth.token_response import parse_token_response
from tests.adapters.loopback import Behaviour, Server, answers, sends, serving
from tests.unit.samples import KEAP, NOW

MEGABYTE = 1024 * 1024
PIECE = b"x" * 65_536
#: What lies in the sockets' buffers on its way is sent and never read.
ON_ITS_WAY = 4 * MEGABYTE


class Pourer:
    """Sends ten megabytes after a head, in small buffers, and counts what it got rid of."""

    def __init__(self, head: bytes, wrap: Callable[[bytes], bytes] = bytes) -> None:
        self._head, self._piece = head, wrap(PIECE)
        self.sent = 0

    def __call__(self, server: Server, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        connection.sendall(self._head)
        for _ in range(10 * MEGABYTE // len(PIECE)):
            connection.sendall(self._piece)
            self.sent += len(PIECE)


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def ask(behave: Behaviour, timeout: float = 20) -> HttpResponse:
    with serving(behave) as server:
        request = HttpRequest("POST", f"http://{server.host}/token", {}, b"")
        return GuardedHttp(allow_loopback=True).send(request, hosts=(server.host,), timeout=timeout)


_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    "pourer",
    [
        Pourer(_HEAD + b"content-length: %d\r\n\r\n" % (10 * MEGABYTE)),
        Pourer(_HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % (10 * MEGABYTE)),
        Pourer(_HEAD + b"transfer-encoding: chunked\r\n\r\n", chunk),
        Pourer(_HEAD + b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n", chunk),
        Pourer(b"HTTP/1.0 200 OK\r\n\r\n"),
        Pourer(b"HTTP/1.1 200 OK\r\nx: "),
        Pourer(_HEAD + b"transfer-encoding: chunked\r\n\r\n1;x="),
        Pourer(_HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\nx: "),
        Pourer(b""),
    ],
    ids=[
        "length", "gzip", "chunked", "gzip-chunked", "until-closed", "header", "chunk-extension", "trailer", "no-http",
    ],
)  # fmt: skip
def test_reading_stops_at_the_limit_and_memory_does_not_grow(pourer: Pourer) -> None:
    ask(answers())  # what is made once is not counted
    tracemalloc.start()
    try:
        with pytest.raises(LostResponse) as lost:
            ask(pourer)
        grown = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert lost.value.reason in ("too_large", "protocol")
    assert grown < MEGABYTE
    assert pourer.sent < ON_ITS_WAY


@pytest.mark.parametrize("status", [302, 400, 403, 500, 503])
def test_an_error_that_is_too_large_is_cut_and_not_lost(status: int) -> None:
    pourer = Pourer(b"HTTP/1.1 %d Oh\r\ncontent-length: 9999999999999999999\r\n\r\n" % status)
    ask(answers())
    tracemalloc.start()
    try:
        response = ask(pourer)
        grown = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (response.status, response.body) == (status, b"x" * MAX_RESPONSE_BYTES)
    assert grown < MEGABYTE
    assert pourer.sent < ON_ITS_WAY


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
def test_what_unpacks_to_too_much_is_kept_as_it_came(pack: Callable[[bytes], bytes]) -> None:
    # Ten megabytes of blanks around a token, in ten kilobytes: below the limit as it comes.
    bomb = pack(b'{"access_token": "a", "expires_in": 60' + b" " * (10 * MEGABYTE) + b"}")
    assert len(bomb) < MAX_RESPONSE_BYTES
    with serving(answers(bomb, headers="content-encoding: gzip\r\n")) as server:
        request = HttpRequest("POST", f"http://{server.host}/token", {}, b"")
        tracemalloc.start()
        try:
            response = GuardedHttp(allow_loopback=True).send(request, hosts=(server.host,), timeout=20)
            with pytest.raises(UnreadableResponse):
                parse_token_response(KEAP, response, NOW)
            grown = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert response.body == bomb
    assert response.headers["content-encoding"] == "gzip"
    assert grown < MEGABYTE
    assert b"accept-encoding: identity" in server.requests[0].lower()


def test_an_endless_run_of_preliminary_answers_ends_at_the_deadline() -> None:
    def behave(server: Server, connection: socket.socket) -> None:
        while not server.over.is_set():
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    with pytest.raises(LostResponse, match="TimeoutError"):
        ask(behave, timeout=0.3)


def test_a_body_cut_into_single_bytes_is_read_whole() -> None:
    pieces = b"".join(chunk(b"%c" % byte) for byte in b'{"a": 1}') + b"0\r\n\r\n"
    assert ask(sends(_HEAD + b"transfer-encoding: chunked\r\n\r\n" + pieces)).body == b'{"a": 1}'
