"""`make torture`: inject faults into the deployed stack, and count the grants that are lost."""

from __future__ import annotations

import argparse
import json
import logging
import secrets
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from local.browser import BrowsingError
from local.terminal import Steps
from local.tools import STATE, LocalRunError, end_on_signals
from local.torture.phases import Torture
from local.torture.plan import FULL, QUICK
from local.torture.report import build_document, build_table
from local.torture.testbed import run_testbed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the torture. The exit status is 0 only if no grant was lost avoidably and every connection recovered."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="decides which faults are injected (default: random)")
    parser.add_argument("--quick", action="store_true", help="the short version that `make test` runs")
    parser.add_argument(
        "--json", action="store_true", help="write the results to standard output as JSON, progress to standard error"
    )
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    plan = QUICK if options.quick else FULL
    console = Console(highlight=False, stderr=options.json)
    if not console.is_terminal:
        console.width = 140  # in a file, rows must not wrap
    steps, home = Steps(console), STATE / "torture"
    if sys.platform != "linux":
        steps.line("The torture needs Linux: it finds the processes to kill in /proc.")
        return 1
    # Expected: fifty threads share one client, whose pool keeps ten connections.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    steps.line(
        f"This takes about {_format_duration(plan.about_seconds)} on two idle processors. Seed {seed}; Ctrl-C stops it."
    )
    try:
        with end_on_signals(), run_testbed(home, steps, plan) as testbed:
            torture = Torture(testbed, plan, steps, seed)
            torture.run()
            results = torture.results
            described = build_document(results, seed, steps.elapsed)
    except KeyboardInterrupt:
        steps.line("\nStopped. Nothing is left running.")
        return 130
    except (LocalRunError, BrowsingError) as error:
        steps.line(f"[red]✗[/] {escape(str(error))}")
        return 1
    console.print(build_table(results))
    steps.line(f"Kills after step: {', '.join(f'{step} {n}' for step, n in described['killed_after_step'].items())}")
    for failure in results.failures:
        steps.line(f"[red]✗[/] {escape(failure)}")
    verdict = "[red]Not all of it held.[/]" if results.failures else "[green]All of it held.[/]"
    steps.line(f"{verdict} Seed {seed}, {steps.elapsed:.0f} s in all; nothing is left running. Logs: {home}")
    if options.json:
        print(json.dumps(described, indent=2))
    return 1 if results.failures else 0


def _format_duration(seconds: int) -> str:
    return f"{seconds // 60} minutes" if seconds >= 120 else f"{seconds} seconds"


if __name__ == "__main__":
    sys.exit(main())
