"""Protects the layout of the package: each room imports only what its row of the table allows.

A row names a room, which is a sub-package, one module, or ``(base)`` for the modules at the top. The most specific row
counts: ``rotation.handler`` has a row of its own.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import evergrant

PACKAGE = Path(evergrant.__file__).parent
FUNCTIONS = Path(__file__).parents[2] / "functions"
BASE = "(base)"
MAX_LINES = 400

#: Room to the rooms that it may import, beside itself.
ROOMS: Mapping[str, frozenset[str]] = {
    BASE: frozenset(),
    "profiles": frozenset({BASE}),
    "oauth": frozenset({BASE, "profiles"}),
    "record": frozenset({BASE, "profiles", "oauth"}),
    "ports": frozenset({BASE, "profiles", "oauth", "record"}),
    "rotation": frozenset({BASE, "profiles", "oauth", "record", "ports"}),
    "connect": frozenset({BASE, "profiles", "oauth", "record", "ports", "rotation"}),
    "getter": frozenset({BASE}),
    "adapters": frozenset({BASE, "profiles", "oauth", "record", "ports"}),
    "rotation.handler": frozenset({BASE, "profiles", "oauth", "record", "ports", "rotation", "adapters.observability"}),
    "connect.handler": frozenset({BASE, "oauth", "ports", "connect", "adapters.observability"}),
    "adapters.observability": frozenset(),
    "wiring": frozenset({BASE, "ports", "rotation", "connect", "getter", "adapters", "adapters.observability"}),
}
#: Room to the third-party packages that it may import; every other room has none.
THIRD_PARTY: Mapping[str, frozenset[str]] = {
    # The standard library's from Python 3.14.
    BASE: frozenset({"compression"}),
    "profiles": frozenset({"msgspec"}),
    "oauth": frozenset({"cryptography", "joserfc"}),
    "adapters": frozenset({"boto3", "botocore", "certifi", "cryptography", "h11", "httpcore", "httpx"}),
    "adapters.observability": frozenset({"aws_lambda_powertools"}),
}
#: Rooms of decisions and protocols: the time is an argument, and they reach the world through ports only.
PURE = ("profiles", "oauth", "record", "ports", "rotation", "connect", "getter")

AWS = {"boto3", "botocore", "s3transfer", "urllib3"}
NETWORK = {"httpcore", "httpx", "requests", "h11", "anyio"}
POWERTOOLS = {"aws_lambda_powertools"}
HEAVY = {"msgspec", "cryptography", "pydantic"}


@cache
def modules() -> Mapping[str, Path]:
    """Every module by its dotted name inside the package, packages included (``""`` is the package itself)."""
    files = PACKAGE.rglob("*.py")
    parts = {file: file.relative_to(PACKAGE).with_suffix("").parts for file in files}
    return {".".join(path[:-1] if path[-1] == "__init__" else path): file for file, path in parts.items()}


def room_of(module: str) -> str:
    rows = [room for room in ROOMS if module == room or module.startswith(f"{room}.")]
    return max(rows, key=len, default=BASE)


@cache
def imports(module: str) -> frozenset[str]:
    """Absolute names of everything a module imports, at its top, inside functions and for types alone."""
    file = modules()[module]
    package = ["evergrant", *(module.split(".") if module else [])]
    if file.name != "__init__.py":
        package.pop()
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*inside, *([node.module] if node.module else [])])
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return frozenset(found)


def own(module: str) -> frozenset[str]:
    """The package's modules that a module imports."""
    found = set()
    for name in imports(module):
        inside = name.removeprefix("evergrant").removeprefix(".") if name.split(".")[0] == "evergrant" else None
        while inside:
            if inside in modules():
                found.add(inside)
                break
            inside = inside.rpartition(".")[0]
    return frozenset(found)


def third_party(module: str) -> frozenset[str]:
    tops = {name.split(".")[0] for name in imports(module)}
    return frozenset(tops - set(sys.stdlib_module_names) - {"evergrant"})


