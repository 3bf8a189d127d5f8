"""Build the stack for this machine and deploy it to the local AWS: `sam build` and `sam deploy`, as in production.

Two things differ, and nothing else. The artifacts are built for the interpreter that will run them, which is
the emulator's own and not Lambda's. And the HTTP API's routes are made afterwards (see `local.routes`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.aws import LocalAws
from local.routes import create_routes
from local.terminal import Say
from local.tools import ROOT, STATE, clean_environment, run_tool, tool

STACK = "evergrant"
BUILDS = STATE / "build"
# What the build reads. A build is kept under the digest of all of it, and used again while that is the same.
SOURCES = ("template.yaml", "samconfig.toml", "functions", "layers")
KEPT_BUILDS = 3


@dataclass(frozen=True)
class Stack:
    """A deployed stack."""

    outputs: Mapping[str, str]
    api_url: str
    """Where its HTTP API answers; ``outputs["ApiUrl"]`` is where it would on AWS."""

    @property
    def callback_url(self) -> str:
        return f"{self.api_url}/callback"


def build(home: Path, say: Say) -> Path:
    """Build the artifacts unless that has been done already, and return the built template."""
    python = tool("ministack").parent / "python"
    version = subprocess.run(
        [python, "-c", "import sys; print('python%d.%d' % sys.version_info[:2])"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    machine = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
    target = {"BUILD_RUNTIME": version, "BUILD_ARCHITECTURE": machine}
    with _one_at_a_time():
        directory = BUILDS / _digest(target)
        template = directory / "template.yaml"
        if template.exists():
            directory.touch()
            say("nothing has changed")
            return template
        unfinished = BUILDS / "unfinished"
        run_tool(
            [tool("sam"), "build", "--config-env", "local", "--build-dir", unfinished],
            env=_sam_environment() | target,
            log=home / "build.log",
            on_line=say,
        )
        unfinished.rename(directory)
        _remove_old_builds()
    return template


def deploy(aws: LocalAws, template: Path, home: Path, say: Say) -> Stack:
    """Deploy a built template as the stack ``evergrant``, with its ``local`` settings of samconfig.toml."""
    outputs = sam_deploy(aws, template, STACK, ["--config-env", "local"], home / "deploy.log", say)
    say("routes of the HTTP API")
    api_id = create_routes(aws, STACK)
    # Not http://{id}.execute-api.localhost:{port}, which needs a resolver that knows names under localhost.
    return Stack(outputs, f"{aws.endpoint}/_aws/execute-api/{api_id}")


def sam_deploy(aws: LocalAws, template: Path, stack: str, options: list[str], log: Path, say: Say) -> dict[str, str]:
    """Run `sam deploy` against the local AWS and return the stack's outputs."""
    done = 0

    def count(line: str) -> None:
        nonlocal done
        found = re.match(r"CREATE_COMPLETE\s+(\S+)", line)
        if found is not None:
            done += 1
            say(f"{done} resources, last {found[1]}")

    fixed = ["--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "--resolve-s3", "--no-confirm-changeset"]
    run_tool(
        [
            tool("sam"),
            "deploy",
            "--template-file",
            template,
            "--stack-name",
            stack,
            *fixed,
            "--no-progressbar",
            *options,
        ],
        env=_sam_environment() | aws.environment(),
        log=log,
        on_line=count,
    )
    described = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def _sam_environment() -> dict[str, str]:
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    return (
        clean_environment()
        | proxies
        | {
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
    )


def _digest(target: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(target.items())).encode())
    for source in SOURCES:
        top = ROOT / source
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two local runs may start together; the second waits for the first one's build and finds it done."""
    BUILDS.mkdir(parents=True, exist_ok=True)
    with (BUILDS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(BUILDS / "unfinished", ignore_errors=True)
        yield


def _remove_old_builds() -> None:
    builds = sorted((path for path in BUILDS.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for old in builds[:-KEPT_BUILDS]:
        shutil.rmtree(old, ignore_errors=True)
