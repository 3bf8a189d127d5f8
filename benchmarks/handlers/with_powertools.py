"""One secret, read and kept for five minutes with Powertools' Parameters."""

import os
from typing import Any

from aws_lambda_powertools.utilities import parameters


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    secret: Any = parameters.get_secret(os.environ["TOKEN_SECRET"], transform="json", max_age=300)
    return {"length": len(secret["access_token"])}
