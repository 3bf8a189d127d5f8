"""Parse the entry of a client: the JSON of its secret."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ...errors import InvalidClient
from ...oauth.client import Client
from ...oauth.redirect_uris import PATHS, SHARED_PATH
from ...profiles.templates import is_host
from ...secret import Secret

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def read_redirect_path(text: str) -> str | None:
    """Return the redirect path of a stored entry, also of one that is otherwise invalid; None where it is no entry."""
    entry: Any = None
    with suppress(ValueError, RecursionError):
        entry = json.loads(text)
    if not isinstance(entry, dict):
        return None
    path = entry.get("redirect_path")
    return path if path in PATHS else SHARED_PATH


def parse_client(name: str, text: str) -> Client:
    """Parse a client's entry.

    ``{"client_id", "client_secrets": [newest first], "hosts": [host or host:port]}``, and instead of or beside id and
    secrets ``"credentials": {name: value}`` for a log-in, or ``"private_key"`` (PEM) with its ``"key_id"``. Also
    ``"redirect_path"``, one of :data:`~evergrant.oauth.redirect_uris.PATHS`.

    Raises
    ------
    InvalidClient
        It names the field at fault, never its value.
    """
    entry: Any = None
    # Not chained, and so raised below: a JSONDecodeError carries the whole text, secrets and all, as its ``doc``.
    with suppress(ValueError, RecursionError):
        entry = json.loads(text)
    if not isinstance(entry, dict):
        raise InvalidClient(f"The entry of client {name} is no JSON object.", _ENTRY_HINT)
    unknown = sorted(entry.keys() - _FIELDS)
    if unknown:
        raise InvalidClient(f"The entry of client {name} has an unknown field {unknown[0]!r}.", _ENTRY_HINT)
    for field in sorted(_TEXT_FIELDS & entry.keys()):
        if not isinstance(entry[field], str) or not entry[field]:
            raise InvalidClient(f"{field} of client {name} must be a text.", _ENTRY_HINT)
    credentials = entry.get("credentials", {})
    if not isinstance(credentials, dict) or not _are_texts(list(credentials.values())):
        raise InvalidClient(f"credentials of client {name} must be texts by name.", _ENTRY_HINT)
    if "client_id" not in entry and not credentials:
        raise InvalidClient(f"The entry of client {name} needs client_id, a text, or credentials.", _ENTRY_HINT)
    if entry.get("redirect_path", SHARED_PATH) not in PATHS:
        raise InvalidClient(f"redirect_path of client {name} must be {' or '.join(PATHS)}.", _ENTRY_HINT)
    secrets, hosts = entry.get("client_secrets", []), entry.get("hosts")
    if not _are_texts(secrets):
        raise InvalidClient(f"client_secrets of client {name} must be a list of texts, newest first.", _ENTRY_HINT)
    _require_sendable(name, entry, secrets, credentials)
    if not _are_texts(hosts) or not hosts or not all(map(is_host, hosts)):
        raise InvalidClient(
            f"hosts of client {name} must list the hosts it may be sent to, without https://.", _ENTRY_HINT
        )
    return Client(
        name,
        entry.get("client_id"),
        tuple(Secret(secret) for secret in secrets),
        tuple(host.lower() for host in hosts),
        {key: Secret(value) for key, value in credentials.items()},
        Secret(entry["private_key"]) if "private_key" in entry else None,
        entry.get("key_id"),
        entry.get("redirect_path", SHARED_PATH),
    )


def _require_sendable(
    name: str, entry: Mapping[str, Any], secrets: Sequence[str], credentials: Mapping[str, str]
) -> None:
    """Refuse a value that no request can carry: most often, a line break came along when it was stored.

    Raises
    ------
    InvalidClient
        It names the field, and not its value.
    """
    values = {"client_id": entry.get("client_id", ""), "key_id": entry.get("key_id", "")}
    values |= {f"client_secrets[{index}]": secret for index, secret in enumerate(secrets)}
    values |= {f"credentials.{key}": value for key, value in credentials.items()}
    for field, value in values.items():
        if _CONTROL.search(value):
            raise InvalidClient(
                f"{field} of client {name} holds a line break or another control character, and cannot be sent.",
                f"Store it again without: `evergrant client set {name}`.",
            )


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) and text for text in value)


_TEXT_FIELDS = {"client_id", "private_key", "key_id", "redirect_path"}
_FIELDS = {"client_secrets", "hosts", "credentials", *_TEXT_FIELDS}
_ENTRY_HINT = 'Write {"client_id": "…", "client_secrets": ["…"], "hosts": ["accounts.example.com"]}.'
