"""callback: serve the pages of a connection, GET and POST /connect/{ticket}, GET /callback and /callback/{provider}."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from evergrant.adapters.observability import logger, metrics
from evergrant.connect.authorization_flow import AuthorizationFlow
from evergrant.connect.handler import respond
from evergrant.wiring.deployment import build_connect_ports, load_settings


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one request of a browser with a page."""
    return respond(AuthorizationFlow(build_connect_ports(), load_settings()), event, load_settings().support_contact)
