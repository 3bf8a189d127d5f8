"""A provider in a process of its own, whose CPU is nobody's: every token request takes a stated time.

python -m benchmarks.slow_provider PORT SECONDS
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

_number = count()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            break
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)
        await reader.readexactly(length)
        await asyncio.sleep(seconds)
        tokens = {
            "access_token": f"access-{next(_number)}-{'x' * 900}",
            "refresh_token": f"refresh-{next(_number)}-{'x' * 300}",
            "token_type": "bearer",
            "expires_in": 86_400,
        }
        body = json.dumps(tokens).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        writer.write(head + body)
        await writer.drain()
    writer.close()


async def _main(port: int, seconds: float) -> None:
    server = await asyncio.start_server(lambda reader, writer: _serve(reader, writer, seconds), "127.0.0.1", port)
    await server.serve_forever()


@contextmanager
def running(seconds: float) -> Iterator[str]:
    """Its address, ``host:port``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", __name__, str(port), str(seconds)])
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2])))
