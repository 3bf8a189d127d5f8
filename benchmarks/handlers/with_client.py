"""A consumer with Evergrant's layer."""

from typing import Any

import evergrant_client


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return {"length": len(evergrant_client.token("keap/main"))}
