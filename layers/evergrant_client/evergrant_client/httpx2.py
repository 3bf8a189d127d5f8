"""Authentication for httpx2. Importing this module imports httpx2; the rest of the package does not.

>>> client = httpx2.Client(auth=EvergrantAuth("keap/main"))  # doctest: +SKIP
"""

from __future__ import annotations

import httpx2

from ._auth_flow import AuthFlow

__all__ = ["EvergrantAuth"]


class EvergrantAuth(AuthFlow[httpx2.Request, httpx2.Response], httpx2.Auth):
    """Sends a connection's headers with every request, for `httpx2.Client` and `httpx2.AsyncClient`.

    When the provider rejects the token, the call is sent again with another one: at most once with what
    the secret holds by then, and once with what getter renewed. A body that is a stream is not sent
    again: its caller gets the rejection, and the next call has the new token.

    If redirects are followed, none of the connection's headers go to another origin: httpx2 removes
    ``Authorization``, and this class the others, by httpcore2's ``trace`` extension. With a transport that
    has no such extension, and a profile that sends the token in another header, do not follow redirects.

    Parameters
    ----------
    connection : str
        ``provider/account``.
    min_ttl : float
        Seconds that the token must last when a call begins.
    evergrant : Evergrant, optional
        Where tokens come from. Default: the one behind `evergrant_client.token`.

    Raises
    ------
    MissingHeaders
        On a call without the headers that the provider requires on every call.
    EvergrantError
        On a call for which no token is available; see `Evergrant.token`.
    """

    _replayable_stream = httpx2.ByteStream
