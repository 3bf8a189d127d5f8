"""Access tokens that are always valid, for the functions that call third-party APIs.

>>> import evergrant_client
>>> evergrant_client.token("keap/main")  # doctest: +SKIP
>>> evergrant_client.headers("wealthyhood/main", {"x-user-id": "u-17"})  # doctest: +SKIP

The auth classes are in `evergrant_client.httpx`, `evergrant_client.httpx2` and `evergrant_client.requests`, each
named `EvergrantAuth`, so that only the library in use is imported. Needs botocore, which the Lambda runtime has, and
imports it at the first fetch.

Configuration, from the environment: ``EVERGRANT_PREFIX`` (default ``evergrant``) and ``EVERGRANT_GETTER``
(name or ARN of getter's function; without it only connections that have a secret can be read).
"""

from __future__ import annotations

from ._client import Evergrant
from ._default import access_token, headers, token
from ._errors import (
    AccessDenied,
    AuthorizationRequired,
    ClientRefused,
    ConnectionUnusable,
    Disconnected,
    EvergrantError,
    InvalidRequest,
    MissingHeaders,
    NotConfigured,
    Paused,
    TemporarilyUnavailable,
    UnexpectedAnswer,
    UnknownConnection,
)
from ._tokens import AccessToken

__all__ = [
    "AccessDenied",
    "AccessToken",
    "AuthorizationRequired",
    "ClientRefused",
    "ConnectionUnusable",
    "Disconnected",
    "Evergrant",
    "EvergrantError",
    "InvalidRequest",
    "MissingHeaders",
    "NotConfigured",
    "Paused",
    "TemporarilyUnavailable",
    "UnexpectedAnswer",
    "UnknownConnection",
    "access_token",
    "headers",
    "token",
]

# One public namespace: errors and reprs name what a consumer imports, not the private module.
for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
