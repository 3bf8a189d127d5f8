"""The logger and the metrics of every function, by Powertools.

No secret is passed to the logger. The redaction below is a second line of defence.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
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

#: Every match of the pattern contains one of these. A search for them takes less than a tenth of its time.
_HINTS = ("_token", "_secret", "_verifier", "password", "bearer", "basic", "code=", "eyj")


class _RedactingFormatter(LambdaPowertoolsFormatter):
    def serialize(self, log: Any) -> str:
        line = super().serialize(log)
        lower = line.lower()
        if not any(word in lower for word in _HINTS):
            return line
        return _SECRETS.sub(lambda found: f"{found['name'] or ''}[redacted]", line)


# A message is a text, though it may look like JSON: it is not decoded. Lambda treats a line whose timestamp is not in
# RFC 3339 as INFO, also where its level is another (Lambda guide, "Log-level filtering").
logger = Logger(
    level="INFO",
    logger_formatter=_RedactingFormatter(json_deserializer=str, use_rfc3339=True, utc=True),
)
# Lambda's own level is INFO in every deployment. Powertools would prefer it to POWERTOOLS_LOG_LEVEL, and warn on stderr
# where that is lower, so the level is set here.
logging.getLogger(logger.name).setLevel((os.environ.get("POWERTOOLS_LOG_LEVEL") or "INFO").upper())
metrics = Metrics()
# Many invocations count nothing. The warning about it would stand on stderr between the JSON lines.
warnings.filterwarnings("ignore", "No application metrics to publish")
