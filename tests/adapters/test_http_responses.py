"""Protects the one distinction that a refresh token's life hangs on: whether a request can have reached the provider
(``LostResponse``) or cannot (``NotSent``), within a total time that no server can stretch. Real sockets on loopback."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import certifi
import pytest

from evergrant.adapters import http
from evergrant.adapters.http import MAX_RESPONSE_BYTES, GuardedHttp
from evergrant.errors import EvergrantError, LostResponse, NotSent
from evergrant.http_messages import HttpRequest, HttpResponse
from tests.adapters import loopback
from tests.adapters.leaks import everything_in
from tests.adapters.loopback import Server, answers, drips, sends, serving

#: Where a server is expected to be too slow, and where it is not.
SHORT, AMPLE = 0.2, 20.0
CANARY = "canary-7f1b"


def request_to(
    host: str, *, scheme: str = "http", method: str = "POST", headers: dict[str, str] | None = None
) -> HttpRequest:
    """A request that carries a canary wherever one can be."""
    given = {"authorization": f"Basic {CANARY}", "content-type": "application/x-www-form-urlencoded"}
    url = f"{scheme}://{host}/token?key={CANARY}"
    return HttpRequest(method, url, {**given, **(headers or {})}, f"refresh_token={CANARY}".encode())


def ask(
    server: Server | str, timeout: float = AMPLE, *, scheme: str = "http", headers: dict[str, str] | None = None
) -> HttpResponse:
    host = server if isinstance(server, str) else server.host
    request = request_to(host, scheme=scheme, headers=headers)
    return GuardedHttp(allow_loopback=True).send(request, hosts=(host,), timeout=timeout)


def failure(kind: type[EvergrantError], call: Callable[[], HttpResponse]) -> str:
    """The message of the failure that a call ends with, having made sure that no canary hangs on it."""
    with pytest.raises(kind) as caught:
        call()
    assert CANARY not in everything_in(caught.value)
    return caught.value.message


# --- whole answers ------------------------------------------------------------------------------------------------


def test_the_request_arrives_as_it_was_written() -> None:
    with serving(answers()) as server:
        ask(server)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == f"POST /token?key={CANARY} HTTP/1.1"
    sent = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    assert sent["host"] == server.host
    assert sent["authorization"] == f"Basic {CANARY}"
    assert sent["content-length"] == str(len(body))
    assert sent["accept-encoding"] == "identity"
    assert sent["user-agent"] == "evergrant"
    assert "cookie" not in sent
    assert body == f"refresh_token={CANARY}".encode()


def test_a_profiles_own_header_replaces_ours() -> None:
    with serving(answers()) as server:
        ask(server, headers={"user-agent": "acme/1"})
    assert server.requests[0].lower().count(b"user-agent:") == 1
    assert b"user-agent: acme/1" in server.requests[0].lower()


def test_a_header_may_hold_what_is_not_ascii() -> None:
    with serving(answers()) as server:
        ask(server, headers={"x-tenant": "Zürich"})
    assert "x-tenant: Zürich".encode() in server.requests[0]


def test_the_answer_comes_back_whole_with_header_names_in_lower_case() -> None:
    with serving(answers(b'{"access_token":"a"}', "201 Created", "Retry-After: 5\r\nX-Odd: \xe9\r\n")) as server:
        answer = ask(server)
    assert (answer.status, answer.body) == (201, b'{"access_token":"a"}')
    assert answer.headers["retry-after"] == "5"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", ["400 Bad Request", "401 No", "429 Slow", "500 Oh", "503 Down"])
def test_an_answer_that_is_an_error_is_an_answer(status: str) -> None:
    with serving(answers(b'{"error":"x"}', status)) as server:
        assert ask(server).status == int(status[:3])


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ],
    ids=["chunked", "until-closed", "after-continue"],
)
def test_every_way_to_delimit_a_body_is_understood(raw: bytes) -> None:
    with serving(sends(raw)) as server:
        assert ask(server).body == b"{}"


def test_each_request_has_a_connection_of_its_own() -> None:
    # A kept connection may be half dead, and a request on it neither sent nor not sent.
    with serving(answers()) as server:
        port = GuardedHttp(allow_loopback=True)
        for _ in range(3):
            port.send(request_to(server.host), hosts=(server.host,), timeout=AMPLE)
    assert server.connections == 3


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    with serving(answers()) as other:
        location = f"location: http://{other.host}/token\r\n"
        for status in ("301 Moved", "302 Found", "307 Temporary", "308 Permanent"):
            with serving(answers(b"", status, location)) as server:
                assert ask(server).status == int(status[:3])
                assert server.connections == 1
        assert other.connections == 0


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answers(b"proxied")) as proxy, serving(answers(b"direct")) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://{proxy.host}")
        assert ask(server).body == b"direct"
        assert proxy.connections == 0


def test_an_answer_of_the_largest_size_is_taken() -> None:
    with serving(answers(b"x" * MAX_RESPONSE_BYTES)) as server:
        assert len(ask(server).body) == MAX_RESPONSE_BYTES


# --- sent, and the answer lost ------------------------------------------------------------------------------------

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"


@pytest.mark.parametrize(
    "behave",
    [
        loopback.closes,
        loopback.resets,
        sends(b"HTTP/1.1 200"),
        sends(b"HTTP/1.1 200 OK\r\ncontent-length: 10"),
        sends(_HEAD),
        sends(_HEAD + b'{"access_token":"canary-7f1b"'),
        sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n20\r\ncanary-7f1b"),
        sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"),
        sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\ncanary-7f1b\r\n"),
        sends(b"canary-7f1b is no status line\r\n\r\n"),
        sends(b"HTTP/1.1 200 OK\r\nbroken header canary-7f1b\r\n\r\n"),
        sends(b"HTTP/1.1 200 OK\r\ncontent-length: canary-7f1b\r\n\r\n"),
    ],
    ids=[
        "closed", "reset", "status-cut", "head-cut", "no-body", "body-cut", "chunk-cut", "no-last-chunk", "bad-chunk",
        "bad-status-line", "bad-header", "bad-length",
    ],
)  # fmt: skip
def test_an_answer_that_is_not_whole_is_lost(behave: loopback.Behaviour) -> None:
    # And the provider's own text, which may hold tokens, hangs nowhere on the error.
    with serving(behave) as server:
        failure(LostResponse, lambda: ask(server))
        assert server.requests


@pytest.mark.parametrize(
    "behave",
    [
        loopback.is_silent,
        drips(b"", _HEAD + b"x" * 100),
        drips(_HEAD, b"x" * 100),
        drips(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 20 + b"0\r\n\r\n"),
    ],
    ids=["silent", "dripped-head", "dripped-body", "dripped-chunks"],
)
def test_a_server_that_takes_its_time_is_given_up_at_the_deadline(behave: loopback.Behaviour) -> None:
    # Each byte comes well within any timeout of a single read; the whole answer would come after two seconds.
    with serving(behave) as server:
        assert "TimeoutError" in failure(LostResponse, lambda: ask(server, SHORT))
        assert server.requests


def test_the_same_slow_server_is_waited_for_where_there_is_time() -> None:
    with serving(drips(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", b"0123456789")) as server:
        assert ask(server).body == b"0123456789"


@pytest.mark.parametrize("behave", [answers(b"x" * (2 * MAX_RESPONSE_BYTES)), answers(b"x" * (MAX_RESPONSE_BYTES + 1))])
def test_an_answer_that_is_too_large_is_lost(behave: loopback.Behaviour) -> None:
    with serving(behave) as server:
        assert "Timeout" not in failure(LostResponse, lambda: ask(server))


def test_an_answer_without_an_end_is_given_up_while_it_is_read() -> None:
    with serving(loopback.floods) as server:
        assert "Timeout" not in failure(LostResponse, lambda: ask(server))


# --- not sent -----------------------------------------------------------------------------------------------------


def test_a_refused_connection_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert "ConnectionRefusedError" in failure(NotSent, lambda: ask(f"127.0.0.1:{port}"))


@pytest.mark.parametrize("timeout", [0, -1.5])
def test_without_time_nothing_is_connected_to(timeout: float) -> None:
    with serving(answers()) as server:
        failure(NotSent, lambda: ask(server, timeout))
        assert server.connections == 0


@pytest.mark.parametrize(
    "value", [f"{CANARY} ", f"\x00{CANARY}", f"{CANARY}\r\nx: y"], ids=["space", "null", "line-break"]
)
def test_a_header_that_http_forbids_is_not_sent_and_not_shown(value: str) -> None:
    with serving(answers()) as server:
        failure(NotSent, lambda: ask(server, headers={"x-secret": value}))
        assert b"secret" not in b"".join(server.requests)


# --- TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return loopback.self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(certificate: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """As if a public authority had signed for loopback."""
    monkeypatch.setattr(certifi, "where", lambda: str(certificate[1]))
    http._create_tls_context.cache_clear()
    yield certificate[0]
    http._create_tls_context.cache_clear()


def test_an_untrusted_certificate_ends_it_before_anything_is_sent(
    certificate: tuple[ssl.SSLContext, Path],
) -> None:
    """A certificate that no trusted authority has signed ends the call before anything is sent."""
    with serving(answers(), tls=certificate[0]) as server:
        failure(NotSent, lambda: ask(server, scheme="https"))
        assert server.requests == []


def test_a_server_that_speaks_no_tls_is_sent_nothing() -> None:
    with serving(sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"), read=False) as server:
        failure(NotSent, lambda: ask(server, scheme="https"))


def test_a_server_that_never_answers_the_handshake_is_sent_nothing() -> None:
    with serving(loopback.is_silent, read=False) as server:
        failure(NotSent, lambda: ask(server, SHORT, scheme="https"))


def test_a_server_that_hangs_up_in_the_handshake_is_sent_nothing() -> None:
    with serving(loopback.resets, read=False) as server:
        failure(NotSent, lambda: ask(server, scheme="https"))


def test_a_certificate_for_another_name_ends_it(trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answers(), tls=trusted) as server:
        address = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: address)
        failure(NotSent, lambda: ask(f"api.example.com:{server.port}", scheme="https"))
        assert server.requests == []


def test_a_whole_answer_comes_over_tls(trusted: ssl.SSLContext) -> None:
    with serving(answers(b'{"a":1}'), tls=trusted) as server:
        assert ask(server, scheme="https").body == b'{"a":1}'
        assert ask(f"localhost:{server.port}", scheme="https").body == b'{"a":1}'


@pytest.mark.parametrize("behave", [loopback.closes, loopback.resets, sends(_HEAD)], ids=["closed", "reset", "cut"])
def test_after_the_handshake_an_answer_can_be_lost(trusted: ssl.SSLContext, behave: loopback.Behaviour) -> None:
    with serving(behave, tls=trusted) as server:
        failure(LostResponse, lambda: ask(server, scheme="https"))
        assert server.requests


def test_the_deadline_holds_over_tls_too(trusted: ssl.SSLContext) -> None:
    with serving(drips(_HEAD, b"x" * 100), tls=trusted) as server:
        failure(LostResponse, lambda: ask(server, SHORT, scheme="https"))
