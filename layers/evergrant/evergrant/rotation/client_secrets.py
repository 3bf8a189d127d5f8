"""The change of a client's own secret: the newest is tried first, then the older ones while the client is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


def try_each_secret(
    requests: Sequence[Request], send: Callable[[Request], Answer], is_client_refused: Callable[[Answer], bool]
) -> Answer:
    """Send the requests, one for each secret, until the provider accepts the client. Returns the last answer."""
    *newer, oldest = requests
    for request in newer:
        answer = send(request)
        if not is_client_refused(answer):
            return answer
    return send(oldest)
