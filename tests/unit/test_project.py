"""Protects what the project says of itself: its licence, its version, and that both stand in one place."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import evergrant

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "layers" / "evergrant_client"
PROJECTS = [ROOT, CLIENT]

#: SHA-256 of https://www.apache.org/licenses/LICENSE-2.0.txt, all of it with its appendix: 11,358 bytes.
APACHE_2_0 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


@cache
def metadata(project: Path) -> dict[str, Any]:
    """The metadata of a package as its build backend makes it."""
    command = [sys.executable, "-m", "hatchling", "metadata"]
    done = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True, timeout=60)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_the_licence_is_the_apache_licence_verbatim(project: Path) -> None:
    """A package's licence has to be a file below its own folder (PEP 639), so there are two copies."""
    assert hashlib.sha256((project / "LICENSE").read_bytes()).hexdigest() == APACHE_2_0


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_a_package_names_its_licence_and_its_authors(project: Path) -> None:
    found = metadata(project)
    assert found["license"] == "Apache-2.0"
    assert found["authors"] == [{"name": "The Evergrant authors"}]
    assert 'license-files = ["LICENSE"]' in (project / "pyproject.toml").read_text("utf-8")


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_both_packages_have_the_version_of_evergrant(project: Path) -> None:
    assert metadata(project)["version"] == evergrant.__version__


def test_the_version_is_written_in_one_place() -> None:
    """No other configuration or module of the project assigns a version of its own."""
    sources = [*ROOT.glob("*.toml"), *CLIENT.glob("*.toml")]
    sources += [path for folder in ("cli", "functions", "layers") for path in (ROOT / folder).rglob("*.py")]
    assignment = re.compile(r"""^(?:version|__version__)\s*=\s*["'](\d+\.\d+\.\d+)""", re.MULTILINE)
    found = {path for path in sources if assignment.search(path.read_text("utf-8"))}
    assert found == {Path(evergrant.__file__)}
