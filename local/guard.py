"""Kill a process group when the process that started us is gone: `python guard.py GROUP`, our stdin its pipe.

``finally`` and signal handlers cover every end of a local run but one: nothing runs in a process that is
itself killed with SIGKILL. Its end of the pipe closes even then, which is what this waits for. It works the
same on Linux and macOS, which a parent-death signal does not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    group = int(sys.argv[1])
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # the terminal's Ctrl-C is for the run, which ends us by the pipe
    if sys.stdin.buffer.read():  # a byte means: stopped properly, there is nothing left to kill
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
