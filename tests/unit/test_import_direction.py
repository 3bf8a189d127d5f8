"""Protects the rooms of the package: decisions know nothing of AWS, HTTP or the clock, and getter starts fast."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import evergrant

PACKAGE = Path(evergrant.__file__).parent
FUNCTIONS = Path(__file__).parents[2] / "functions"

#: Pure decisions: values in, values out.
CORE = {
    *("names", "secret", "errors", "times", "tokens", "placeholders", "profile", "catalogue", "dialect", "schedule"),
    *("transitions", "connection", "published", "reading", "getting", "web", "pages", "settings", "deferred", "asking"),
    "texts",
    *("circuit", "waking", "unread"),
    *("phases", "unpublished", "failing", "doubt"),
    *(
        "profile_file",
        "profile_checks",
        "answers",
        "assertions",
        "notices",
        "outbox",
        "ending",
        "remedies",
        "unpublished",
    ),
    *("metadata", "discovery", "profile_text", "consent", "id_tokens"),
}
#: Numbered steps over ports.
PROTOCOLS = {
    *(
        "ports",
        "rotation",
        "preparing",
        "spending",
        "saving",
        "publication",
        "authorization",
        "operations",
        "scheduling",
    ),
    *("breaker", "rereading"),
    *("accounts", "obtaining", "revoking", "disconnecting"),
    *("tickets", "code_exchange", "granting", "importing"),
}
#: What handlers call: protocols with logging and metrics around them.
ENTRANCES = {"rotating", "connecting"}
ADAPTERS = {"clock", "http", "observability", "pacing"}

AWS = {"boto3", "botocore", "s3transfer", "urllib3"}
NETWORK = {"httpcore", "httpx", "requests", "h11", "anyio"}
POWERTOOLS = {"aws_lambda_powertools"}
HEAVY = {"msgspec", "cryptography", "pydantic"}


def modules() -> dict[str, Path]:
    """Every module of the package by its name inside it; ``aws.vault`` for those in the folder."""
    files = PACKAGE.rglob("*.py")
    named = {".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__"): file for file in files}
    return {name.rstrip("."): file for name, file in named.items() if name}


@cache
def imports(file: Path, module: str = "") -> frozenset[str]:
    """Absolute names of everything a file imports, at its top or inside its functions."""
    found: set[str] = set()
    inside = ["evergrant", *module.split(".")[:-1]] if module else []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) + 1 - node.level] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            found |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def own(module: str) -> set[str]:
    """The modules of the package that a module imports."""
    known = modules()
    named = {
        name.removeprefix("evergrant.") for name in imports(known[module], module) if name.startswith("evergrant.")
    }
    return {name for name in named if name in known} | {"aws" for name in named if name.split(".")[0] == "aws"}


@cache
def loaded(*names: str) -> frozenset[str]:
    """Top-level packages in memory after importing modules of the package in a fresh interpreter."""
    lines = ["import json, sys", *(f"import evergrant.{name}" for name in names)]
    script = "\n".join([*lines, "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return frozenset(json.loads(done.stdout))


def test_every_module_has_its_room() -> None:
    rooms = [CORE, PROTOCOLS, ENTRANCES, ADAPTERS]
    outside = {name for name in modules() if name != "aws" and not name.startswith("aws.")}
    assert outside == set().union(*rooms)
    assert sum(len(room) for room in rooms) == len(outside), "a module lives in one room"


@pytest.mark.parametrize("module", sorted(CORE))
def test_the_core_imports_only_the_core(module: str) -> None:
    assert own(module) <= CORE


@pytest.mark.parametrize("module", sorted(PROTOCOLS))
def test_protocols_import_the_core_and_each_other(module: str) -> None:
    assert own(module) <= CORE | PROTOCOLS


@pytest.mark.parametrize("module", sorted(ENTRANCES))
def test_entrances_reach_the_world_only_through_ports(module: str) -> None:
    assert own(module) <= CORE | PROTOCOLS | {"observability"}


def test_adapters_of_aws_are_imported_by_each_other_and_by_handlers_only() -> None:
    importers = {name for name in modules() if "aws" in own(name)}
    assert {name for name in importers if name != "aws" and not name.startswith("aws.")} == set()
    handlers = [
        file for file in FUNCTIONS.rglob("app.py") if any("evergrant.adapters.aws" in name for name in imports(file))
    ]
    assert len(handlers) == len(list(FUNCTIONS.rglob("app.py"))) == 4


def test_only_the_wiring_of_aws_knows_the_protocols() -> None:
    for name in modules():
        if name.startswith("aws.") and name != "aws.wiring":
            assert own(name) & (PROTOCOLS | ENTRANCES) <= {"ports"}, name


def test_the_core_loads_nothing_that_speaks_to_the_world() -> None:
    core = loaded(*sorted(CORE))
    assert not core & (AWS | NETWORK | POWERTOOLS | {"cryptography", "certifi"})
    assert "msgspec" in core, "the look at what is loaded saw nothing"


def test_the_protocols_load_nothing_that_speaks_to_the_world() -> None:
    assert not loaded(*sorted(CORE | PROTOCOLS)) & (AWS | NETWORK | POWERTOOLS | {"cryptography", "certifi"})


def test_only_signing_loads_a_library_for_signing() -> None:
    assert "joserfc" not in loaded(*sorted(CORE | PROTOCOLS))
    signers = {name for name, file in modules().items() if "joserfc" in imports(file, name)}
    assert signers == {"assertions"}


def test_only_one_module_speaks_http() -> None:
    speakers = {
        name for name, file in modules().items() if {part.split(".")[0] for part in imports(file, name)} & NETWORK
    }
    assert speakers == {"http"}
    assert "h11" in loaded("http")
    assert not loaded("http") & (AWS | POWERTOOLS | {"httpcore", "httpx"})


def test_getter_loads_botocore_and_nothing_heavier() -> None:
    """Its cold start is in the way of a caller who waits for a token."""
    assert not loaded("getting", "reading") & (AWS | NETWORK | POWERTOOLS | HEAVY)
    getter = loaded("getting", "reading", "aws.lookup")
    assert "botocore" in getter
    assert not getter & ({"boto3", "s3transfer", "h11", "httpx"} | POWERTOOLS | HEAVY)


def test_getters_handler_imports_nothing_else_of_the_package() -> None:
    named = {name for name in imports(FUNCTIONS / "getter" / "app.py") if name.startswith("evergrant")}
    assert {".".join(name.split(".")[:3]) for name in named} <= {
        *(
            "evergrant.getter.handler",
            "evergrant.getter.handler.answer",
            "evergrant.adapters.aws",
            "evergrant.adapters.aws.token_sources",
        ),
    }


@pytest.mark.parametrize("module", sorted(CORE | PROTOCOLS))
def test_decisions_and_protocols_are_told_the_time(module: str) -> None:
    named = imports(modules()[module], module)
    assert not named & {"time", "time.time", "time.sleep", "asyncio", "threading", "socket", "subprocess"}
    calls = {
        node.func.attr
        for node in ast.walk(ast.parse(modules()[module].read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
        if node.func.value.id in ("datetime", "date", "time")
    }
    assert not calls & {"now", "utcnow", "today", "time"}


@pytest.mark.parametrize("module", sorted((CORE | PROTOCOLS) - {"settings"}))
def test_only_settings_looks_at_the_environment(module: str) -> None:
    assert "os" not in imports(modules()[module], module)


def test_a_module_is_read_in_one_sitting() -> None:
    long = {name: len(file.read_text("utf-8").splitlines()) for name, file in modules().items()}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}
