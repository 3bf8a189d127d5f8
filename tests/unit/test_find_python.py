"""Protects the choice of the Python that creates the environments: the deployed one, where the machine has it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit.repository import ROOT


def find_python(folder: Path, *arguments: str, **environment: str) -> str:
    """Run scripts/find-python on a machine that has the Pythons of a folder only; return the name of its choice."""
    found = subprocess.run(
        [ROOT / "scripts" / "find-python", *arguments],
        env={"PATH": str(folder), "PYENV_ROOT": str(folder / "pyenv"), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(found.stdout.strip()).name


def add_python(folder: Path, name: str) -> str:
    """Add a program that accepts every check of a Python and prints its own path."""
    path = folder / name
    path.write_text('#!/bin/sh\necho "$0"\n', "utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def present(tmp_path: Path) -> str:
    """The Python of an existing environment, beside one on PATH."""
    add_python(tmp_path, "python3")
    return add_python(tmp_path, "python-of-an-environment")


def test_the_deployed_python_is_preferred_to_all_others(tmp_path: Path, present: str) -> None:
    add_python(tmp_path, "python3.13")

    assert find_python(tmp_path) == find_python(tmp_path, present) == "python3.13"


def test_an_environment_keeps_its_python_where_the_deployed_is_absent(tmp_path: Path, present: str) -> None:
    assert find_python(tmp_path, present) == "python-of-an-environment"
    assert find_python(tmp_path) == find_python(tmp_path, "/absent/python") == "python3"


def test_the_variable_python_decides_over_all(tmp_path: Path, present: str) -> None:
    add_python(tmp_path, "python3.13")

    assert find_python(tmp_path, present, PYTHON=add_python(tmp_path, "chosen")) == "chosen"
