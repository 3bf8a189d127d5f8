"""An AWS of our own on a free loopback port: ministack as a child process, for as long as a ``with`` block lasts.

It is bound to 127.0.0.1 and nothing else, keeps all it writes under the run's own directory, and is killed
with every Lambda process it started however the block ends.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from local.tools import LocalRunError, clean_environment, kill_group, start_process_group, tool

REGION = "eu-west-1"
START_SECONDS = 30.0
"""How long the emulator may take to answer. It takes about one second; a busy machine may need more."""

_MEMORY = 4 * 1024**3
"""Bytes that have to be free: each process of a function takes 30 MB of files."""

# The emulator takes this key for the account's root user, with IAM enforcement on as well as off.
ROOT_KEY = "test"


@dataclass(frozen=True)
class LocalAws:
    """A running emulator."""

    port: int
    enforces_iam: bool
    log: Path

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """What makes an SDK or a tool speak to this AWS, as its root user, and to no other."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ROOT_KEY,
            "AWS_SECRET_ACCESS_KEY": ROOT_KEY,
        }

    def client(self, service: str, **credentials: str) -> Any:
        """A boto3 client, as the root user or with the ``aws_…`` credentials given."""
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            config=Config(proxies={}, retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=70),
            **({"aws_access_key_id": ROOT_KEY, "aws_secret_access_key": ROOT_KEY} | credentials),
        )


@contextmanager
def local_aws(home: Path, *, enforce_iam: bool = False, in_memory: bool = False) -> Iterator[LocalAws]:
    """Run an AWS emulator.

    Parameters
    ----------
    home : Path
        The run's own directory: ``aws.log`` is kept there; everything else the emulator writes is removed at the end.
    enforce_iam : bool
        Refuse what a function's execution role does not allow, as AWS does.
    in_memory : bool
        Keep what it writes in memory, if this machine offers that: it unpacks the layers for each process of a
        function, and where many are started, the disk is what they wait for.

    Raises
    ------
    LocalRunError
        It is not installed, or did not start.
    """
    scratch = (in_memory and _memory_of(home)) or home / "aws"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    port, log = _free_port(), home / "aws.log"
    try:
        with (
            log.open("w", encoding="utf-8") as output,
            start_process_group(
                [str(tool("ministack"))],
                env=_environment(port, scratch, enforce_iam),
                cwd=scratch,
                output=output.fileno(),
            ) as process,
            _guarded(process),
        ):
            _wait_until_healthy(process, port, log)
            yield LocalAws(port, enforce_iam, log)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _memory_of(home: Path) -> Path | None:
    """A directory in memory for a run of ``home``: a next run there removes what one that was killed has left."""
    shared = Path("/dev/shm")  # noqa: S108 - a directory of our own in it, which is removed first
    if not shared.is_dir() or shutil.disk_usage(shared).free < _MEMORY:
        return None
    return shared / f"evergrant-{hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]}"


def _environment(port: int, scratch: Path, enforce_iam: bool) -> dict[str, str]:
    return clean_environment() | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "localhost",
        "MINISTACK_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AUTH": "true" if enforce_iam else "false",
        # Services nobody here uses that would open ports of their own, on all interfaces.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "DOCKER_HOST": f"unix://{scratch}/no-docker",
        "TMPDIR": str(scratch),
        "S3_DATA_DIR": str(scratch / "s3"),
        "PERSIST_STATE": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_healthy(process: subprocess.Popen[str], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=2.0) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if client.get("/_ministack/health").is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
    raise LocalRunError(f"The local AWS did not start; its log is {log}\n{log.read_text(encoding='utf-8')[-2000:]}")


@contextmanager
def _guarded(process: subprocess.Popen[str]) -> Iterator[None]:
    """Have the emulator's process group killed even if this process is killed outright."""
    guard = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("guard.py")), str(process.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        kill_group(process)
        guard.communicate(b"stopped")
