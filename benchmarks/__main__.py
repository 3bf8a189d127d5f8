"""``python -m benchmarks [PART…]``: all parts, or those named."""

from __future__ import annotations

import sys
from importlib import import_module

PARTS = ("rotation", "outbound", "start", "warm", "load")


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        sys.stderr.write(f"There is no part {unknown[0]}; there are {', '.join(PARTS)}.\n")
        return 2
    for name in names or PARTS:
        import_module(f"benchmarks.{name}").run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
