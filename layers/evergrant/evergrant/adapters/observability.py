"""One logger and one set of metrics for every function, by Powertools.

Nothing secret is ever handed to the logger; the redaction below is the backstop, not the mechanism.
"""

from __future__ import annotations

import logging
import os
import re
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import MetricUnit

__all__ = ["MetricUnit", "logger", "metrics"]

_SECRETS = re.compile(
    r"(?P<name>(?i:access_token|refresh_token|client_secret|code_verifier|password)\\?[\"']?\s*[=:]\s*\\?[\"']?"
    r"|(?i:bearer|basic)\s+"
    r"|\bcode=)"  # a parameter, not the `code` of one of our errors
    r"[^\s\"'&,}\\]{6,}"
    r"|\beyJ[\w-]{8,}\.[\w.-]+"  # a JWT
)

#: One of these is in whatever that finds. To look for them takes less than a tenth of its time.
_WORDS = ("_token", "_secret", "_verifier", "password", "bearer", "basic", "code=", "eyj")


class _RedactingFormatter(LambdaPowertoolsFormatter):
    def serialize(self, log: Any) -> str:
        line = super().serialize(log)
        lower = line.lower()
        if not any(word in lower for word in _WORDS):
            return line
        return _SECRETS.sub(lambda found: f"{found['name'] or ''}[redacted]", line)


# A message is a text, though it may look like JSON: it is not decoded. Lambda counts a line whose timestamp is not in
# RFC 3339 as one at INFO, whatever its level (Lambda guide, "Log-level filtering").
logger = Logger(
    level="INFO",
    logger_formatter=_RedactingFormatter(json_deserializer=str, use_rfc3339=True, utc=True),
)
# Lambda's own level is INFO in every deployment. Powertools gives that one precedence over POWERTOOLS_LOG_LEVEL, and
# warns on stderr where that is lower, so the level is set past Powertools.
logging.getLogger(logger.name).setLevel((os.environ.get("POWERTOOLS_LOG_LEVEL") or "INFO").upper())
metrics = Metrics()
