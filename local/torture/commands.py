"""Runs of the `evergrant` command in one process: starting Python for each would take longer than the command.

Reads ``[{"arguments": [...], "given": "..."}]`` as JSON from standard input. Writes the output of each command to
standard output, as a JSON string on a line. Stops at the first command that fails, with its message on standard error.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout

from evergrant_cli.main import app


def run_all() -> int:
    """Run the commands in order; return the exit status of the first that fails, else 0."""
    for command in json.load(sys.stdin):
        sys.stdin = io.TextIOWrapper(io.BytesIO(command["given"].encode()))
        with redirect_stdout(io.StringIO()) as output:
            try:
                app(command["arguments"], prog_name="evergrant")
            except SystemExit as end:
                if end.code:
                    return int(end.code)
        print(json.dumps(output.getvalue()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_all())
