"""Protects a token request from what an HTTP client does unasked: cookies, redirects, proxies, credentials of the
environment, kept connections, logs. Real sockets on loopback."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evergrant.adapters.http import GuardedHttp
from evergrant.http_messages import HttpRequest, HttpResponse
from tests.adapters.loopback import Server, answers, sends, serving

CANARY = "canary-7f1b"


def ask(port: GuardedHttp, server: Server, body: bytes = b"", path: str = "/token") -> HttpResponse:
    request = HttpRequest("POST", f"http://{server.host}{path}", {"x-test": "1"}, body)
    return port.send(request, hosts=(server.host,), timeout=20)


@pytest.fixture
def port() -> GuardedHttp:
    return GuardedHttp(allow_loopback=True)


def header_names(request: bytes) -> list[str]:
    head = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return sorted(line.partition(":")[0].lower() for line in head)


def test_nothing_is_sent_that_was_not_asked_for(port: GuardedHttp) -> None:
    with serving(answers()) as server:
        ask(port, server)
    assert header_names(server.requests[0]) == [
        "accept-encoding", "connection", "content-length", "host", "user-agent", "x-test",
    ]  # fmt: skip
    assert b"connection: close" in server.requests[0].lower()


def test_a_cookie_is_neither_kept_nor_shown(port: GuardedHttp) -> None:
    with serving(answers(headers="Set-Cookie: session=1; Path=/\r\nset-cookie: other=2\r\n")) as server:
        responses = [ask(port, server) for _ in range(2)]
    assert all("set-cookie" not in response.headers for response in responses)
    assert b"cookie" not in b"".join(server.requests).lower()


@pytest.mark.parametrize("location", ["http://[", "//", "http://127.0.0.1:99999/", "\xff", "javascript:x", " "])
def test_a_redirect_to_nowhere_is_an_answer(port: GuardedHttp, location: str) -> None:
    head = f"HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
    with serving(sends(head.encode("latin-1"))) as server:
        response = ask(port, server)
        assert server.connections == 1
    assert (response.status, response.headers["location"]) == (302, location.strip())


def test_credentials_of_the_environment_are_not_sent(
    port: GuardedHttp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login operator password hush\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    with serving(answers()) as server:
        ask(GuardedHttp(allow_loopback=True), server)
        ask(port, server)
    assert b"authorization" not in b"".join(server.requests).lower()


def test_proxies_are_ignored_that_were_set_before_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answers(b"proxied")) as proxy, serving(answers(b"direct")) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://{proxy.host}")
        assert ask(GuardedHttp(allow_loopback=True), server).body == b"direct"
        assert proxy.connections == 0


def test_certificates_of_the_environment_are_not_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from evergrant.adapters import http

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert http._create_tls_context.__wrapped__().get_ca_certs(), "the package's own authorities are used"


@pytest.mark.parametrize("headers", ["connection: keep-alive\r\nkeep-alive: timeout=60\r\n", ""])
def test_a_connection_that_could_be_kept_is_closed(port: GuardedHttp, headers: str) -> None:
    closed = threading.Event()

    def behave(server: Server, connection: object) -> None:
        answers(headers=headers)(server, connection)  # type: ignore[arg-type]
        if connection.recv(1) == b"":  # type: ignore[attr-defined]
            closed.set()

    with serving(behave) as server:
        assert ask(port, server).status == 200
        assert closed.wait(10)


def test_repeated_headers_are_joined_in_their_order(port: GuardedHttp) -> None:
    lines = "Retry-After: 5\r\nWARNING: a\r\nwarning: b, c\r\nX-Odd: \xe9\r\nretry-after: 7\r\nWarning:\r\n"
    head = f"HTTP/1.1 429 Slow\r\n{lines}content-length: 0\r\n\r\n"
    with serving(sends(head.encode("latin-1"))) as server:
        headers = ask(port, server).headers
    assert headers == {"retry-after": "5, 7", "warning": "a, b, c, ", "x-odd": "\xe9", "content-length": "0"}


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/token?a=%7e&b=%zz&c={x}|\\^'", b"/token?a=%7e&b=%zz&c={x}|\\^'"),
        ("/a/../b//c/./d;v=1?", b"/a/../b//c/./d;v=1"),
        ("", b"/"),
        ("?a=1", b"/?a=1"),
    ],
)
def test_the_target_is_sent_as_the_profile_wrote_it(port: GuardedHttp, path: str, target: bytes) -> None:
    with serving(answers()) as server:
        ask(port, server, path=path)
    assert server.requests[0].split(b" ")[1] == target


def test_the_library_logs_nothing_of_it(port: GuardedHttp, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    with serving(answers(CANARY.encode(), headers=f"x-token: {CANARY}\r\n")) as server:
        ask(port, server, CANARY.encode(), f"/token?key={CANARY}")
    assert caplog.text == ""


def test_threads_share_one_port(port: GuardedHttp) -> None:
    """Each gets the answer to its own request, all at once."""
    meeting = threading.Barrier(8)

    def behave(server: Server, connection: object) -> None:
        own = server.requests[-1]
        meeting.wait(10)  # not before all have asked
        answers(b"ok")(server, connection)  # type: ignore[arg-type]
        assert own

    with serving(behave) as server, ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda number: ask(port, server, b"n=%d" % number).body, range(8)))
    assert bodies == [b"ok"] * 8
    assert sorted(request.rpartition(b"=")[2] for request in server.requests) == [b"%d" % n for n in range(8)]
