"""The functions to compare, each with a layer that holds the libraries it imports, with byte code.

Everything is built for this machine and for the Python of ``.tools/rie``, where Lambda's runtime and its boto3 are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from benchmarks.slow_aws import REFRESH_SECRET, TOKEN_SECRET
from scripts.build_artifact import compile_for, copy_package
from tests.contract.emulated_lambda import PYTHON
from tests.template.artifacts import RUNTIMES_OWN, build
from tests.template.stack import ROOT

HANDLERS = Path(__file__).parent / "handlers"
EVENT = {"connection": "keap/main"}


@dataclass(frozen=True, eq=False)
class Contender:
    """One function to compare.

    Parameters
    ----------
    source
        The name of its module among the handlers; empty for Evergrant's own getter.
    layer
        The layer of ours that it has, if any.
    libraries
        Distributions in its layer instead; their dependencies are added.
    """

    name: str
    source: str
    layer: str = ""
    libraries: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


EMPTY = Contender("empty handler", "empty")
BARE = Contender("boto3 reads one secret", "with_boto3", environment={"TOKEN_SECRET": TOKEN_SECRET})
GETTER = Contender("Evergrant's getter", "", "evergrant", environment={"EVERGRANT_ROTATOR_FUNCTION": "rotator"})
CLIENT = Contender("a consumer with the layer", "with_client", "evergrant_client")
CONTENDERS = (
    EMPTY,
    BARE,
    GETTER,
    CLIENT,
    Contender(
        "Powertools Parameters",
        "with_powertools",
        libraries=("aws-lambda-powertools",),
        environment={"TOKEN_SECRET": TOKEN_SECRET},
    ),
    Contender(
        "aws-secretsmanager-caching",
        "with_caching",
        libraries=("aws-secretsmanager-caching",),
        environment={"TOKEN_SECRET": TOKEN_SECRET},
    ),
    Contender(
        "Authlib refreshes by itself",
        "with_authlib",
        libraries=("authlib", "httpx"),
        environment={"REFRESH_SECRET": REFRESH_SECRET},
    ),
)


@dataclass(frozen=True)
class Built:
    """The directories of a contender's function and layer."""

    function: Path
    layer: Path


def build_contender(contender: Contender, home: Path, version: str) -> Built:
    """Build a contender for a Python such as ``3.11``."""
    built = Built(home / "function", home / "layer")
    built.layer.mkdir(parents=True)
    if contender.source:
        built.function.mkdir()
        shutil.copy(HANDLERS / f"{contender.source}.py", built.function / "app.py")
        compile_for(version, built.function, "/var/task")
    else:
        build("function", "getter", built.function, f"python{version}", "host")
    if contender.layer:
        build("layer", contender.layer, built.layer, f"python{version}", "host")
    elif contender.libraries:
        site = built.layer / "python"
        for name in _resolve(contender.libraries):
            _copy(name, site)
        compile_for(version, site, "/opt/python")
    return built


def find_runtime_version() -> str:
    """Return the Python version under which functions run here, such as ``3.11``."""
    say = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([PYTHON, "-c", say], capture_output=True, text=True, check=True).stdout.strip()


def measure_imports(built: Built, environment: Mapping[str, str]) -> list[tuple[str, int, int]]:
    """Measure the imports of one start and one answer (``-X importtime``): module, own and cumulative microseconds."""
    script = f"import app; app.handler({EVENT!r}, None)"
    done = subprocess.run(
        [PYTHON, "-X", "importtime", "-c", script],
        env={"PATH": os.defpath, "PYTHONPATH": f"{built.function}:{built.layer / 'python'}", **environment},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    rows = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines() if "import time:" in line]
    return [(name.strip(), int(own), int(total)) for own, total, name in rows[1:]]


def _resolve(names: tuple[str, ...]) -> Iterator[str]:
    """Yield the distributions and their dependencies, without those of the runtime."""
    waiting, seen = list(names), set(RUNTIMES_OWN | {"jmespath"})
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        yield name
        for requirement in map(Requirement, metadata.requires(name) or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)


def _copy(name: str, site: Path) -> None:
    """Copy an installed distribution without commands and byte code."""
    for top in {file.parts[0] for file in metadata.files(name) or () if ".." not in file.parts}:
        source = Path(str(metadata.distribution(name).locate_file(top)))
        if source.is_dir():
            copy_package(source, site / top)
        elif source.suffix in (".py", ".so"):
            site.mkdir(exist_ok=True)
            shutil.copy(source, site / top)
