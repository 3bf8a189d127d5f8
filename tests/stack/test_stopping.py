"""Protects the machine it runs on: however a local run ends, its AWS and every function process end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.tools import ROOT

RUN = """
import io, signal, sys, time, zipfile
from pathlib import Path
from local.aws import local_aws
from local.tools import end_on_signals

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
code = io.BytesIO()
with zipfile.ZipFile(code, "w") as archive:
    archive.writestr("app.py", "def handler(event, context): return 1")
with end_on_signals(), local_aws(Path(sys.argv[1])) as aws:
    functions = aws.client("lambda")
    functions.create_function(
        FunctionName="f", Runtime="python3.13", Handler="app.handler",
        Role="arn:aws:iam::000000000000:role/r", Code={"ZipFile": code.getvalue()},
    )
    functions.invoke(FunctionName="f")
    print("running", flush=True)
    time.sleep(600)
"""
PATIENCE_SECONDS = 20


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes the way Linux shows them")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_outlives_a_run_that_is_ended_by(end: signal.Signals, tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert run.stdout is not None
    with run.stdout:
        assert run.stdout.readline()
        assert len(processes_of(tmp_path)) == 2  # the emulator, and the function that it runs

        run.send_signal(end)
        run.wait(PATIENCE_SECONDS)

    assert await_end(tmp_path)


def processes_of(home: Path) -> set[int]:
    """The live processes that work below a directory; an emulator and its functions do."""
    listed = subprocess.run(["ps", "-eo", "pid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    found = set()
    for line in listed.splitlines():
        pid, state, command = line.split(maxsplit=2)
        directory = working_directory(int(pid))
        if not state.startswith("Z") and "ministack" in command and directory.startswith(str(home)):
            found.add(int(pid))
    return found


def working_directory(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""


def await_end(home: Path) -> bool:
    """Whether they all end within a moment: the last of them is killed by a guard that first has to notice."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while processes_of(home):
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True
