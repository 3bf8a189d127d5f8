"""`make mutants`: every security check is removed in turn, and a test fails without it."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.mutants.running import Mutant, is_killed, load_mutants


def judge(mutant: Mutant) -> str:
    """Return how a mutant ended: killed, excused by a written reason, or why it is a fault."""
    if mutant.survives:
        return "excused"
    return "killed" if is_killed(mutant) else "SURVIVES: no test of its own notices"


def main(wanted: list[str]) -> int:
    mutants = [mutant for name, mutant in load_mutants().items() if not wanted or any(part in name for part in wanted)]
    faults = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, (mutant, outcome) in enumerate(zip(mutants, pool.map(judge, mutants), strict=True), 1):
            faults += outcome.startswith("SURVIVES")
            print(f"{number:3}/{len(mutants)} {mutant.name}: {outcome}", flush=True)
    print(f"{len(mutants)} checks removed, {faults} of them unnoticed")
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
