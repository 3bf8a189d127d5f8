"""boto3 clients made once, and the translation of their failures."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ...ports import PortUnavailable
from .log_levels import keep_sdk_at_info

keep_sdk_at_info()

#: All attempts of one call are bounded well below the lease; standard mode retries throttling with backoff.
_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
#: A save stands between a provider's answer and its loss, and has a budget of 5 seconds: a table that hangs must leave
#: time for the queue.
_SAVING = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})
_SAVES = frozenset({"dynamodb", "sqs"})


#: Clients may be shared by threads, but not made by two at once (boto3 guide, "Multithreading with clients").
_making = Lock()


@cache
def client(service: str) -> Any:
    """The client of a service, one per process."""
    config = _SAVING if service in _SAVES else _CONFIG
    with _making:
        return boto3.client(service, config=config)  # type: ignore[call-overload]


def read_error_code(error: ClientError) -> str:
    """The error code that AWS gave."""
    return str(error.response.get("Error", {}).get("Code", ""))


class unavailable:  # noqa: N801 - a word of a `with`, as contextlib's own
    """Turns whatever keeps a service from doing what was asked into PortUnavailable, the cause chained."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, ClientError):
            raise PortUnavailable(f"{self._what}: {read_error_code(error)}") from error
        if isinstance(error, BotoCoreError):
            raise PortUnavailable(f"{self._what}: {type(error).__name__}") from error
