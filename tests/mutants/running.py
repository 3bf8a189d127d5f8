"""Runs tests against a copy of the package, or of the template, that lacks one check."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers" / "evergrant"
CHECKS = Path(__file__).with_name("checks.toml")
#: pytest's exit code where tests ran, and one failed.
_TESTS_FAILED = 1
#: A mutant that makes a test wait for ever has not been noticed by it.
_TIMEOUT_SECONDS = 300
TEMPLATE_VARIABLE = "EVERGRANT_TEMPLATE"


@dataclass(frozen=True)
class Mutant:
    """One check, and what is left where it stood.

    ``file`` is below the package ``evergrant``, or ``template.yaml``. ``survives`` says why no test can notice.
    """

    name: str
    file: str
    find: str
    put: str
    tests: tuple[str, ...] = ()
    survives: str = ""

    @property
    def source(self) -> Path:
        return ROOT / self.file if self.file == "template.yaml" else LAYER / "evergrant" / self.file

    def plant(self) -> str:
        """Return the text of the file without the check. The check must stand there once."""
        text = self.source.read_text("utf-8")
        if text.count(self.find) != 1:
            raise ValueError(f"{self.name}: what it replaces stands {text.count(self.find)} times in {self.file}")
        return text.replace(self.find, self.put)


@cache
def load_mutants() -> Mapping[str, Mutant]:
    """Load the mutants, by their names."""
    found = [
        Mutant(**{**entry, "tests": tuple(entry.get("tests", ()))})
        for entry in tomllib.loads(CHECKS.read_text("utf-8"))["mutant"]
    ]
    by_name = {mutant.name: mutant for mutant in found}
    if len(by_name) != len(found):
        raise ValueError("two mutants have one name")
    return by_name


def run_tests(mutant: Mutant) -> subprocess.CompletedProcess[str]:
    """Run a mutant's tests against it."""
    with tempfile.TemporaryDirectory() as home:
        environment = dict(os.environ)
        for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS", "COVERAGE_PROCESS_START", "COV_CORE_SOURCE"):
            environment.pop(name, None)
        paths = [ROOT, LAYER, ROOT / "layers" / "evergrant_client", ROOT / "cli"]
        if mutant.source.suffix == ".yaml":
            changed = Path(home, "template.yaml")
            environment[TEMPLATE_VARIABLE] = str(changed)
        else:
            paths.insert(0, Path(home))
            shutil.copytree(LAYER / "evergrant", Path(home, "evergrant"), ignore=shutil.ignore_patterns("__pycache__"))
            changed = Path(home, "evergrant", mutant.file)
        changed.write_text(mutant.plant(), "utf-8")
        environment["PYTHONPATH"] = os.pathsep.join(map(str, paths))
        command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "--no-header", *mutant.tests]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )


def is_killed(mutant: Mutant) -> bool:
    """Whether a test fails without the check.

    Raises
    ------
    ValueError
        Its tests cannot be run.
    """
    result = run_tests(mutant)
    if result.returncode not in (0, _TESTS_FAILED):
        raise ValueError(f"{mutant.name}: its tests do not run:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result.returncode == _TESTS_FAILED
