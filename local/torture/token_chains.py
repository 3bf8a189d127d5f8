"""Whose refresh token it is: learned from each provider's answers as they pass its proxy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import parse_qs

from evergrant.secret import fingerprint
from local.torture.proxy import Reply, Request


def presented(request: Request) -> str | None:
    """The fingerprint of the refresh token that a request of a token endpoint carries."""
    tokens = parse_qs(request.body.decode()).get("refresh_token")
    return fingerprint(tokens[0]) if tokens else None


class Chains:
    """A connection's refresh tokens, each of which came for the one before.

    Parameters
    ----------
    stored
        Every refresh token that was ever seen in a record, with its connection. It may grow.
    """

    def __init__(self, stored: Mapping[str, str]) -> None:
        self._stored = stored
        self._roots: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def heard(self, request: Request, reply: Reply) -> None:
        """For a provider's proxy: take in what was answered."""
        if reply.status != 200:
            return
        token = json.loads(reply.body or b"{}").get("refresh_token")
        if token is not None:
            issued, before = fingerprint(token), presented(request)
            self._roots[issued] = issued if before is None else self._root(before)

    def owner(self, request: Request) -> str | None:
        """The connection whose refresh token a request carries, if one of that chain was ever seen in a record."""
        token = presented(request)
        if token is None:
            return None
        root = self._root(token)
        if root not in self._names:
            name = next((name for token, name in tuple(self._stored.items()) if self._root(token) == root), None)
            if name is None:
                return None
            self._names[root] = name
        return self._names[root]

    def _root(self, token: str) -> str:
        return self._roots.get(token, token)
