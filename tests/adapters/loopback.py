"""Servers on loopback that misbehave as a test asks: plain sockets, one thread for each connection."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

#: What a server does with a connection after it has read the request.
Behaviour = Callable[["Server", socket.socket], None]


class Server:
    """Listens on 127.0.0.1. ``requests`` holds what was read, ``connections`` counts what was accepted."""

    def __init__(self, behave: Behaviour, *, tls: ssl.SSLContext | None = None, read: bool = True) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.over = threading.Event()
        self._behave, self._tls, self._read = behave, tls, read
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # The peer may leave whenever it likes: that is what the tests are about.
        with contextlib.suppress(OSError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                connection.settimeout(10)
                if self._read:
                    self.requests.append(_whole_request(connection))
                self._behave(self, connection)

    def close(self) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _whole_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


@contextlib.contextmanager
def serving(behave: Behaviour, *, tls: ssl.SSLContext | None = None, read: bool = True) -> Iterator[Server]:
    server = Server(behave, tls=tls, read=read)
    threading.Thread(target=server.accept, daemon=True).start()
    try:
        yield server
    finally:
        server.close()


# --- behaviours ---------------------------------------------------------------------------------------------------


def sends(answer: bytes) -> Behaviour:
    """Sends these bytes and closes."""
    return lambda _, connection: connection.sendall(answer)


def answers(body: bytes = b"{}", status: str = "200 OK", headers: str = "") -> Behaviour:
    """Sends a whole answer."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {len(body)}\r\n\r\n"
    return sends(head.encode() + body)


def drips(head: bytes, rest: bytes, every: float = 0.02) -> Behaviour:
    """Sends ``head``, then ``rest`` byte by byte: no single read ever waits for long."""

    def behave(server: Server, connection: socket.socket) -> None:
        connection.sendall(head)
        for byte in rest:
            if server.over.wait(every):
                return
            connection.sendall(bytes([byte]))

    return behave


def is_silent(server: Server, connection: socket.socket) -> None:
    """Never says anything."""
    server.over.wait(10)


def closes(server: Server, connection: socket.socket) -> None:
    """Hangs up."""


def resets(server: Server, connection: socket.socket) -> None:
    """Hangs up rudely: with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def floods(server: Server, connection: socket.socket) -> None:
    """Sends a body without an end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while not server.over.is_set():
        connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


# --- TLS ----------------------------------------------------------------------------------------------------------


def self_signed(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate for 127.0.0.1 and localhost, and the file to trust it by."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "loopback.pem"
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(public + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, file
