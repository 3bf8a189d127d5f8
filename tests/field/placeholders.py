"""Values in a case that the runner writes: ``<<epoch 3600>>`` is the moment an hour after the request.

A case states times relative to the request, since JWTs and dates would be in the past otherwise.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

#: 2026-11-22T10:00:00Z: every request of the corpus is sent then.
NOW = 1_795_341_600
_PLACEHOLDER = re.compile(r"<<(\w+) ([^<>]*)>>")


def _write_jwt(text: str) -> str:
    """Write an unsigned JWT with claims of whole seconds from now, as in ``jwt exp=1800 iat=0``."""
    claims = {name: NOW + int(value) for name, _, value in (part.partition("=") for part in text.split())}
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join((*(urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "c2lnbmF0dXJl"))


_MOMENT: Callable[[str], datetime] = lambda text: datetime.fromtimestamp(NOW + int(text), UTC)  # noqa: E731
_WRITERS: dict[str, Callable[[str], str]] = {
    "epoch": lambda text: str(NOW + int(text)),
    "epoch_ms": lambda text: str((NOW + int(text)) * 1000),
    "iso": lambda text: _MOMENT(text).isoformat(),
    "iso_z": lambda text: _MOMENT(text).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "iso_ms": lambda text: _MOMENT(text).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    "iso_ns": lambda text: _MOMENT(text).strftime("%Y-%m-%dT%H:%M:%S.123456789+00:00"),
    "iso_naive": lambda text: _MOMENT(text).strftime("%Y-%m-%dT%H:%M:%S"),
    "http_date": lambda text: format_datetime(_MOMENT(text), usegmt=True),
    "jwt": _write_jwt,
    "x": lambda text: "x" * int(text),
}


def fill(text: str) -> str:
    """Return the text with its placeholders written out. Raises KeyError for a name that is none."""
    return _PLACEHOLDER.sub(lambda found: _WRITERS[found[1]](found[2]), text)
