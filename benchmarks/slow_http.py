"""A server in a process of its own, so that its CPU is not measured: every response takes a given time."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

#: Takes headers (lower-case names) and body; returns the JSON body of a 200.
Answer = Callable[[Mapping[str, str], bytes], bytes]


def serve(answer: Answer, arguments: list[str]) -> None:
    """Serve until killed; ``arguments`` are the port and the seconds that a response takes."""
    asyncio.run(_main(answer, int(arguments[0]), float(arguments[1])))


async def _main(answer: Answer, port: int, seconds: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await _answer_one(reader, writer, answer, seconds)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    await server.serve_forever()


async def _answer_one(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer, seconds: float
) -> None:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[1:]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    await asyncio.sleep(seconds)
    answered = answer(headers, body)
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(answered)}\r\n\r\n"
    writer.write(head.encode() + answered)
    await writer.drain()


@contextmanager
def run_server(module: str, seconds: float) -> Iterator[str]:
    """Run a module that serves; give its address, ``host:port``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", module, str(port), str(seconds)])
    try:
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
