"""The processes in which the local AWS runs functions, found by their network connections. Linux only."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_ESTABLISHED = "01"


class Workers:
    """The function processes of this run: those of the emulator whose AWS is at ``endpoint``."""

    def __init__(self, endpoint: str) -> None:
        self._mark = f"AWS_ENDPOINT_URL={endpoint}".encode()

    def list_ids(self, function: str | None = None) -> list[int]:
        """List process ids, of all functions or of one."""
        wanted = {self._mark} | ({f"AWS_LAMBDA_FUNCTION_NAME={function}".encode()} if function else set())
        found = []
        for entry in _PROC.iterdir():
            if entry.name.isdecimal():
                with suppress(OSError):
                    if wanted <= set((entry / "environ").read_bytes().split(b"\0")):
                        found.append(int(entry.name))
        return found

    def find_process(self, port: int) -> int | None:
        """Return the process whose connection has this local ``port``."""
        inode = next((inode for of, inode in _list_sockets() if of == port), None)
        if inode is None:
            return None
        return next((pid for pid in self.list_ids() if inode in _list_inodes(pid)), None)

    def find_ports(self, pid: int) -> frozenset[int]:
        """Return the local ports of a process's connections."""
        inodes = _list_inodes(pid)
        return frozenset(port for port, inode in _list_sockets() if inode in inodes)


def kill(pid: int) -> bool:
    """Send SIGKILL; return whether the process existed."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _list_sockets() -> list[tuple[int, str]]:
    """List local port and inode of every established IPv4 connection (proc_pid_net(5))."""
    rows = (line.split() for line in (_PROC / "net" / "tcp").read_text().splitlines()[1:])
    return [(int(row[1].rpartition(":")[2], 16), row[9]) for row in rows if row[3] == _ESTABLISHED]


def _list_inodes(pid: int) -> frozenset[str]:
    found = set()
    with suppress(OSError):
        for entry in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    found.add(target[8:-1])
    return frozenset(found)
