"""A provider in a process of its own: every token request takes a given time.

python -m benchmarks.slow_provider PORT SECONDS
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from itertools import count

from benchmarks import slow_http

_number = count()


def _answer(headers: Mapping[str, str], body: bytes) -> bytes:
    tokens = {
        "access_token": f"access-{next(_number)}-{'x' * 900}",
        "refresh_token": f"refresh-{next(_number)}-{'x' * 300}",
        "token_type": "bearer",
        "expires_in": 86_400,
    }
    return json.dumps(tokens).encode()


def run_server(seconds: float) -> AbstractContextManager[str]:
    """Run the server; give its address, ``host:port``."""
    return slow_http.run_server(__name__, seconds)


if __name__ == "__main__":
    slow_http.serve(_answer, sys.argv[1:])
