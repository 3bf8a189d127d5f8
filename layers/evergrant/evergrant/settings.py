"""The deployment's settings, read once from the environment that the template sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budgets:
    """Time limits of one refresh and its neighbours, in seconds."""

    lease: int = 40
    request: float = 8.0
    attempt: float = 20.0
    save: float = 5.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What the protocols need to know of the deployment.

    ``direct_read_min_lifetime``: tokens that live for less (seconds) are served by getter and have no secret, since
    Secrets Manager takes one sustained write per 10 minutes and secret. ``consumer_cache``: the longest time, in
    seconds, that a consumer keeps a token without asking. ``rotators``: how many of them work at once, which share the
    Region's limits. ``allow_loopback``: the local run's switch. ``support_contact``: whom the connect pages name as
    somebody to ask; empty for whoever sent the link.
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
        return cls(
            prefix=environ.get("EVERGRANT_PREFIX", "evergrant"),
            direct_read_min_lifetime=int(environ.get("EVERGRANT_DIRECT_READ_MIN_LIFETIME", "1800")),
            consumer_cache=int(environ.get("EVERGRANT_CONSUMER_CACHE_SECONDS", "300")),
            rotators=int(environ.get("EVERGRANT_ROTATOR_CONCURRENCY", "10")),
            allow_loopback=environ.get("EVERGRANT_ALLOW_LOOPBACK") == "true",
            budgets=Budgets(lease=int(environ.get("EVERGRANT_LEASE_SECONDS", "40"))),
            support_contact=environ.get("EVERGRANT_SUPPORT_CONTACT", ""),
        )
