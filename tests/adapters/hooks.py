"""Ways to look at, and to break, single calls of a boto3 client: through botocore's own events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from botocore.exceptions import ClientError, ReadTimeoutError

from evergrant.adapters.aws.sdk import client


@contextmanager
def on(service: str, event: str, handler: Callable[..., Any]) -> Iterator[None]:
    """Call ``handler`` at an event of the shared client of ``service``; its waits between retries take no time."""
    events = client(service).meta.events
    events.register_last(event, handler)
    try:
        with mock.patch("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None)):
            yield
    finally:
        events.unregister(event, handler)


@contextmanager
def lost_answers(service: str, operation: str, count: int = 1) -> Iterator[list[str]]:
    """The service does what is asked, but its answer is lost ``count`` times: what an SDK retries."""
    lost: list[str] = []

    def lose(request: Any, event_name: str, **_: Any) -> None:
        # Runs after moto's own handler of the same event, which has done the work by now.
        if event_name.endswith(f".{operation}") and len(lost) < count:
            lost.append(event_name)
            raise ReadTimeoutError(endpoint_url=request.url)

    with on(service, "before-send", lose):
        yield lost


@contextmanager
def parameters(service: str, operation: str) -> Iterator[list[dict[str, Any]]]:
    """The parameters of every call of one operation."""
    seen: list[dict[str, Any]] = []
    with on(service, f"provide-client-params.{service}.{operation}", lambda params, **_: seen.append(dict(params))):
        yield seen


@contextmanager
def failing(service: str, operation: str, code: str = "AccessDeniedException") -> Iterator[None]:
    """Every call of one operation is answered with this error code."""

    def fail(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "made to fail"}}, operation)

    with on(service, f"provide-client-params.{service}.{operation}", fail):
        yield


@contextmanager
def page_size(operation: str, limit: int) -> Iterator[list[dict[str, Any]]]:
    """Make DynamoDB's pages short, as its 1 MB limit would with many items. Yields the pages' parameters."""
    pages: list[dict[str, Any]] = []

    def shorten(params: dict[str, Any], **_: Any) -> dict[str, Any]:
        pages.append(params)
        return {**params, "Limit": limit}

    with on("dynamodb", f"provide-client-params.dynamodb.{operation}", shorten):
        yield pages
