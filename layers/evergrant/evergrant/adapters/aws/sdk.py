"""Make boto3 clients once, scan a table by their paginator, and translate their failures."""

from __future__ import annotations

from collections.abc import Iterator
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
_DEFAULT_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
#: A save has a budget of 5 seconds: a table that hangs must leave time for the queue.
_SAVE_CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})
_SAVE_SERVICES = frozenset({"dynamodb", "sqs"})


#: Threads may share a client, but not create one at the same time (boto3 guide, "Multithreading with clients").
_creation = Lock()


@cache
def client(service: str) -> Any:
    """Return the client of a service, one per process."""
    config = _SAVE_CONFIG if service in _SAVE_SERVICES else _DEFAULT_CONFIG
    with _creation:
        return boto3.client(service, config=config)  # type: ignore[call-overload]


def scan_items(table: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Scan a table for the items whose key begins with ``prefix``. Each page is read when its first item is needed."""
    pages = (
        client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=table,
            FilterExpression="begins_with(pk, :kind)",
            ExpressionAttributeValues={":kind": {"S": prefix}},
        )
    )
    return (item for page in pages for item in page["Items"])


def read_error_code(error: ClientError) -> str:
    """Return the error code of AWS."""
    return str(error.response.get("Error", {}).get("Code", ""))


class unavailable:  # noqa: N801 - reads as a word of a `with`, as in contextlib
    """Turns every failure of a call to AWS into PortUnavailable, with the cause chained."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, ClientError):
            raise PortUnavailable(f"{self._what}: {read_error_code(error)}") from error
        if isinstance(error, BotoCoreError):
            raise PortUnavailable(f"{self._what}: {type(error).__name__}") from error
