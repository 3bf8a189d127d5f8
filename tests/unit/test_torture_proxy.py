"""Protects the torture's proxy: forwarding without a fault, and each fault that it injects."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from local.torture.proxy import Fault, Proxy, Reply, Request


class Server(HTTPServer):
    """Echoes bodies and counts them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.bodies: list[bytes] = []


class Echo(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert isinstance(self.server, Server)
        self.server.bodies.append(body)
        self.send_response(201)
        self.send_header("x-host", str(self.headers["host"]))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    socketserver.TCPServer.allow_reuse_address = True
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(int(server.server_address[1])) as proxy:
        yield proxy


def let(proxy: Proxy, fault: Fault | None) -> None:
    async def choose_fault(request: Request) -> Fault | None:
        return fault

    proxy.choose_fault = choose_fault


def post(proxy: Proxy, timeout: float = 10) -> httpx.Response:
    return httpx.post(proxy.url, content=b"question", timeout=timeout, trust_env=False)


def test_what_is_not_judged_goes_through_as_it_is_and_is_kept(proxy: Proxy) -> None:
    answer = post(proxy)

    assert (answer.status_code, answer.content) == (201, b"question")
    assert answer.headers["x-host"] == proxy.host
    (exchange,) = proxy.exchanges
    assert (exchange.status, exchange.request.body, exchange.fault) == (201, b"question", None)
    assert exchange.answered_at is not None
    assert exchange.request.at <= exchange.answered_at


@pytest.mark.parametrize("reaches", [True, False])
def test_another_answer_stands_in_for_the_servers(proxy: Proxy, server: Server, reaches: bool) -> None:
    let(proxy, Fault("busy", reaches, Reply(429, b"later", {"retry-after": "3"})))

    answer = post(proxy)

    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (429, b"later", "3")
    assert len(server.bodies) == int(reaches)


def test_a_dropped_answer_is_no_answer_although_the_server_has_acted(proxy: Proxy, server: Server) -> None:
    let(proxy, Fault("dropped", reaches=True, ends="dropped"))

    with pytest.raises(httpx.RemoteProtocolError):
        post(proxy)

    assert server.bodies == [b"question"]


def test_half_a_body_is_not_taken_for_a_whole_one(proxy: Proxy) -> None:
    let(proxy, Fault("halved", reaches=True, ends="halved"))

    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        post(proxy)


def test_what_hangs_hangs_until_it_is_released(proxy: Proxy) -> None:
    let(proxy, Fault("hangs", delay=float("inf"), ends="dropped"))

    with pytest.raises(httpx.ReadTimeout):
        post(proxy, timeout=0.2)
    failed = []

    def ask() -> None:
        try:
            post(proxy)
        except httpx.RemoteProtocolError as error:
            failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while asking.is_alive():
        proxy.release()
        asking.join(0.05)
    assert len(failed) == 1
