"""Look up the addresses of a name within a time limit, and keep them for thirty seconds."""

from __future__ import annotations

import socket
import time
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from typing import Any

#: How long, and of how many names, addresses that answered are kept; see :class:`KeptAddresses`.
_KEPT_SECONDS, _MAX_KEPT_NAMES = 30, 256


class KeptAddresses:
    """The addresses of names, each kept for 30 seconds, so that refreshes at one provider look its name up once.

    That is as safe: each address is checked just before each connection, and TLS proves the name. Where a provider
    fails over by DNS, the first request without a whole response has the name looked up anew; after 30 seconds every
    request does.
    """

    def __init__(self) -> None:
        #: Name to its addresses, and until when they are kept.
        self._kept: dict[str, tuple[list[str], float]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, host: str, timeout: float) -> list[str]:
        """Return the host's addresses, in the order of the name server's answer.

        Raises
        ------
        OSError
            There is no such name; TimeoutError after ``timeout`` seconds.
        UnicodeError
            It cannot be a name.
        """
        addresses, until = self._kept.get(host, ([], 0.0))
        if time.monotonic() >= until:
            found = _look_ups.ask(host, timeout)
            addresses = list(dict.fromkeys(address[0] for *_, address in found))
            if len(self._kept) >= _MAX_KEPT_NAMES:
                self._kept.clear()
            self._kept[host] = addresses, time.monotonic() + _KEPT_SECONDS
        return addresses

    def forget(self, host: str) -> None:
        """Have the name looked up anew the next time."""
        self._kept.pop(host, None)


class _LookUps:
    """Looks names up in threads that are kept, since getaddrinfo has no timeout.

    A thread is started where none is idle, so that a look-up that hangs delays no other.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[str, SimpleQueue[Any]]] = SimpleQueue()
        self._idle = Semaphore(0)

    def ask(self, host: str, timeout: float) -> list[Any]:
        """Return the result of getaddrinfo within ``timeout`` seconds. Raises what it raises, and TimeoutError."""
        said: SimpleQueue[Any] = SimpleQueue()
        self._asked.put((host, said))
        if not self._idle.acquire(blocking=False):
            try:
                Thread(target=self._look_up, daemon=True).start()
            except RuntimeError as error:
                raise OSError("there is no thread to look the name up in") from error
        try:
            found = said.get(timeout=timeout)
        except Empty:
            raise TimeoutError("the name was not resolved in time") from None
        if isinstance(found, Exception):
            raise found
        return list(found)

    def _look_up(self) -> None:
        while True:
            host, said = self._asked.get()
            found: Any
            try:
                found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            except Exception as error:  # noqa: BLE001 - the caller waits for it
                found = error
            self._idle.release()
            said.put(found)


_look_ups = _LookUps()
