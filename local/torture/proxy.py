"""An HTTP proxy in front of one server that injects every fault that a network or a server can cause.

One proxy is before the local AWS and one before each simulated provider; only Evergrant's functions use them. A proxy
keeps every exchange, with the times of the request and of the server's response.
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
    """A request as received. Header names are in lower case; ``peer`` is the sender's port."""

    at: float
    peer: int
    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Reply:
    """A response: the server's, or one that replaces it."""

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Fault:
    """The fault of one request.

    Parameters
    ----------
    reaches
        Whether the server gets the request, and acts on it, before the fault.
    reply
        The response that replaces the server's. None: the server's own, if it got the request.
    delay
        Seconds before the response. Infinite: until the faults end; then the proxy closes the connection.
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
    """One request and its outcome. ``answered_at`` is the time of the server's response, if it got the request."""

    request: Request
    fault: Fault | None = None
    status: int | None = None
    answered_at: float | None = None


FaultChooser = Callable[[Request], Awaitable[Fault | None]]
ReplyListener = Callable[[Request, Reply], None]


async def _choose_no_fault(request: Request) -> Fault | None:
    return None


def _ignore_reply(request: Request, reply: Reply) -> None:
    pass


class Proxy:
    """A proxy on a free loopback port, in a thread of its own, for as long as a ``with`` block lasts.

    Parameters
    ----------
    upstream
        The server's port on 127.0.0.1.

    ``choose_fault`` returns the fault of a request, or None. ``on_reply`` gets the server's response before the client
    does. The proxy calls both in its own thread.
    """

    def __init__(self, upstream: int) -> None:
        self.choose_fault: FaultChooser = _choose_no_fault
        self.on_reply: ReplyListener = _ignore_reply
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
        # asyncio keeps no reference to a handler whose client has disconnected; it would be collected while it runs.
        task = asyncio.current_task()
        self._tasks.add(task)
        peer = int(writer.get_extra_info("peername")[1])
        try:
            while (request := await _read_request(reader, peer)) is not None:
                if not await self._handle(request, writer):
                    break
        # Expected: a function was killed or timed out, or the proxy stops while a request waits.
        except (OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _handle(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Handle one request; return whether the connection may be used again."""
        fault = await self.choose_fault(request)
        exchange = Exchange(request, fault)
        self.exchanges.append(exchange)
        reply = fault.reply if fault else None
        if fault is None or fault.reaches:
            answer = await _forward(request, self._upstream)
            exchange.status, exchange.answered_at = answer.status, time.time()
            self.on_reply(request, answer)
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
