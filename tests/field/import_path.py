"""Put a file through the reader of ``evergrant import``, and a client's entry through that of ``client set``."""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from io import BytesIO, TextIOWrapper
from typing import Any
from unittest import mock

from evergrant.adapters.aws.client_entry import parse_client
from evergrant.connect.imported_set import parse_token_set
from evergrant.errors import InvalidClient, InvalidRequest
from evergrant.oauth.token_file_choice import choose_set
from evergrant_cli.client_entry import trim_entry
from evergrant_cli.standard_input import read_standard_input
from tests.field.case_format import ClientCase, ImportCase
from tests.field.http_path import describe_tokens
from tests.field.placeholders import NOW, fill


def read_file(case: ImportCase) -> dict[str, Any]:
    """Read the case's file, and describe the token set or the error."""
    profile = case.load_profile()
    variables = case.bind_variables(profile)
    content = b64decode(case.file_base64) if case.file_base64 else fill(case.file).encode()
    with mock.patch.object(sys, "stdin", TextIOWrapper(BytesIO(content))):
        text = read_standard_input()
    try:
        found = choose_set(profile, text, None)
        read = parse_token_set(profile, found, NOW, variables, captured=case.capture, proven=case.prove)
    except InvalidRequest as error:
        return {"error": f"{error.message} {error.hint}"}
    return {"tokens": describe_tokens(read.tokens), "ignored": sorted(read.ignored)}


def read_entry(case: ClientCase) -> dict[str, Any]:
    """Read a client's entry as `evergrant client set` does: trimmed with a remark, or refused with its field named."""
    run = mock.MagicMock()
    try:
        client = parse_client("acme", json.dumps(trim_entry(run, json.loads(case.entry))))
    except InvalidClient as error:
        return {"said": error.message, "refused": True}
    said = str(run.output.write_aside.call_args)
    secrets = [secret.reveal() for secret in client.secrets]
    return {"said": said, "client_id": client.client_id, "client_secrets": secrets}
