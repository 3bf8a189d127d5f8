"""Protects what an operator reads of a request without a response: how far it came, and how the response was lost."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evergrant.adapters import http
from evergrant.adapters.http import MAX_RESPONSE_BYTES, GuardedHttp
from evergrant.errors import LostResponse, NotSent
from evergrant.http_messages import HttpRequest, HttpResponse
from tests.adapters import loopback
from tests.adapters.leaks import everything_in
from tests.adapters.loopback import Behaviour, Server, answers, closes, is_silent, resets, sends, serving

SHORT, AMPLE = 0.2, 20.0
CANARY = "canary-7f1b"
#: More than the sockets' buffers hold, so that writing is under way until the server reads or leaves.
LONG = f"refresh_token={CANARY}&x=".encode() + b"x" * (32 * 1024 * 1024)


def ask(
    host: str, *, timeout: float = AMPLE, scheme: str = "http", body: bytes = CANARY.encode(), value: str = CANARY
) -> HttpResponse:
    request = HttpRequest("POST", f"{scheme}://{host}/token?key={CANARY}", {"authorization": value}, body)
    return GuardedHttp(allow_loopback=True).send(request, hosts=(host,), timeout=timeout)


def not_sent(call: Callable[[], HttpResponse]) -> str:
    with pytest.raises(NotSent) as caught:
        call()
    assert CANARY not in everything_in(caught.value)
    return caught.value.reason


def lost(call: Callable[[], HttpResponse]) -> str:
    with pytest.raises(LostResponse) as caught:
        call()
    assert CANARY not in everything_in(caught.value)
    return caught.value.reason


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return loopback.self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(certificate: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    trusting = ssl.create_default_context(cafile=str(certificate[1]))
    monkeypatch.setattr(http, "_create_tls_context", lambda: trusting)
    return certificate[0]


# --- not sent -----------------------------------------------------------------------------------------------------


def test_a_host_that_is_not_allowed_is_the_reason() -> None:
    port, request = GuardedHttp(), HttpRequest("POST", "https://evil.example/", {}, b"")
    assert not_sent(lambda: port.send(request, hosts=("api.example.com",), timeout=AMPLE)) == "host"


@pytest.mark.parametrize("value", [f"{CANARY}\n", f"\x00{CANARY}", f" {CANARY}"])
def test_a_forbidden_header_is_found_before_a_connection_is_made(value: str) -> None:
    with serving(answers()) as server:
        assert not_sent(lambda: ask(server.host, value=value)) == "request"
        assert server.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1:99999", "127.0.0.1:x"])
def test_a_port_that_cannot_be_one_is_the_requests_fault(host: str) -> None:
    assert not_sent(lambda: ask(host)) == "request"


def test_a_scheme_other_than_https_is_the_requests_fault() -> None:
    assert not_sent(lambda: ask("api.example.com", scheme="ftp")) == "request"


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_request_without_time_has_timed_out(timeout: float) -> None:
    assert not_sent(lambda: ask("127.0.0.1:1", timeout=timeout)) == "timeout"


@pytest.mark.parametrize("failure", [socket.gaierror(socket.EAI_NONAME, "no"), UnicodeError("a..b"), OSError()])
def test_a_name_that_does_not_resolve_is_the_reason(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert not_sent(lambda: ask("api.example.com", scheme="https")) == "dns"


def test_a_name_server_that_hangs_has_timed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(10) and [])
    try:
        assert not_sent(lambda: ask("api.example.com", scheme="https", timeout=SHORT)) == "timeout"
    finally:
        over.set()


@pytest.mark.parametrize("host", ["10.0.0.5", "169.254.169.254"])
def test_a_private_address_is_the_reason(host: str) -> None:
    assert not_sent(lambda: ask(host, scheme="https")) == "address"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(ConnectionRefusedError(), "connect"), (PermissionError(), "connect"), (OSError(113, "no route"), "connect"),
     (TimeoutError(), "timeout")],
)  # fmt: skip
def test_a_connection_that_fails_is_the_reason(failure: OSError, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(socket, "create_connection", fail)
    assert not_sent(lambda: ask("127.0.0.1:1")) == reason


def test_a_certificate_without_trust_is_the_reason(certificate: tuple[ssl.SSLContext, Path]) -> None:
    with serving(answers(), tls=certificate[0]) as server:
        assert not_sent(lambda: ask(server.host, scheme="https")) == "tls"
        assert server.requests == []


def hears_and_resets(server: Server, connection: socket.socket) -> None:
    """Resets the connection once it is in use; before, connecting could fail."""
    connection.recv(1)
    resets(server, connection)


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "tls"),
        (hears_and_resets, "tls"),
        (closes, "tls"),
        (is_silent, "timeout"),
    ],
)
def test_a_handshake_that_fails_is_the_reason(behave: Behaviour, reason: str) -> None:
    with serving(behave, read=False) as server:
        assert not_sent(lambda: ask(server.host, scheme="https", timeout=SHORT if reason == "timeout" else AMPLE)) == (
            reason
        )


def test_a_connection_that_is_gone_before_the_handshake_is_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the request would be written without TLS, and count as sent."""
    monkeypatch.setattr(socket, "create_connection", lambda *_: socket.socket())
    assert not_sent(lambda: ask("127.0.0.1:1", scheme="https")) == "tls"


