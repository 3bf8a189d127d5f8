"""The local AWS on a free loopback port: ministack as a child process for the duration of a ``with`` block.

It listens on 127.0.0.1 only and writes to the run's own directory only. It is killed at the end of the block, however
the block ends, with every Lambda process that it has started.
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

from local.tools import LocalRunError, clean_environment, find_tool, kill_group, start_process_group

REGION = "eu-west-1"
MAX_START_SECONDS = 30.0
"""How long the emulator may take to start. It takes about one second; a busy machine may need more."""

_MIN_FREE_BYTES = 4 * 1024**3
"""Memory that must be free: each process of a function takes 30 MB of files."""

# The emulator treats this key as the account's root user, with and without IAM enforcement.
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
        """Return the variables that make an SDK or a tool use this AWS, as its root user."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ROOT_KEY,
            "AWS_SECRET_ACCESS_KEY": ROOT_KEY,
        }

    def client(self, service: str, **credentials: str) -> Any:
        """Create a boto3 client, as the root user or with the given ``aws_…`` credentials."""
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
        The run's own directory. ``aws.log`` stays there; everything else that the emulator writes is removed.
    enforce_iam : bool
        Deny what a function's execution role does not allow, as AWS does.
    in_memory : bool
        Keep its files in memory, if this machine can: the emulator unpacks the layers for each process of a function,
        and many starts would wait for the disk.

    Raises
    ------
    LocalRunError
        The emulator is not installed, or did not start.
    """
    scratch = (in_memory and _find_memory_directory(home)) or home / "aws"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    port, log = _find_free_port(), home / "aws.log"
    try:
        with (
            log.open("w", encoding="utf-8") as output,
            start_process_group(
                [str(find_tool("ministack").with_name("python")), str(Path(__file__).with_name("emulator.py"))],
                env=_build_environment(port, scratch, enforce_iam),
                cwd=scratch,
                output=output.fileno(),
            ) as process,
            _guarded(process),
        ):
            _wait_until_healthy(process, port, log)
            yield LocalAws(port, enforce_iam, log)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _find_memory_directory(home: Path) -> Path | None:
    """Return a directory in memory for a run of ``home``. The next run removes the files of one that was killed."""
    shared = Path("/dev/shm")  # noqa: S108 - only our own directory in it is used, and it is removed first
    if not shared.is_dir() or shutil.disk_usage(shared).free < _MIN_FREE_BYTES:
        return None
    return shared / f"evergrant-{hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]}"


def _build_environment(port: int, scratch: Path, enforce_iam: bool) -> dict[str, str]:
    return clean_environment() | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "localhost",
        "MINISTACK_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AUTH": "true" if enforce_iam else "false",
        # Unused services that would open ports of their own, on all interfaces.
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


def _find_free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_healthy(process: subprocess.Popen[str], port: int, log: Path) -> None:
    deadline = time.monotonic() + MAX_START_SECONDS
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
    """Kill the emulator's process group even if this process receives SIGKILL."""
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
