"""Make getter's token reader. Imports as little as possible: a caller waits for its cold start."""

from __future__ import annotations

import time
from threading import Lock

from ..adapters.aws.token_sources import create_token_sources
from ..getter.token_reader import TokenReader


def build_reader() -> TokenReader:
    """Make the reader once per process, while Lambda starts the function with more CPU than it has afterwards."""
    read_secret, ask_rotator = create_token_sources()
    return TokenReader(read_secret, ask_rotator, time.time, Lock)
