"""The body of a provider's response, decoded, and the values in it that may be kept and sent on. Pure."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl

from ..http_messages import HttpResponse
from ..profiles.dotted_path import look_up

#: A captured value is an id or a URL.
_MAX_CAPTURED_CHARACTERS = 2000
#: Control characters, and halves of surrogate pairs, which JSON can name and UTF-8 cannot.
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def decode_body(response: HttpResponse) -> Any:
    """Decode the body as JSON, or as a form where the content type says so; {} when it is neither."""
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        text = response.body.decode("utf-8-sig")  # some servers put a byte order mark before their JSON
        return dict(parse_qsl(text)) if content_type == "application/x-www-form-urlencoded" else json.loads(text)
    except (ValueError, RecursionError):
        return {}


def read_text(body: Any, paths: tuple[str, ...], *, listed: bool = False) -> str | None:
    """Return the first text at one of the paths that is not blank and can be sent on.

    With ``listed``, a list of texts counts as one text, joined by spaces.
    """
    for path in paths:
        value = look_up(body, path)
        if listed and isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = " ".join(value)
        if isinstance(value, str) and value.strip() and not _UNSENDABLE.search(value):
            return value
    return None


def read_value(response: HttpResponse, path: str) -> str | None:
    """Return the text or whole number at a path as text; None if there is none that can be sent on."""
    value = look_up(decode_body(response), path)
    if not is_text_or_integer(value):
        return None
    return text if (text := str(value)).strip() and not _UNSENDABLE.search(text) else None


def is_text_or_integer(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def is_capturable(value: str) -> bool:
    """Whether a captured value can be kept and sent to consumers."""
    return bool(value) and len(value) <= _MAX_CAPTURED_CHARACTERS and not _UNSENDABLE.search(value)