@cache
def list_loaded_packages(*names: str) -> frozenset[str]:
    """Top-level packages in memory after importing modules of the package in a fresh interpreter."""
    lines = ["import json, sys", *(f"import evergrant.{name}" for name in names)]
    script = "\n".join([*lines, "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return frozenset(json.loads(done.stdout))


def pure_modules() -> list[str]:
    return sorted(name for name in modules() if room_of(name) in (BASE, *PURE) and name)


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    room = room_of(module)
    assert {room_of(name) for name in own(module)} - {room} <= ROOMS[room]
    assert third_party(module) <= THIRD_PARTY.get(room, frozenset())


@pytest.mark.parametrize("module", sorted(modules()))
def test_no_module_imports_another_by_its_name_as_text(module: str) -> None:
    """The table of rooms cannot see such an import."""
    assert {name for name in imports(module) if name.startswith("importlib")} <= {"importlib.resources"}
    names = {
        node.id for node in ast.walk(ast.parse(modules()[module].read_text("utf-8"))) if isinstance(node, ast.Name)
    }
    assert not names & {"__import__", "exec", "eval"}


def test_the_table_of_rooms_has_no_cycle() -> None:
    """A room never needs, directly or through others, a room that needs it."""
    order = list(TopologicalSorter(ROOMS).static_order())
    assert order[0] == BASE or order[0] == "adapters.observability"
    assert set(order) == set(ROOMS)


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    assert list(TopologicalSorter({name: own(name) for name in modules()}).static_order())


def test_every_row_of_the_table_is_a_room_that_exists() -> None:
    assert {room for room in ROOMS if room != BASE} <= modules().keys()
    assert THIRD_PARTY.keys() <= ROOMS.keys()


def test_a_packages_init_holds_a_docstring_only() -> None:
    """Re-exports would cost getter its cold start: importing one module would import them all."""
    for name, file in modules().items():
        if file.name == "__init__.py":
            first, *others = ast.parse(file.read_text("utf-8")).body
            assert isinstance(first, ast.Expr), name
            assert isinstance(first.value, ast.Constant), name
            assert [ast.unparse(other).partition(" = ")[0] for other in others] in ([], ["__version__"]), name


def test_decisions_and_protocols_load_nothing_of_the_world() -> None:
    pure = [name for name in pure_modules() if not name.endswith(".handler")]
    assert not list_loaded_packages(*pure) & (AWS | NETWORK | POWERTOOLS | {"cryptography", "certifi", "joserfc"})
    assert "msgspec" in list_loaded_packages(*pure), "the look at what is loaded saw nothing"


def test_only_one_module_speaks_http() -> None:
    """It has the network below it made in one other."""
    speaking = {name for name in modules() if third_party(name) & NETWORK}
    assert speaking == {"adapters.http", "adapters.guarded_network"}
    assert {name for name in modules() if own(name) & {"adapters.guarded_network"}} == {"adapters.http"}
    assert {"h11", "httpcore", "httpx"} <= list_loaded_packages("adapters.http")
    assert not list_loaded_packages("adapters.http") & (AWS | POWERTOOLS)


def test_getter_loads_botocore_and_nothing_heavier() -> None:
    """Its cold start is in the way of a caller who waits for a token."""
    assert not list_loaded_packages("getter.handler") & (AWS | NETWORK | POWERTOOLS | HEAVY)
    getter = list_loaded_packages("getter.handler", "wiring.getter")
    assert "botocore" in getter
    assert not getter & ({"boto3", "s3transfer"} | NETWORK | POWERTOOLS | HEAVY)


def test_handlers_import_wiring_and_their_own_room() -> None:
    for file in FUNCTIONS.rglob("app.py"):
        found = {
            ".".join((node.module or "").split(".")[1:])
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("evergrant.")
        }
        rooms = {room_of(name) for name in found}
        assert len(rooms & {"rotation", "rotation.handler", "connect", "connect.handler", "getter"}) >= 1, file


@pytest.mark.parametrize("module", pure_modules())
def test_decisions_and_protocols_take_the_time_as_an_argument(module: str) -> None:
    named = imports(module)
    assert not {name.split(".")[0] for name in named} & {"time", "asyncio", "threading", "socket", "subprocess"} - (
        {"threading"} if module == "rotation.handler" else set()
    )
    calls = {
        node.func.attr
        for node in ast.walk(ast.parse(modules()[module].read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
        if node.func.value.id in ("datetime", "date", "time")
    }
    assert not calls & {"now", "utcnow", "today", "time"}


@pytest.mark.parametrize("module", sorted(set(pure_modules()) - {"settings"}))
def test_only_settings_looks_at_the_environment(module: str) -> None:
    assert not {"os", "os.environ"} & imports(module)


def test_a_module_is_read_in_one_sitting() -> None:
    long = {name: len(file.read_text("utf-8").splitlines()) for name, file in modules().items()}
    assert {name: lines for name, lines in long.items() if lines > MAX_LINES} == {}


def test_the_names_of_secrets_are_made_in_one_module() -> None:
    """Only ``secret_names`` builds the name of a secret: the template's policies match these two forms."""
    makers = {name for name, file in modules().items() if re.search(r"/(tokens|clients)/\{", file.read_text("utf-8"))}
    assert makers == {"secret_names"}
