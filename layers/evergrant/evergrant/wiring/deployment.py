"""The functions' ports, made from the environment that the template sets. One set per process."""

from __future__ import annotations

import os
from functools import cache

from ..adapters.aws.authorizations import StoredAuthorizations
from ..adapters.aws.circuits import DynamoCircuits
from ..adapters.aws.event_bus import EventBus
from ..adapters.aws.profiles import StoredProfiles
from ..adapters.aws.records import DynamoRecords
from ..adapters.aws.rotation_queue import SqsQueue
from ..adapters.aws.seal import KmsSeal
from ..adapters.aws.vault import SecretsVault
from ..adapters.clock import SystemClock
from ..adapters.http import GuardedHttp
from ..adapters.rate_limiter import RateLimiter
from ..ports import ConnectPorts, RotationPorts
from ..settings import Settings

#: Of the 50 writes a second that Secrets Manager takes in a Region, so many are rotator's, its workers' together
#: ("AWS Secrets Manager quotas").
_VAULT_WRITES = 40
#: For so many seconds a publication waits for its turn: with the spend (20) and the save (5) it has to end within the
#: lease. Then it is tried again later.
_VAULT_PATIENCE = 10


@cache
def settings() -> Settings:
    return Settings.from_environment()


@cache
def rotation_ports() -> RotationPorts:
    """For rotator."""
    table = os.environ["EVERGRANT_RECORDS_TABLE"]
    pace = RateLimiter(_VAULT_WRITES / settings().rotators, SystemClock(), _VAULT_PATIENCE)
    return RotationPorts(
        records=DynamoRecords(table),
        seal=KmsSeal(os.environ["EVERGRANT_SEAL_KEY_ARN"]),
        vault=SecretsVault(settings().prefix, os.environ["EVERGRANT_VAULT_KEY_ARN"], pace),
        provider=GuardedHttp(allow_loopback=settings().allow_loopback),
        queue=SqsQueue(os.environ["EVERGRANT_QUEUE_URL"]),
        bus=EventBus(os.environ["EVERGRANT_EVENT_BUS"]),
        profiles=StoredProfiles(table),
        clock=SystemClock(),
        circuits=DynamoCircuits(table),
    )


@cache
def authorization_ports() -> ConnectPorts:
    """For callback, which seals but cannot unseal."""
    table = os.environ["EVERGRANT_RECORDS_TABLE"]
    return ConnectPorts(
        records=DynamoRecords(table),
        authorizations=StoredAuthorizations(os.environ["EVERGRANT_AUTHORIZATIONS_TABLE"]),
        profiles=StoredProfiles(table),
        vault=SecretsVault(settings().prefix),
        seal=KmsSeal(os.environ["EVERGRANT_SEAL_KEY_ARN"]),
        provider=GuardedHttp(allow_loopback=settings().allow_loopback),
        queue=SqsQueue(os.environ["EVERGRANT_QUEUE_URL"]),
        clock=SystemClock(),
    )
