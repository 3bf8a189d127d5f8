"""One secret, read and kept with aws-secretsmanager-caching."""

import json
import os
from typing import Any

from aws_secretsmanager_caching import SecretCache

_cache = SecretCache()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    secret = json.loads(_cache.get_secret_string(os.environ["TOKEN_SECRET"]))
    return {"length": len(secret["access_token"])}
