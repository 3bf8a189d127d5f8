"""Refresh tokens by connection, learned from the token responses that pass a provider's proxy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import parse_qs

from evergrant.secret import fingerprint
from local.torture.proxy import Reply, Request


def get_presented_token(request: Request) -> str | None:
    """Return the fingerprint of the refresh token in a token request."""
    tokens = parse_qs(request.body.decode()).get("refresh_token")
    return fingerprint(tokens[0]) if tokens else None


class TokenChains:
    """Chains of refresh tokens: each token was issued for the one before it.

    Parameters
    ----------
    stored
        Fingerprint of every refresh token seen in a record, to its connection. It may grow.
    """

    def __init__(self, stored: Mapping[str, str]) -> None:
        self._stored = stored
        self._roots: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def add_reply(self, request: Request, reply: Reply) -> None:
        """Add the refresh token of a response to the chain of the one in the request."""
        if reply.status != 200:
            return
        token = json.loads(reply.body or b"{}").get("refresh_token")
        if token is not None:
            issued, before = fingerprint(token), get_presented_token(request)
            self._roots[issued] = issued if before is None else self._find_root(before)

    def find_owner(self, request: Request) -> str | None:
        """Return the connection of a request's refresh token, if a token of its chain was seen in a record."""
        token = get_presented_token(request)
        if token is None:
            return None
        root = self._find_root(token)
        if root not in self._names:
            name = next((name for token, name in tuple(self._stored.items()) if self._find_root(token) == root), None)
            if name is None:
                return None
            self._names[root] = name
        return self._names[root]

    def _find_root(self, token: str) -> str:
        return self._roots.get(token, token)
