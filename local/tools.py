"""The tools of a local run, and their processes, which end with it.

``sam`` and ``ministack`` each have a virtual environment of their own under ``.tools/`` (``make setup`` creates them):
their dependencies conflict with each other's and with ours.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
"""The repository."""

STATE = ROOT / ".local"
"""What local runs leave behind: logs, builds, the environment to source. Ignored by git."""


class LocalRunError(Exception):
    """The local run cannot go on; the message says what to do."""


def find_tool(name: str) -> Path:
    """Return the executable ``sam`` or ``ministack``.

    Raises
    ------
    LocalRunError
        It is not installed.
    """
    path = ROOT / ".tools" / name / "bin" / name
    if not path.exists():
        raise LocalRunError(f"{name} is not installed at {path}. Run `make setup` first.")
    return path


def run_tool(
    command: Iterable[str | Path],
    *,
    env: Mapping[str, str],
    log: Path,
    cwd: Path = ROOT,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run a command to its end with its output in ``log``; kill it, with its children, on an interrupt.

    Raises
    ------
    LocalRunError
        It failed; the message carries the end of its output.
    """
    words = [str(word) for word in command]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output, start_process_group(words, env=env, cwd=cwd) as process:
        for line in _lines(process):
            output.write(line)
            output.flush()
            if on_line is not None:
                on_line(line.rstrip())
        status = process.wait()
    if status != 0:
        tail = "".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[-25:])
        raise LocalRunError(
            f"`{Path(words[0]).name} {words[1]}` failed ({status}); its whole output is in {log}\n{tail}"
        )


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    if process.stdout is not None:
        yield from process.stdout


@contextmanager
def start_process_group(
    words: list[str], *, env: Mapping[str, str], cwd: Path, output: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """Start a child in a process group of its own; kill the whole group at the end of the block, however it ends."""
    process = subprocess.Popen(
        words,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        kill_group(process)


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a process and its group; return when the process has ended."""
    # macOS returns EPERM for a group of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


@contextmanager
def end_on_signals() -> Iterator[None]:
    """Raise SystemExit on SIGTERM and SIGHUP, so that every ``finally`` runs, as with Ctrl-C."""

    def interrupt(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    names = (signal.SIGTERM, signal.SIGHUP)
    before = {name: signal.signal(name, interrupt) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def clean_environment() -> dict[str, str]:
    """Return our environment without variables that would direct a tool, or a function, outside this machine.

    The emulator passes its own environment on to every function: a proxy, a profile or a module path that is set here
    would be set there too.
    """
    unwanted = ("AWS_", "SAM_", "PYTHON", "VIRTUAL_ENV", "EVERGRANT_", "MAKE", "MFLAGS")
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(unwanted) and name.upper() not in proxies
    }
