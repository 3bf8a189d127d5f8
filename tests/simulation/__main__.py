"""``python -m tests.simulation --seed 7 --hours 24``: run a random mix, and print what it came to."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation import random_mix, report
from tests.simulation.checks import Checks, Violated


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="decides the run; another run of it is the same")
    parser.add_argument("--hours", type=float, default=24.0, help="simulated hours")
    given = parser.parse_args()
    began = time.process_time()
    with random_mix.build(given.seed, given.hours, Checks()) as world:
        try:
            world.run(hours=given.hours)
        except Violated:
            print(f"seed {given.seed}: an invariant does not hold\n{report.describe_violations(world)}\n")
        print(f"seed {given.seed}: {report.describe(world)}")
        print(f"\n{time.process_time() - began:.1f} s of CPU")
        return 1 if world.checks.violations else 0


if __name__ == "__main__":
    sys.exit(main())
