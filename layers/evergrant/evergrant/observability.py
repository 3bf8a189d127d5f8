"""One logger and one set of metrics for every function, by Powertools.

Nothing secret is ever handed to the logger; the redaction below is the backstop, not the mechanism.
"""

from __future__ import annotations

import re
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import MetricUnit

__all__ = ["MetricUnit", "logger", "metrics"]

_TOKENS = re.compile(
    r"eyJ[\w-]{8,}\.[\w.-]+"  # a JWT
    r"|(?i:bearer|basic)\s+[\w.~+/=-]{8,}"
    r"|(?i:access_token|refresh_token|client_secret|code_verifier|code|password)[\"']?\s*[=:]\s*[\"']?[^\s\"'&,}]+"
)


class _RedactingFormatter(LambdaPowertoolsFormatter):
    def serialize(self, log: Any) -> str:
        return _TOKENS.sub("[redacted]", super().serialize(log))


logger = Logger(logger_formatter=_RedactingFormatter())
metrics = Metrics()
