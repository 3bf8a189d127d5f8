"""Lambda without AWS: a built function under AWS's Runtime Interface Emulator, with only what Lambda would give it.

The emulator is AWS's own program, shipped inside the SAM CLI's wheel; ``awslambdaric`` is the runtime's own client. The
function finds its layer on ``PYTHONPATH`` as Lambda's Python does, boto3 as the runtime's own, and nothing else.
"""

from __future__ import annotations

import json
import platform
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from local.tools import start_process_group
from tests.template.stack import ROOT

PYTHON = ROOT / ".tools" / "rie" / "bin" / "python"
START_SECONDS = 20.0


@dataclass(frozen=True)
class EmulatedLambda:
    """One function, ready to be invoked."""

    url: str
    log: Path
    #: The emulator's process, whose child is the runtime.
    pid: int

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """The function's answer, as callers see it: an unhandled error has ``errorType`` and ``errorMessage``."""
        address = f"{self.url}/2015-03-31/functions/function/invocations"
        answer = httpx.post(address, content=json.dumps(event), timeout=65, trust_env=False)
        return answer.json()


@contextmanager
def emulated_lambda(
    function: Path, layer: Path, environment: Mapping[str, str], timeout: int, home: Path
) -> Iterator[EmulatedLambda]:
    """Run a built function for as long as the block lasts."""
    port, runtime_port = _free_ports(2)
    log = home / f"{function.name}.log"
    command = [
        str(emulator()),
        "--runtime-interface-emulator-address",
        f"127.0.0.1:{port}",
        "--runtime-api-address",
        f"127.0.0.1:{runtime_port}",
        str(PYTHON),
        "-m",
        "awslambdaric",
        "app.handler",
    ]
    given = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(layer / "python"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "LAMBDA_TASK_ROOT": str(function),
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_EC2_METADATA_DISABLED": "true",
        **environment,
    }
    with (
        log.open("w") as output,
        start_process_group(command, env=given, cwd=function, output=output.fileno()) as process,
    ):
        _wait_until_listening(process, port, log)
        yield EmulatedLambda(f"http://127.0.0.1:{port}", log, process.pid)


def emulator() -> Path:
    """AWS's program for this machine's processor."""
    machine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    (found,) = (ROOT / ".tools" / "sam").glob(f"lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}")
    return found


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _wait_until_listening(process: subprocess.Popen[str], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"the runtime did not start:\n{log.read_text()}")
