"""Build one function or layer for the Lambda runtime on which it will run, on any machine.

``sam build`` calls this through the makefiles beside the sources. Wheels come from the layer's hash-locked
``requirements.txt``, for the target's Python and processor; nothing is compiled from source. The target's own Python
adds byte code if this machine has it: without byte code a function takes more than twice as long to start. Two builds
of the same sources are identical, byte for byte.

SAM passes neither runtime nor architecture to a makefile. The target comes from the first of:

1. ``BUILD_RUNTIME`` and ``BUILD_ARCHITECTURE`` in the environment (``python3.13``, ``arm64``; or ``host`` for
   this machine's),
2. ``--parameter-overrides`` of the calling ``sam build``,
3. ``parameter_overrides`` in ``samconfig.toml``, of the environment of the calling ``sam build``,
4. the defaults in ``template.yaml``.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = "host"

#: uv's name of the oldest Linux that all wheels in the lock support. glibc 2.17 is older than that of every Lambda
#: runtime (python3.11 has 2.26, later ones 2.34).
PLATFORMS = {"arm64": "aarch64-manylinux_2_17", "x86_64": "x86_64-manylinux_2_17"}

#: Files of installers about the installation itself, which differ between machines.
INSTALLER_FILES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json")

#: The modification time of every file: the earliest that a zip can hold.
MTIME_SECONDS = 315532800


@dataclass(frozen=True)
class Target:
    """Where the artifact will run: Lambda's names, ``python3.13`` and ``arm64``; either may be ``host``."""

    runtime: str
    architecture: str

    @property
    def version(self) -> str:
        """``3.13``"""
        return self.runtime.removeprefix("python")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["function", "layer"])
    parser.add_argument("name")
    parser.add_argument("artifacts", type=Path)
    options = parser.parse_args()
    target = find_target()
    options.artifacts.mkdir(parents=True, exist_ok=True)
    if options.kind == "function":
        build_function(options.name, options.artifacts, target)
    else:
        build_layer(options.name, options.artifacts, target)
    set_modification_times(options.artifacts)


def build_function(name: str, artifacts: Path, target: Target) -> None:
    """Build a function: its handler only, since the layer has the rest."""
    copy_package(ROOT / "functions" / name, artifacts)
    compile_for(target.version, artifacts, "/var/task", must_say=False)  # the layer's build says it


def build_layer(name: str, artifacts: Path, target: Target) -> None:
    """Build a layer: one package under ``python/``, with its locked requirements beside it."""
    source, site = ROOT / "layers" / name, artifacts / "python"
    shutil.rmtree(site, ignore_errors=True)
    lock = source / "requirements.txt"
    if lock.exists():
        install(lock, site, target)
        print(f"{name}: {target.runtime} on {target.architecture}, {lock.relative_to(ROOT)}")
        versions = [target.version]
    else:
        versions = ["3.11", "3.12", "3.13", "3.14"]  # pure Python, for the runtimes that consumers may use
    copy_package(source / name, site / name)
    shutil.copyfile(ROOT / "LICENSE", site / name / "LICENSE")
    if lock.exists() and target.architecture != HOST:
        write_target(site / name, target)
    for version in versions:
        compile_for(version, site, "/opt/python", must_say=len(versions) == 1)


def write_target(package: Path, target: Target) -> None:
    """Let the package say where it does not belong (``evergrant.artifact_target``), before any library is loaded."""
    with (package / "__init__.py").open("a", encoding="utf-8") as init:
        init.write("\nfrom .artifact_target import check_target\n\n")
        init.write(f'check_target("{target.runtime}", "{target.architecture}")\n')


def install(lock: Path, site: Path, target: Target) -> None:
    """Install the locked wheels for the target, without the files about this installation."""
    command = [find_uv(), "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--python", sys.executable, "--target", str(site), "--requirement", str(lock)]
    command += ["--python-version", target.version]
    if target.architecture != HOST:
        command += ["--python-platform", PLATFORMS[target.architecture]]
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never", "UV_LINK_MODE": "copy"}
    environment.pop("VIRTUAL_ENV", None)
    subprocess.run(command, check=True, env=environment)
    shutil.rmtree(site / "bin", ignore_errors=True)  # commands of the packages contain this machine's paths
    (site / ".lock").unlink(missing_ok=True)
    for notes in site.glob("*.dist-info"):
        for name in INSTALLER_FILES:
            (notes / name).unlink(missing_ok=True)


