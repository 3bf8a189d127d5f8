"""The message that wakes a connection: the reason of its failure may be gone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

TASK = "wake"
#: SQS delays a message by at most 15 minutes.
_MAX_DELAY_SECONDS = 900


def create_message(connection: str) -> Mapping[str, Any]:
    """Create the message that wakes one connection."""
    return {"task": TASK, "connection": connection}


def build_messages(connections: Iterable[str], after: int = 0) -> list[tuple[Mapping[str, Any], int]]:
    """Build one message for each connection, with its delay: one a second, so that no thundering herd follows.

    Parameters
    ----------
    after
        Seconds before the first of them.
    """
    return [
        (create_message(name), min(1 + after + number, _MAX_DELAY_SECONDS))
        for number, name in enumerate(sorted(connections))
    ]
