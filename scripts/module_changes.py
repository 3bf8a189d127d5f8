"""Prints how many modules one plain refresh touches, and how often it changes from one to another.

Fewer are easier to follow. A change of module is a call of a function of the package `evergrant` that comes right after
a call of a function of another of its modules. A room is a sub-package, or the package itself.

Run it as `.venv/bin/python -m scripts.module_changes`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import evergrant
from tests.unit.rotation_world import world

PACKAGE = Path(evergrant.__file__).parent
_PREFIX = f"{PACKAGE}/"


def record_modules(action: Callable[[], object]) -> list[str]:
    """Run an action; return the modules whose functions it calls, in the order of the calls."""
    called: list[str] = []

    def profile(frame: FrameType, event: str, _: Any) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(_PREFIX):
            called.append(file.removeprefix(_PREFIX).removesuffix(".py").replace("/", "."))

    previous = sys.getprofile()
    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(previous)
    return called


def count_changes(names: Sequence[str]) -> int:
    """Count how often the name changes; the first one counts too."""
    return sum(before != name for before, name in zip([None, *names], names, strict=False))


def find_room(module: str) -> str:
    """Return the sub-package of a module, or the package itself."""
    return module.partition(".")[0] if "." in module else PACKAGE.name


def record_refresh() -> list[str]:
    """Record one plain refresh over the ports in memory, after another one has filled the caches."""
    world().run()
    return record_modules(world().run)


def main() -> None:
    modules = record_refresh()
    for title, names in (("modules", modules), ("rooms", [find_room(module) for module in modules])):
        print(f"{title}: {len(set(names))} touched, {count_changes(names)} changes")


if __name__ == "__main__":
    main()
