"""The one `Evergrant` behind the module-level functions, made from the environment at first use."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from ._client import DEFAULT_MIN_TTL, Evergrant
from ._tokens import AccessToken

_default: Evergrant | None = None
_making = threading.Lock()


def default() -> Evergrant:
    """Return the process's own `Evergrant`, configured by EVERGRANT_PREFIX and EVERGRANT_GETTER."""
    global _default
    if _default is None:
        with _making:
            if _default is None:
                _default = Evergrant()
    return _default


def token(connection: str, *, min_ttl: float = DEFAULT_MIN_TTL, rejected: str | None = None) -> str:
    """Return an access token that is valid for `min_ttl` seconds more: see `Evergrant.token`."""
    return (_default or default()).token(connection, min_ttl=min_ttl, rejected=rejected)


def access_token(connection: str, *, min_ttl: float = DEFAULT_MIN_TTL) -> AccessToken:
    """Return the token with everything that is published with it: see `Evergrant.access_token`."""
    return default().access_token(connection, min_ttl=min_ttl)


def headers(
    connection: str, per_call: Mapping[str, str] | None = None, *, min_ttl: float = DEFAULT_MIN_TTL
) -> dict[str, str]:
    """Return the headers to send with a call: see `Evergrant.headers`."""
    return default().headers(connection, per_call, min_ttl=min_ttl)
