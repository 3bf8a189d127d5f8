"""Protects every security check: without it a test fails. `make mutants` removes all of them, this a part."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants.running import LAYER, Mutant, is_killed, load_mutants

PACKAGE = LAYER / "evergrant"
#: Every so many checks: about a minute of CPU in all. Another one each time a check is added.
STEP = 15
SAMPLE = [mutant for mutant in load_mutants().values() if not mutant.survives][::STEP]
#: The errors by which a check refuses an attacker.
SECURITY_ERRORS = frozenset(
    (
        *("WrongBrowser", "NoCookie", "CrossSite", "WrongAccount", "WrongProvider", "LinkUsed", "LinkExpired"),
        *("BadRequest", "WrongContentType", "RecordTampered", "ProfileTampered", "PermissionError"),
    )
)
#: A raise that no mutant removes, by its file and the function around it, and why.
EXCUSED = {
    ("connect/authorization_flow.py", "_repeat_outcome"): "it repeats how the first response ended, and checks nothing",
    ("connect/tickets.py", "claim"): "the conditional write above it refuses; this says so",
    ("rotation/revocation.py", "run"): "it passes the refusal on",
    ("rotation/disconnection.py", "revoke_and_forget"): "it passes the refusal on",
}


def find_raises() -> Iterator[tuple[str, str, str, int]]:
    """Find the raises of security errors: file, function, error and line."""
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for node in ast.walk(function):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                    name = getattr(node.exc.func, "id", getattr(node.exc.func, "attr", ""))
                    if name in SECURITY_ERRORS:
                        yield file.relative_to(PACKAGE).as_posix(), function.name, name, node.lineno


def find_function(file: Path, line: int) -> str:
    """Find the innermost function around a line."""
    functions = [
        node
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or line)
    ]
    return max(functions, key=lambda node: node.lineno).name if functions else ""


def list_mutated_functions() -> set[tuple[str, str]]:
    """List the functions that some mutant changes."""
    found = set()
    for mutant in load_mutants().values():
        if mutant.source.suffix == ".py":
            before = mutant.source.read_text("utf-8").partition(mutant.find)[0]
            skipped = len(mutant.find) - len(mutant.find.lstrip())
            line = before.count("\n") + mutant.find[:skipped].count("\n") + 1
            found.add((mutant.file, find_function(mutant.source, line)))
    return found


@pytest.mark.parametrize("mutant", load_mutants().values(), ids=lambda mutant: mutant.name)
def test_a_check_stands_where_its_mutant_says(mutant: Mutant) -> None:
    assert mutant.plant() != mutant.source.read_text("utf-8")
    assert bool(mutant.tests) is not bool(mutant.survives), "either tests that notice, or a written reason"


@pytest.mark.parametrize("mutant", SAMPLE, ids=lambda mutant: mutant.name)
def test_without_a_check_a_test_fails(mutant: Mutant) -> None:
    assert is_killed(mutant)


def test_every_refusal_of_an_attacker_is_a_check_that_a_mutant_removes() -> None:
    mutated = list_mutated_functions()
    missing = [
        f"{file}:{line} {function} raises {error}"
        for file, function, error, line in find_raises()
        if (file, function) not in mutated and (file, function) not in EXCUSED
    ]
    assert missing == [], "add a mutant to tests/mutants/checks.toml"


def test_there_are_many_checks_and_few_survive() -> None:
    survivors = [mutant for mutant in load_mutants().values() if mutant.survives]
    assert len(load_mutants()) >= 220
    assert len(survivors) <= 10


def test_a_mutant_that_no_test_notices_is_seen() -> None:
    harmless = Mutant("harmless", "names.py", "import re\n", "import re  # still\n", ("tests/unit/test_times.py",))
    assert not is_killed(harmless)


def test_tests_that_do_not_run_are_no_proof() -> None:
    broken = Mutant("broken", "names.py", "import re\n", "import re\n\n", ("tests/unit/test_none.py",))
    with pytest.raises(ValueError, match="do not run"):
        is_killed(broken)
