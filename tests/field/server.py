"""One server on loopback for all cases: it writes exactly the bytes that a case has, one connection after the other."""

from __future__ import annotations

import contextlib
import gzip
import socket
import struct
import threading
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from queue import Empty, SimpleQueue

from tests.field.case_format import Answer
from tests.field.placeholders import fill

_RESET = struct.pack("ii", 1, 0)
_ENCODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: gzip.compress(body, mtime=0),
    "deflate": zlib.compress,
    "raw-deflate": lambda body: zlib.compress(body, wbits=-zlib.MAX_WBITS),
}


def encode_body(answer: Answer) -> bytes:
    """Return the body as it goes over the wire, without its framing."""
    body = b64decode(answer.body_base64) if answer.body_base64 else fill(answer.body).encode(answer.charset)
    return _ENCODERS[answer.encode](body) if answer.encode else body


def write_bytes(answer: Answer) -> bytes:
    """Return what the server writes: status line, header lines, framing and body."""
    if answer.status is None:
        return b""
    body = encode_body(answer)
    lines = [f"HTTP/1.1 {answer.status}", *(fill(line) for line in answer.headers)]
    if answer.framing in ("length", "truncated"):
        lines.append(f"Content-Length: {len(body) + (100 if answer.framing == 'truncated' else 0)}")
    elif answer.framing.startswith("chunked"):
        lines.append("Transfer-Encoding: chunked")
        half = len(body) // 2
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:half], body[half:]) if piece)
        body += b"" if answer.framing == "chunked-truncated" else b"0\r\n\r\n"
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


class FieldServer:
    """Answers the next connections with the answers that :meth:`play` was given; then it closes what comes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self._next: SimpleQueue[Answer] = SimpleQueue()
        self._silent: list[socket.socket] = []

    def play(self, *answers: Answer) -> None:
        """Forget what is left of the case before, and take the answers of this one."""
        self.requests.clear()
        while self._silent:
            self._silent.pop().close()
        with contextlib.suppress(Empty):
            while True:
                self._next.get_nowait()
        for answer in answers:
            self._next.put(answer)

    def serve(self) -> None:
        """Serve connections one by one until the listener is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        self.requests.append(_read_request(connection))
        try:
            answer = self._next.get_nowait()
        except Empty:
            connection.close()
            return
        connection.sendall(write_bytes(answer))
        if answer.ends == "silence":
            self._silent.append(connection)
            return
        if answer.ends == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.close()

    def close(self) -> None:
        """Stop listening."""
        self.play()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        piece = connection.recv(65_536)
        if not piece:
            break
        body += piece
    return head + b"\r\n\r\n" + body


@contextlib.contextmanager
def serving() -> Iterator[FieldServer]:
    """Run a server in a thread."""
    server = FieldServer()
    threading.Thread(target=server.serve, daemon=True).start()
    try:
        yield server
    finally:
        server.close()
