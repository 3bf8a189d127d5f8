"""Make the functions' ports from the environment that the template sets. One set per process."""

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
from ..adapters.aws.secrets_manager import SecretsVault
from ..adapters.clock import SystemClock
from ..adapters.http import GuardedHttp
from ..adapters.rate_limiter import RateLimiter
from ..ports import ConnectPorts, RotationPorts
from ..settings import Settings

#: What all rotators together write per second. Secrets Manager takes 50 writes a second in a Region ("AWS Secrets
#: Manager quotas").
_MAX_VAULT_WRITES_PER_SECOND = 40
#: How long a publication waits for its turn: together with the refresh attempt (20 seconds) and the save (5) it has to
#: end within the lease. After that it is tried again later.
_MAX_VAULT_WAIT_SECONDS = 10


@cache
def load_settings() -> Settings:
    """Read the deployment's settings."""
    return Settings.from_environment()


@cache
def build_rotation_ports() -> RotationPorts:
    """Make rotator's ports."""
    table = os.environ["EVERGRANT_RECORDS_TABLE"]
    pace = RateLimiter(_MAX_VAULT_WRITES_PER_SECOND / load_settings().rotators, SystemClock(), _MAX_VAULT_WAIT_SECONDS)
    return RotationPorts(
        records=DynamoRecords(table),
        seal=KmsSeal(os.environ["EVERGRANT_SEAL_KEY_ARN"]),
        vault=SecretsVault(load_settings().prefix, os.environ["EVERGRANT_VAULT_KEY_ARN"], pace),
        provider=GuardedHttp(allow_loopback=load_settings().allow_loopback),
        queue=SqsQueue(os.environ["EVERGRANT_QUEUE_URL"]),
        bus=EventBus(os.environ["EVERGRANT_EVENT_BUS"]),
        profiles=StoredProfiles(table),
        clock=SystemClock(),
        circuits=DynamoCircuits(table, os.environ["EVERGRANT_AUTHORIZATIONS_TABLE"]),
    )


@cache
def build_connect_ports() -> ConnectPorts:
    """Make callback's ports. It seals but cannot unseal."""
    table = os.environ["EVERGRANT_RECORDS_TABLE"]
    return ConnectPorts(
        records=DynamoRecords(table),
        authorizations=StoredAuthorizations(os.environ["EVERGRANT_AUTHORIZATIONS_TABLE"]),
        profiles=StoredProfiles(table),
        vault=SecretsVault(load_settings().prefix),
        seal=KmsSeal(os.environ["EVERGRANT_SEAL_KEY_ARN"]),
        provider=GuardedHttp(allow_loopback=load_settings().allow_loopback),
        queue=SqsQueue(os.environ["EVERGRANT_QUEUE_URL"]),
        clock=SystemClock(),
    )
