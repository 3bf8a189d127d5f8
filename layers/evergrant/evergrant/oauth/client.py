"""A registered client as requests need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..secret import Secret
from .redirect_uris import SHARED_PATH


@dataclass(frozen=True, slots=True)
class Client:
    """The entry of one client at a provider.

    Attributes
    ----------
    secrets
        The client's secrets, the newest first.
    hosts
        The hosts (``host`` or ``host:port``) that its credentials may be sent to.
    credentials
        The values of a log-in by name.
    private_key
        PEM; ``key_id`` is the key's id at the provider.
    redirect_path
        The path of its redirect URIs, one of :data:`~evergrant.oauth.redirect_uris.PATHS`.
    version
        Differs from one version of the entry to the next, and reveals nothing of either.
    """

    name: str
    client_id: str | None
    secrets: tuple[Secret, ...]
    hosts: tuple[str, ...]
    # The repr does not even show fingerprints: a short password can be found by its hash.
    credentials: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    private_key: Secret | None = field(default=None, repr=False)
    key_id: str | None = None
    redirect_path: str = SHARED_PATH
    version: str | None = field(default=None, compare=False)
