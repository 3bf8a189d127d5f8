"""The log level of AWS's SDK, which writes secrets below INFO."""

from __future__ import annotations

import logging

#: The loggers of boto3 and of what it sends requests with.
SDK_LOGGERS = ("boto3", "botocore", "urllib3")


def keep_sdk_at_info() -> None:
    """Keep the SDK from logging below INFO, whatever the level of the root logger is.

    At DEBUG botocore logs the bodies of requests and responses: client secrets, tokens and plaintext data keys.
    Lambda's runtime sets the root logger to the function's application log level, and loggers without a level of
    their own inherit that (Lambda guide, "Log-level filtering").
    """
    for name in SDK_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
