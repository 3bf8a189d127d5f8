"""callback: the pages of a connection, GET and POST /connect/{ticket} and GET /callback."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from evergrant.authorization import Flow
from evergrant.aws.wiring import authorization_ports, settings
from evergrant.connecting import respond
from evergrant.observability import logger, metrics


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """One request of a browser, answered with a page or a redirect."""
    return respond(Flow(authorization_ports(), settings()), event, settings().support_contact)
