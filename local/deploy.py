"""The stack, built for this machine and deployed to the local AWS by `sam build` and `sam deploy`, as in production.

Two things differ. The artifacts are built for the emulator's interpreter and not Lambda's. And after the deployment,
what the emulator does unlike AWS is corrected (see `local.routes` and `local.emulator_fixes`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local.aws import LocalAws
from local.emulator_fixes import fix_batch_permissions, fix_event_sources, fix_unread_settings
from local.routes import create_routes
from local.strict_rules import enforce_rules
from local.terminal import Say
from local.tools import ROOT, STATE, LocalRunError, clean_environment, find_tool, run_tool

STACK = "evergrant"
BUILDS = STATE / "build"
# The inputs of the build. A build is kept under the digest of all of them, and used again while that is the same.
# The configuration of the emulator's virtual environment names its Python.
SOURCES = (
    "template.yaml",
    "samconfig.toml",
    "LICENSE",
    "functions",
    "layers",
    "scripts",
    ".tools/ministack/pyvenv.cfg",
)
MAX_BUILDS = 3


@dataclass(frozen=True)
class Stack:
    """A deployed stack."""

    name: str
    outputs: Mapping[str, str]
    api_url: str
    """The address of its HTTP API; ``outputs["ApiUrl"]`` is the address on AWS."""

    @property
    def callback_url(self) -> str:
        """The redirect URI of clients that an earlier release stored."""
        return f"{self.api_url}/callback"

    def redirect_uri(self, provider: str) -> str:
        """The redirect URI of a client at a provider."""
        return f"{self.callback_url}/{provider}"


def build(home: Path, say: Say) -> Path:
    """Build the artifacts unless a build of the same inputs exists; return the built template."""
    with _one_at_a_time():
        directory = BUILDS / _compute_digest()
        template = directory / "template.yaml"
        if template.exists():
            directory.touch()
            say("nothing has changed")
            return template
        unfinished = BUILDS / "unfinished"
        run_tool(
            [find_tool("sam"), "build", "--config-env", "local", "--build-dir", unfinished],
            env=_build_sam_environment() | {"BUILD_RUNTIME": "host", "BUILD_ARCHITECTURE": "host"},
            log=home / "build.log",
            on_line=say,
        )
        unfinished.rename(directory)
        _remove_old_builds()
    return template


def deploy(
    aws: LocalAws,
    template: Path,
    home: Path,
    say: Say,
    parameters: Mapping[str, object] | None = None,
    name: str = STACK,
) -> Stack:
    """Deploy a built template as the stack ``name``, with the ``local`` settings of samconfig.toml.

    ``parameters`` of the template replace those of the settings.
    """
    # SAM searches its configuration beside the template, but the built template is elsewhere.
    options = ["--config-file", str(ROOT / "samconfig.toml"), "--config-env", "local"]
    if parameters:
        options += ["--parameter-overrides", *(f"{name}={value}" for name, value in parameters.items())]
    outputs = sam_deploy(aws, template, name, options, home / f"deploy-{name}.log", say)
    enforce_rules(aws, name)
    say("routes of the HTTP API")
    api_id = create_routes(aws, name)
    fix_event_sources(aws)
    fix_batch_permissions(aws, name)
    fix_unread_settings(aws, name)
    # Not http://{id}.execute-api.localhost:{port}: not every resolver knows names under localhost.
    return Stack(name, outputs, f"{aws.endpoint}/_aws/execute-api/{api_id}")


def sam_deploy(aws: LocalAws, template: Path, stack: str, options: list[str], log: Path, say: Say) -> dict[str, str]:
    """Run `sam deploy` against the local AWS and return the stack's outputs.

    Raises
    ------
    LocalRunError
        It failed; the message names the resource and the reason.
    """
    done = 0

    def count(line: str) -> None:
        nonlocal done
        found = re.match(r"CREATE_COMPLETE\s+(\S+)", line)
        if found is not None:
            done += 1
            say(f"{done} resources, last {found[1]}")

    cloudformation = aws.client("cloudformation")
    try:
        run_tool(
            [
                find_tool("sam"),
                "deploy",
                "--template-file",
                template,
                "--stack-name",
                stack,
                "--no-progressbar",
                *options,
            ],
            env=_build_sam_environment() | aws.environment(),
            log=log,
            on_line=count,
        )
    except LocalRunError as error:
        raise LocalRunError(f"{error}\n{_describe_failures(cloudformation, stack)}") from error
    described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def _describe_failures(cloudformation: Any, stack: str) -> str:
    try:
        events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    except ClientError:
        return ""  # it failed before the stack existed
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    return "\n".join(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}" for event in failed)


def _build_sam_environment() -> dict[str, str]:
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


def _compute_digest() -> str:
    digest = hashlib.sha256()
    for source in SOURCES:
        top = ROOT / source
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold the build lock: of two runs that start together, the second waits for the build of the first."""
    BUILDS.mkdir(parents=True, exist_ok=True)
    with (BUILDS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(BUILDS / "unfinished", ignore_errors=True)
        yield


def _remove_old_builds() -> None:
    builds = sorted((path for path in BUILDS.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for old in builds[:-MAX_BUILDS]:
        shutil.rmtree(old, ignore_errors=True)
