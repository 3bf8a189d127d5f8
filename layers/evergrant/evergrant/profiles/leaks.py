"""What a profile could publish that consumers must never see, and texts of it that mislead a reader. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from msgspec import to_builtins

from ..texts import is_safe
from .model import Profile

#: What no consumer may see, as a response or a callback may name it, without case, hyphens and underscores.
_PRIVATE_FIELDS = re.compile(r"(refresh|id)token|client(secret|assertion)|codeverifier", re.IGNORECASE)
_PRIVATE_PARAMETERS = frozenset({"code", "state", "access_token"})


def find_leaks(profile: Profile) -> Iterator[str]:
    """Find what would publish the refresh token, the ID token or a credential: one message for each, with its key.

    It is asked of each stored profile that is read, too, since a profile may be written past the checks of its file.
    """
    response, callback = profile.response, profile.callback
    published = {f"response.capture.{name}": path for name, path in response.capture.items()}
    published |= {f"response.scope[{index}]": path for index, path in enumerate(response.scope)}
    published |= {f"response.token_type[{index}]": path for index, path in enumerate(response.token_type)}
    for place, path in published.items():
        if _is_under(path, response.refresh_token) or _is_private(path):
            yield f"{place}: {path} may hold what consumers must never see"
    for index, path in enumerate(response.access_token):
        if _is_under(path, response.refresh_token):
            yield f"response.access_token[{index}]: {path} is where the refresh token is"
    for name, parameter in callback.capture.items():
        if parameter in (*_PRIVATE_PARAMETERS, callback.code) or _is_private(parameter):
            yield f"callback.capture.{name}: {parameter} may hold what consumers must never see"


def find_unsafe_texts(profile: Profile) -> Iterator[str]:
    """Find characters that a terminal, a log or a page takes for something else."""
    for path, text in _list_texts(to_builtins(profile), ""):
        if not is_safe(text):
            yield f"{path}: it holds a control character, a line break or one that changes the direction of text"


def _list_texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """List every text of a profile and every key of its tables, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield path or "a key", key
            yield from _list_texts(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _list_texts(item, f"{path}[{index}]")


def _is_under(path: str, others: Collection[str]) -> bool:
    """Whether a dotted path is one of others, or leads into what is there."""
    return any(path == other or path.startswith(f"{other}.") for other in others)


def _is_private(path: str) -> bool:
    parts = path.replace("_", "").replace("-", "").split(".")
    return any(_PRIVATE_FIELDS.fullmatch(part) for part in parts)
