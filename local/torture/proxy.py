"""An HTTP proxy in front of one server, where a request can be made to go wrong in every way a network knows.

It stands before the local AWS and before each simulated provider, and only Evergrant's functions go through it. What it
saw is kept, with the time at which each request came and was answered.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
_LARGEST_HEAD = 64 * 1024


@dataclass(frozen=True)
class Request:
    """A request as it came. Header names are in lower case; ``peer`` is the port it came from."""

    at: float
    peer: int
    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Reply:
    """An answer, the server's or one in its place."""

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Fault:
    """How one request goes wrong.

    Parameters
    ----------
    reaches
        The server gets the request, and acts upon it, before anything goes wrong.
    reply
        What is answered in the server's place; nothing: the server's own answer, if it was asked.
    delay
        Seconds before anything is answered. Infinite: until the faults are over, and then the connection is closed.
    ends
        ``answered`` in full, ``halved`` (the head and half of the body, then closed), or ``dropped``.
    """

    name: str
    reaches: bool = False
    reply: Reply | None = None
    delay: float = 0.0
    ends: str = "answered"


@dataclass
class Exchange:
    """One request and what became of it. ``answered_at`` is when the server had answered, if it was asked."""

    request: Request
    fault: Fault | None = None
    status: int | None = None
    answered_at: float | None = None


Judge = Callable[[Request], Awaitable[Fault | None]]
Listener = Callable[[Request, Reply], None]


async def _no_fault(request: Request) -> Fault | None:
    return None


def _not_heard(request: Request, reply: Reply) -> None:
    pass


class Proxy:
    """A proxy on a free loopback port, in a thread of its own, for as long as a ``with`` block lasts.

    Parameters
    ----------
    upstream
        The port on 127.0.0.1 of the server that it stands before.

    ``judge`` decides how a request goes wrong, if at all. ``heard`` is told what the server has answered before anybody
    else is. Both are called in the proxy's thread.
    """

    def __init__(self, upstream: int) -> None:
        self.judge: Judge = _no_fault
        self.heard: Listener = _not_heard
        self.exchanges: list[Exchange] = []
        self.port = 0
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._serving = threading.Event()
        self._held: set[asyncio.Event] = set()
        self._tasks: set[asyncio.Task[None] | None] = set()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{upstream}", daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def release(self) -> None:
        """Close the connections whose requests hang."""

        def set_all() -> None:
            for held in self._held:
                held.set()

        self._loop.call_soon_threadsafe(set_all)

    def __enter__(self) -> Self:
        self._thread.start()
        self._serving.wait(timeout=10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)

    # --- in the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_LARGEST_HEAD))
        self.port = server.sockets[0].getsockname()[1]
        self._serving.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # asyncio forgets a handler whose client is gone, and it is collected in the middle of its work.
        task = asyncio.current_task()
        self._tasks.add(task)
        peer = int(writer.get_extra_info("peername")[1])
        try:
            while (request := await _read_request(reader, peer)) is not None:
                if not await self._handle(request, writer):
                    break
        # A function that was killed, or gave up, is why this proxy is here; cancelled is who waits when it stops.
        except (OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _handle(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Answer one request, or do not; say whether the connection may be used again."""
        fault = await self.judge(request)
        exchange = Exchange(request, fault)
        self.exchanges.append(exchange)
        reply = fault.reply if fault else None
        if fault is None or fault.reaches:
            answer = await _forward(request, self._upstream)
            exchange.status, exchange.answered_at = answer.status, time.time()
            self.heard(request, answer)
            reply = reply or answer
        if fault is not None and fault.delay:
            await self._wait(fault.delay)
        if reply is None or (fault is not None and fault.ends == "dropped"):
            return False
        halved = fault is not None and fault.ends == "halved"
        head = [f"HTTP/1.1 {reply.status} -"]
        head += [f"{name}: {value}" for name, value in reply.headers.items() if name not in _HOP_BY_HOP]
        head += [f"content-length: {len(reply.body)}", "", ""]
        writer.write("\r\n".join(head).encode("latin-1"))
        writer.write(reply.body[: len(reply.body) // 2] if halved else reply.body)
        await writer.drain()
        return not halved and request.headers.get("connection", "").lower() != "close"

    async def _wait(self, seconds: float) -> None:
        held = asyncio.Event()
        self._held.add(held)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(held.wait(), None if seconds == float("inf") else seconds)
        finally:
            self._held.discard(held)


async def _forward(request: Request, port: int) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_LARGEST_HEAD)
    try:
        head = [f"{request.method} {request.target} HTTP/1.1"]
        head += [f"{name}: {value}" for name, value in request.headers.items() if name not in _HOP_BY_HOP]
        head += [f"content-length: {len(request.body)}", "connection: close", "", ""]
        writer.write("\r\n".join(head).encode("latin-1") + request.body)
        await writer.drain()
        first, headers = await _read_head(reader)
        return Reply(int(first.split(" ", 2)[1]), await _read_body(reader, headers), headers)
    finally:
        writer.close()


async def _read_request(reader: asyncio.StreamReader, peer: int) -> Request | None:
    try:
        first, headers = await _read_head(reader)
    except asyncio.IncompleteReadError:
        return None  # it closed the connection between two requests
    method, target, _ = first.split(" ", 2)
    body = await _read_body(reader, headers, request=True)
    return Request(time.time(), peer, method, target, headers, body)


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.lower(): value.strip() for name, _, value in pairs}


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str], *, request: bool = False) -> bytes:
    if "chunked" in headers.get("transfer-encoding", ""):
        body = b""
        while size := int((await reader.readline()).partition(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return body
    if "content-length" in headers or request:
        return await reader.readexactly(int(headers.get("content-length", "0")))
    return await reader.read()
