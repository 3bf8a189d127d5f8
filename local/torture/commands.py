"""Several runs of the `evergrant` command in one process, since starting Python takes longer than any of them.

Reads ``[{"arguments": [...], "given": "..."}]`` as JSON from standard input, and writes what each printed as a line of
JSON, a text, to standard output. The first one that fails ends it, with its message on standard error.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout

from evergrant_cli.main import app


def run_all() -> int:
    """Run them one after the other; the exit status is that of the first to fail."""
    for command in json.load(sys.stdin):
        sys.stdin = io.StringIO(command["given"])
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
