"""The settings of the deployment, read once from the environment variables that the template sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budgets:
    """The time limits of one refresh, in seconds."""

    lease: int = 40
    request: float = 8.0
    attempt: float = 20.0
    save: float = 5.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that the protocols depend on.

    Attributes
    ----------
    direct_read_min_lifetime
        Seconds. Tokens with a shorter lifetime are served by getter and have no secret: Secrets Manager accepts one
        sustained write per 10 minutes and secret.
    consumer_cache
        The longest time that a consumer caches a token, in seconds.
    rotators
        The number of rotators that work at once and share the Region's quotas.
    allow_loopback
        Set by the local run alone: providers on loopback are allowed, over plain HTTP.
    support_contact
        The contact that the connect page names; if empty, the page names the sender of the link.
    """

    prefix: str = "evergrant"
    direct_read_min_lifetime: int = 1800
    consumer_cache: int = 300
    rotators: int = 10
    allow_loopback: bool = False
    budgets: Budgets = Budgets()
    support_contact: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings from environment variables."""
        return cls(
            prefix=environ.get("EVERGRANT_PREFIX", "evergrant"),
            direct_read_min_lifetime=int(environ.get("EVERGRANT_DIRECT_READ_MIN_LIFETIME", "1800")),
            consumer_cache=int(environ.get("EVERGRANT_CONSUMER_CACHE_SECONDS", "300")),
            rotators=int(environ.get("EVERGRANT_ROTATOR_CONCURRENCY", "10")),
            allow_loopback=environ.get("EVERGRANT_ALLOW_LOOPBACK") == "true",
            budgets=Budgets(lease=int(environ.get("EVERGRANT_LEASE_SECONDS", "40"))),
            support_contact=environ.get("EVERGRANT_SUPPORT_CONTACT", ""),
        )
