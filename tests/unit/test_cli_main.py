"""Protects the command as a whole: where options may stand, that every verb teaches itself, and that it starts fast."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from evergrant import __version__
from evergrant_cli.main import app, move_global_options

VERBS = [
    ["status"],
    ["connect"],
    ["get"],
    ["rotate"],
    ["pause"],
    ["resume"],
    ["disconnect"],
    ["provider", "list"],
    ["provider", "show"],
    ["provider", "add"],
    ["provider", "check"],
    ["client", "set"],
]


def run_command(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "120", "NO_COLOR": "1"})
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_each_verbs_help_teaches_by_an_example(verb: list[str]) -> None:
    text = run_command(*verb, "--help")
    assert "Example" in text
    assert f"evergrant {' '.join(verb)}" in text
    assert "--json" in text
    assert not re.search(r"<\w+>", text)
    assert not re.search(r"\n\s*\n\s*\n\s*Example", text)


def test_help_lists_every_verb_and_what_its_exit_status_means() -> None:
    """The command's own help lists every verb, and what its exit status means."""
    text = run_command("--help")
    assert all(verb[0] in text for verb in VERBS)
    assert "Exit status" in text


def test_the_version_is_the_packages() -> None:
    assert run_command("--version") == f"evergrant {__version__}\n"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["status", "--stack", "a", "--json"], ["--stack", "a", "status", "--json"]),
        (["get", "x/y", "--region=eu-west-1"], ["--region=eu-west-1", "get", "x/y"]),
        (["--profile", "p", "status"], ["--profile", "p", "status"]),
        (["status", "--stack"], ["--stack", "status"]),
        (["get", "--", "--stack", "a"], ["get", "--", "--stack", "a"]),
    ],
)
def test_global_options_may_stand_anywhere(given: list[str], taken: list[str]) -> None:
    assert move_global_options(given) == taken


@pytest.mark.parametrize("arguments", [["nosuch"], ["status", "--nosuch"], ["connect"], ["client", "set"]])
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    run_command(*arguments, status=2)


def test_help_is_had_without_loading_what_only_work_needs() -> None:
    code = (
        "import sys; from evergrant_cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'boto3', 'botocore', 'httpx', 'msgspec', 'cryptography'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
