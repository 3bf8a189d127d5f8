"""scheduler: every minute, send a message to the rotation queue for each connection that is due."""

import os
from dataclasses import asdict
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from evergrant.adapters.aws.circuits import DynamoCircuits
from evergrant.adapters.aws.profiles import StoredProfiles
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.rotation_queue import SqsQueue
from evergrant.adapters.clock import SystemClock
from evergrant.adapters.observability import logger
from evergrant.rotation.tick import TickPorts, tick

#: With these seconds of the invocation left, no further connection is claimed.
_RESERVE_SECONDS = 5

_TABLE = os.environ["EVERGRANT_RECORDS_TABLE"]
_ports = TickPorts(
    DynamoRecords(_TABLE),
    DynamoCircuits(_TABLE, os.environ["EVERGRANT_AUTHORIZATIONS_TABLE"]),
    StoredProfiles(_TABLE),
    SqsQueue(os.environ["EVERGRANT_QUEUE_URL"]),
    SystemClock(),
)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Run one tick. Returns how many connections were claimed, sent, held back, and left for the next tick."""
    deadline = _ports.clock.now() + context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS
    done = asdict(tick(_ports, deadline))
    logger.info("tick", **done)
    return done
