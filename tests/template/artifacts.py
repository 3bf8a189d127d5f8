"""Built artifacts as their tests look at them: wheels' tags, ELF headers, and what imports what."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.template.stack import ROOT

#: ELF's e_machine (System V ABI): what `readelf -h` calls Advanced Micro Devices X86-64, and AArch64.
MACHINES = {0x3E: "x86_64", 0xB7: "arm64"}

#: What Lambda's Python runtimes bring along: boto3 and what it stands on, and SnapStart's hooks.
RUNTIMES_OWN = {"boto3", "botocore", "s3transfer", "urllib3", "dateutil", "six", "snapshot_restore_py"}


def build(kind: str, name: str, destination: Path, runtime: str, architecture: str) -> Path:
    """Build one artifact as the makefiles do."""
    subprocess.run(
        [ROOT / "scripts" / "build-artifact", kind, name, destination],
        env=os.environ | {"BUILD_RUNTIME": runtime, "BUILD_ARCHITECTURE": architecture},
        check=True,
        capture_output=True,
        text=True,
    )
    return destination


def digest(directory: Path) -> str:
    """Of every name, content, mode and time below: what an archive of it would hold."""
    found = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        status = path.stat()
        found.update(f"{path.relative_to(directory)} {status.st_mode:o} {int(status.st_mtime)}\n".encode())
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()


def machine(library: Path) -> str:
    """The processor that an ELF file is for."""
    header = library.read_bytes()[:20]
    assert header[:4] == b"\x7fELF", f"{library} is no Linux library"
    return MACHINES[int.from_bytes(header[18:20], "little")]


@dataclass(frozen=True)
class Tag:
    """One ``Tag:`` line of a WHEEL file (PEP 425)."""

    python: str
    abi: str
    platform: str

    def fits(self, minor: int, architecture: str, glibc: tuple[int, int]) -> bool:
        """Whether Lambda's CPython 3.``minor`` on this processor can use it."""
        pythons = {"py3", f"cp3{minor}"} | (
            {f"cp3{older}" for older in range(2, minor + 1)} if self.abi == "abi3" else set()
        )
        return bool(pythons & set(self.python.split("."))) and self._runs_on(architecture, glibc)

    def _runs_on(self, architecture: str, glibc: tuple[int, int]) -> bool:
        if self.platform == "any":
            return True
        found = re.fullmatch(r"manylinux(?:2014|_(\d+)_(\d+))_(x86_64|aarch64)", self.platform)
        if found is None:
            return False
        needs = (int(found[1]), int(found[2])) if found[1] else (2, 17)
        return found[3].replace("aarch64", "arm64") == architecture and needs <= glibc


def tags(wheel: Path) -> list[Tag]:
    lines = re.findall(r"^Tag: (\S+?)-(\S+?)-(\S+)$", wheel.read_text(), re.MULTILINE)
    return [Tag(*line) for line in lines]


class Imports:
    """Follows imports through directories as Python would, without running anything.

    An import inside ``try`` or ``if`` is optional and need not resolve, nor need what it leads to; one at a
    module's own level must. In ``ours`` those inside functions must as well: they are run late, not never.
    """

    def __init__(self, *directories: Path, ours: set[str]) -> None:
        self.directories = directories
        self.ours = ours
        self.missing: set[str] = set()
        self._seen: set[tuple[Path, bool]] = set()

    def follow(self, source: Path, module: str, *, needed: bool = True) -> None:
        """Look at one file, known as ``module``, and at all it imports."""
        if {(source, needed), (source, True)} & self._seen:
            return
        self._seen.add((source, needed))
        tree = ast.parse(source.read_bytes())
        package = module if source.name == "__init__.py" else module.rpartition(".")[0]
        for node, must in _imports(tree, late=module.partition(".")[0] in self.ours):
            for name in _names(node, package):
                found = self._resolve(name, must and needed, optional_tail=isinstance(node, ast.ImportFrom))
                if must and needed and not found:
                    self.missing.add(f"{module} needs {name}")

    def _resolve(self, name: str, needed: bool, *, optional_tail: bool) -> bool:
        """Follow ``a.b.c``; with ``optional_tail``, ``c`` may be a name inside ``a.b``."""
        parts = name.split(".")
        if parts[0] in sys.stdlib_module_names or parts[0] in RUNTIMES_OWN:
            return True
        for length in range(1, len(parts) + 1):
            found = self._find(parts[:length])
            if found is None:
                return optional_tail and length == len(parts) and length > 1
            if found.suffix == ".py":
                self.follow(found, ".".join(parts[:length]), needed=needed)
        return True

    def _find(self, parts: list[str]) -> Path | None:
        for directory in self.directories:
            path = directory.joinpath(*parts)
            candidates = [
                path / "__init__.py",
                path.with_name(path.name + ".py"),
                *path.parent.glob(path.name + ".*.so"),
            ]
            found = next(
                (candidate for candidate in candidates if candidate.is_file()), path if path.is_dir() else None
            )
            if found is not None:
                return found
        return None


def _imports(tree: ast.Module, *, late: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Every import statement that may run, and whether it has to succeed."""
    waiting: list[tuple[ast.AST, bool]] = [(node, True) for node in tree.body]
    while waiting:
        node, needed = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, needed
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += [(child, needed) for child in node.orelse]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not late:
            continue
        else:
            optional = isinstance(node, ast.If | ast.Try) and not late
            waiting += [(child, needed and not optional) for child in ast.iter_child_nodes(node)]


def _names(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[str]:
    """The dotted names that a statement asks for, made absolute."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    base = ".".join([*parents, *([node.module] if node.module else [])])
    for alias in node.names:
        yield base if alias.name == "*" else f"{base}.{alias.name}"
