"""scheduler: every minute, send what is due into the rotation queue."""

import os
from dataclasses import asdict
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from evergrant.adapters.aws.profiles import StoredProfiles
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.rotation_queue import SqsQueue
from evergrant.adapters.clock import SystemClock
from evergrant.adapters.observability import logger
from evergrant.rotation.tick import tick

#: Seconds left to the invocation when nothing more is claimed.
_RESERVE = 5

_records = DynamoRecords(os.environ["EVERGRANT_RECORDS_TABLE"])
_profiles = StoredProfiles(os.environ["EVERGRANT_RECORDS_TABLE"])
_queue = SqsQueue(os.environ["EVERGRANT_QUEUE_URL"])


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """One tick. Returns how many connections were claimed, sent, and left for the next."""
    clock = SystemClock()
    deadline = clock.now() + context.get_remaining_time_in_millis() / 1000 - _RESERVE
    done = asdict(tick(_records, _profiles, _queue, clock, deadline))
    logger.info("tick", **done)
    return done
