"""rotator: refresh the connections that the queue, getter or an operator names."""

from threading import Semaphore
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from evergrant.adapters.observability import logger, metrics
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.handler import MAX_AT_PROVIDERS, handle_request, process_batch
from evergrant.wiring.deployment import build_rotation_ports, load_settings

#: Seconds of the invocation that are kept for the answer itself.
_RESERVE_SECONDS = 1


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    """Handle a batch of the rotation queue, and return its failures; or a request, and return a token document."""
    ports = build_rotation_ports()
    deadline = ports.clock.now() + context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS

    if isinstance(event, dict) and "Records" in event:
        turns = Semaphore(MAX_AT_PROVIDERS)
        return process_batch(
            lambda: Rotation(ports, load_settings(), deadline, turns), event["Records"], ports.clock, deadline
        )
    return handle_request(Rotation(ports, load_settings(), deadline), ports, event)
