"""Set the log level of AWS's SDK, which logs secrets below INFO."""

from __future__ import annotations

import logging

#: The loggers of boto3 and of the libraries that send its requests.
SDK_LOGGERS = ("boto3", "botocore", "urllib3")


def keep_sdk_at_info() -> None:
    """Keep the SDK from logging below INFO, also where the root logger has a lower level.

    At DEBUG botocore logs the bodies of requests and responses: client secrets, tokens and plaintext data keys.
    Lambda's runtime sets the root logger to the function's application log level, and loggers without a level of
    their own inherit that (Lambda guide, "Log-level filtering").
    """
    for name in SDK_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
