"""Nothing happens by chance but by the seed."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any
from unittest import mock

from evergrant.rotation import handler


@dataclass(frozen=True)
class Log:
    """What rotator writes for people and what it counts. A failure that it did not expect is one of the run."""

    unexpected: Callable[[str, Mapping[str, Any]], None]

    def error(self, message: str, **details: Any) -> None:
        if message in ("unexpected failure", "rotation failed"):
            self.unexpected(message, details)

    def __getattr__(self, level: str) -> Callable[..., None]:
        return _ignore


def _ignore(*_: Any, **__: Any) -> None:
    return None


@contextmanager
def determined(seed: int, unexpected: Callable[[str, Mapping[str, Any]], None]) -> Iterator[None]:
    """Let nothing be by chance but by the seed: names are counted, and jitter is drawn from a seeded generator."""
    names = (uuid.UUID(int=number, version=4) for number in range(1, 1 << 62))
    jitter, log = Random(seed), Log(unexpected)
    with (
        mock.patch.object(uuid, "uuid4", names.__next__),
        mock.patch.object(random, "uniform", jitter.uniform),
        mock.patch.object(random, "randint", jitter.randint),
        mock.patch.object(random, "random", jitter.random),
        mock.patch.multiple(handler, logger=log, metrics=log),
    ):
        yield
