"""The message that tells a connection that what it waited for may be there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

TASK = "wake"
#: SQS delays a message by at most 15 minutes.
_MAX_DELAY_SECONDS = 900


def build_messages(connections: Iterable[str], after: int = 0) -> list[tuple[Mapping[str, Any], int]]:
    """One message for each connection with its delay: one a second from ``after`` on, so that nobody is stormed."""
    return [
        ({"task": TASK, "connection": name}, min(1 + after + number, _MAX_DELAY_SECONDS))
        for number, name in enumerate(sorted(connections))
    ]
