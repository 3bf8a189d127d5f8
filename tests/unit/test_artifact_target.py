"""Protects the first line of a function built for another Lambda: one sentence, and no error of a library."""

from __future__ import annotations

import platform
import sys

import pytest

from evergrant.artifact_target import WrongTarget, check_target

RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(autouse=True)
def on_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")


def test_lambdas_name_of_a_processor_is_the_one_that_counts() -> None:
    check_target(RUNTIME, "arm64")


@pytest.mark.parametrize(("runtime", "architecture"), [(RUNTIME, "x86_64"), ("python3.99", "arm64")])
def test_another_target_is_one_sentence(runtime: str, architecture: str) -> None:
    said = f"built for {runtime} on {architecture}, and runs on {RUNTIME} on arm64.*make deploy"
    with pytest.raises(WrongTarget, match=said):
        check_target(runtime, architecture)