def copy_package(source: Path, destination: Path) -> None:
    """Copy sources without byte code and hidden files."""
    shutil.copytree(
        source, destination, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "*.py[co]", ".*")
    )


def compile_for(version: str, directory: Path, mounted_at: str, *, must_say: bool = True) -> None:
    """Add byte code of this Python version, if this machine has that version."""
    found = subprocess.run([ROOT / "scripts" / "find-python", version], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        if must_say:
            print(f"No Python {version} here: built without byte code, so cold starts take longer.")
        return
    # Unchecked: the files never change under a running function.
    command = [found.stdout.strip(), "-I", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*command, "-s", str(directory), "-p", mounted_at, str(directory)], check=True)


def set_modification_times(directory: Path) -> None:
    """Set one modification time for all files, so that the same content makes the same archive."""
    for path in [directory, *directory.rglob("*")]:
        os.utime(path, (MTIME_SECONDS, MTIME_SECONDS))


def find_target() -> Target:
    """Find the target; the module's docstring has the order."""
    command = find_calling_sam()
    template = (ROOT / "template.yaml").read_text()

    def decide(parameter: str, variable: str) -> str:
        default = re.search(rf"^  {parameter}:\n(?:    .*\n)*?    Default: (\S+)", template, re.MULTILINE)
        if default is None:
            raise SystemExit(f"template.yaml has no default for {parameter}.")
        return (
            os.environ.get(variable)
            or find_override(parameter, command)
            or find_override(parameter, read_configured_overrides(command))
            or default[1]
        )

    runtime, architecture = decide("Runtime", "BUILD_RUNTIME"), decide("Architecture", "BUILD_ARCHITECTURE")
    if runtime == HOST:
        runtime = find_host_runtime()
    if not re.fullmatch(r"python3\.\d+", runtime) or architecture not in {*PLATFORMS, HOST}:
        raise SystemExit(f"Cannot build for {runtime} on {architecture}.")
    if architecture == HOST and platform.system() == "Linux":
        architecture = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return Target(runtime, architecture)


def find_host_runtime() -> str:
    """Return the runtime of the local run's emulated Lambda: the Python of its environment."""
    emulator = ROOT / ".tools" / "ministack" / "bin" / "python"
    say = "import sys; print('python%d.%d' % sys.version_info[:2])"
    return subprocess.run(
        [emulator if emulator.exists() else sys.executable, "-c", say], capture_output=True, text=True, check=True
    ).stdout.strip()


def find_override(parameter: str, text: str) -> str | None:
    """Return the last value of a parameter, in any of the notations that SAM accepts."""
    key = re.escape(parameter)
    found = re.findall(rf"""(?<![\w]){key}['"]?(?:,ParameterValue)?\s*[=:]\s*['"]?([\w.]+)""", text)
    return found[-1] if found else None


def read_configured_overrides(command: str) -> str:
    """Return the ``parameter_overrides`` of samconfig.toml for this build; later ones take precedence."""
    try:
        config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    except FileNotFoundError:
        return ""
    chosen = re.search(r"--config-env[= ](\S+)", command)
    environment = config.get(chosen[1] if chosen else "default", {})
    # A guided deploy writes its answers under "deploy", and the build has to match the deployment.
    return " ".join(
        str(environment.get(section, {}).get("parameters", {}).get("parameter_overrides", ""))
        for section in ("global", "build", "deploy")
    )


def find_calling_sam() -> str:
    """Return the command line of the calling ``sam build``, or an empty string."""
    return next((line for line in list_parents() if re.search(r"\bsam(\.\w+)?\s+(.*\s)?build\b", line)), "")


def list_parents() -> Iterator[str]:
    """Yield the command lines of the parent processes, nearest first."""
    pid = os.getppid()
    while pid > 1:
        command = ["ps", "-o", "ppid=,args=", "-ww", "-p", str(pid)]
        try:
            seen = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:  # a container without ps
            return
        parent, _, line = seen.stdout.strip().partition(" ")
        if not parent.isdigit():
            return
        yield line
        pid = int(parent)


def find_uv() -> str:
    """Return the project's own uv, or the one on PATH."""
    own = ROOT / ".tools" / "uv" / "bin" / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    if found is None:
        raise SystemExit("The build of the layers needs uv, which was not found. Run `make setup` once, or install uv.")
    return found


if __name__ == "__main__":
    main()