# --- lost ---------------------------------------------------------------------------------------------------------

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"


def sends_and_resets(answer: bytes) -> Behaviour:
    def behave(server: Server, connection: socket.socket) -> None:
        connection.sendall(answer)
        # The reset would overtake what the peer has not read yet.
        server.over.wait(0.05)
        resets(server, connection)

    return behave


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (resets, "reset"),
        (sends_and_resets(b"HTTP/1.1 200 OK\r\ncontent-le"), "reset"),
        (sends_and_resets(_HEAD + CANARY.encode()), "reset"),
        (closes, "truncated"),
        (sends(b"HTTP/1.1 200 OK\r\ncontent-le"), "truncated"),
        (sends(_HEAD + CANARY.encode()), "truncated"),
        (sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"), "truncated"),
        (sends(f"{CANARY}\r\n\r\n".encode()), "protocol"),
        (sends(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"), "protocol"),
        (sends(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), "protocol"),
        (answers(b"x" * (MAX_RESPONSE_BYTES + 1)), "too_large"),
        (loopback.floods, "too_large"),
    ],
    ids=["reset", "reset-in-head", "reset-in-body", "closed", "head-cut", "body-cut", "chunks-cut", "no-http",
         "two-lengths", "upgrade", "one-too-many", "endless"],
)  # fmt: skip
def test_how_a_response_was_lost_is_the_reason(
    behave: Behaviour, reason: str, secure: bool, trusted: ssl.SSLContext
) -> None:
    with serving(behave, tls=trusted if secure else None) as server:
        assert lost(lambda: ask(server.host, scheme="https" if secure else "http")) == reason
        assert server.requests


@pytest.mark.parametrize("behave", [is_silent, loopback.drips(b"", _HEAD), loopback.drips(_HEAD, b"x" * 100)])
def test_a_server_without_an_end_has_timed_out(behave: Behaviour) -> None:
    with serving(behave) as server:
        assert lost(lambda: ask(server.host, timeout=SHORT)) == "timeout"


def test_a_server_that_reads_nothing_has_timed_out() -> None:
    with serving(is_silent, read=False) as server:
        assert lost(lambda: ask(server.host, timeout=SHORT, body=LONG)) == "timeout"


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_reset_while_the_request_is_written_loses_it(secure: bool, trusted: ssl.SSLContext) -> None:
    with serving(hears_and_resets, read=False, tls=trusted if secure else None) as server:
        assert lost(lambda: ask(server.host, scheme="https" if secure else "http", body=LONG)) == "reset"


def test_an_answer_before_the_end_of_the_request_is_read() -> None:
    # Its unread rest makes the server's side send a reset, on which writing ends.
    with serving(answers(b'{"error":"invalid_request"}', "413 Too Large"), read=False) as server:
        assert ask(server.host, body=LONG).status == 413


class Trickle:
    """A connection that gives one byte at a time, half a second of the clock each."""

    def __init__(self, answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self._left = 1000.0, answer
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(socket, "create_connection", lambda *_: self)

    def recv(self, _: int) -> bytes:
        self.now += 0.5
        byte, self._left = self._left[:1], self._left[1:]
        return byte

    def send(self, data: bytes) -> int:
        return len(data)

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def setsockopt(self, *_: int) -> None: ...

    def do_handshake(self) -> None: ...

    def close(self) -> None: ...


def test_one_deadline_holds_for_all_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = _HEAD + b"x" * 100
    Trickle(answer, monkeypatch)
    assert ask("127.0.0.1:1", timeout=len(answer) / 2 + 1).body == b"x" * 100
    Trickle(answer, monkeypatch)
    assert lost(lambda: ask("127.0.0.1:1", timeout=len(answer) / 2 - 1)) == "timeout"


@pytest.mark.parametrize("slow", ["dns", "connect", "tls", "write"])
def test_time_that_one_step_took_is_missing_to_the_next(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step takes 15 of 20 seconds in turn, and leaves the others what remains."""
    trickle = Trickle(_HEAD + b"x" * 100, monkeypatch)
    given: dict[str, float] = {}

    def take(step: str, timeout: float) -> None:
        given[step] = timeout
        trickle.now += 15 if step == slow else 0

    def look_up(*_: object, **__: object) -> list[object]:
        take("dns", 20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 0))]

    def connect(_: object, timeout: float) -> Trickle:
        take("connect", timeout)
        return trickle

    class Context(ssl.SSLContext):
        def wrap_socket(self, *_: object, **__: object) -> Trickle:  # type: ignore[override]
            take("tls", 20 - (trickle.now - 1000))
            return trickle

    def send(data: bytes) -> int:
        take("write", 20 - (trickle.now - 1000))
        return len(data)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(trickle, "send", send)
    monkeypatch.setattr(http, "_create_tls_context", lambda: Context(ssl.PROTOCOL_TLS_CLIENT))
    # 5 seconds are ten bytes; with a timeout for each step, the whole answer would have come.
    assert lost(lambda: ask("api.example.com", scheme="https")) == "timeout"
    if slow != "write":
        assert given["write"] == 5
        assert trickle.now <= 1020.5
