"""Kills a process group when the parent process has ended: `python guard.py GROUP`, with a pipe of the parent as stdin.

``finally`` and signal handlers cover every end of a local run except SIGKILL. The parent's end of the pipe closes even
then, and this program waits for that. Unlike a parent-death signal, this works on Linux and macOS.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    group = int(sys.argv[1])
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # Ctrl-C is for the run, which ends this program by the pipe
    if sys.stdin.buffer.read():  # a byte means that the run has stopped by itself
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
