"""Protects docs/reading.md: every Python snippet on the page runs as it stands and calls the API with the live token.

AWS is moto's; the provider's API, the Lambda extension and getter's HTTP API are one server on the loopback.
"""

from __future__ import annotations

import io
import json
import os
import re
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import pytest
from aws_lambda_powertools.utilities.parameters import base as powertools

import evergrant_client._default as client_default
from evergrant import errors
from evergrant.adapters.aws.sdk import client
from evergrant.getter.handler import handle_event
from evergrant.getter.token_reader import TokenReader
from evergrant.record import token_document
from tests.unit.samples import KEAP, connection, tokens

PAGE = (Path(__file__).parents[2] / "docs" / "reading.md").read_text("utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SECRET = "evergrant/tokens/keap/main"
API = "https://api.infusionsoft.com"


def document() -> dict[str, Any]:
    """As rotator publishes it."""
    issued = tokens(issued_at=int(time.time()), expires_at=int(time.time()) + 3600)
    return token_document.build_document(connection(), KEAP, issued)


class Neighbours(ThreadingHTTPServer):
    """Everything that a consumer speaks to by HTTP."""

    daemon_threads = True

    def __init__(self, reader: TokenReader) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reader = reader
        self.called: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Neighbours

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        self.server.called.append(url.path)
        if url.path == "/secretsmanager/get":
            known = self.headers["X-Aws-Parameters-Secrets-Token"] == os.environ["AWS_SESSION_TOKEN"]
            value = client("secretsmanager").get_secret_value(SecretId=query["secretId"])["SecretString"]
            self._answer(200 if known else 403, json.dumps({"SecretString": value}))
        elif url.path.startswith("/tokens/"):
            assert "/execute-api/aws4_request" in self.headers["authorization"]
            provider, account = url.path.removeprefix("/tokens/").split("/")
            event = {"requestContext": {}, "pathParameters": {"provider": provider, "account": account}}
            response = handle_event(self.server.reader, {**event, "queryStringParameters": query})
            self._answer(response["statusCode"], response["body"])
        else:
            self._answer(200 if self.headers["authorization"] == "Bearer access-1" else 401, "{}")

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


@pytest.fixture
def neighbours(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Neighbours]:
    client("secretsmanager").create_secret(Name=SECRET, SecretString=json.dumps(document()))
    stored = json.dumps(document())
    with Neighbours(TokenReader(lambda _: json.loads(stored), lambda _: {}, time.time)) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        monkeypatch.setenv("AWS_SESSION_TOKEN", "session-token")
        monkeypatch.setattr(client_default, "_default", None)
        monkeypatch.setattr(powertools, "DEFAULT_PROVIDERS", {})
        # Getter by direct invocation; all other services are moto's.
        made = boto3.client
        monkeypatch.setattr(boto3, "client", lambda name: Getter(server.reader) if name == "lambda" else made(name))
        yield server
        server.shutdown()


class Getter:
    """Lambda's Invoke, with getter behind it."""

    def __init__(self, reader: TokenReader) -> None:
        self._reader = reader

    def invoke(self, *, FunctionName: str, Payload: str) -> dict[str, Any]:  # noqa: N803
        assert FunctionName.startswith("http")
        return {"Payload": io.BytesIO(json.dumps(handle_event(self._reader, json.loads(Payload))).encode())}


def title(snippet: str) -> str:
    return re.sub(r"\W+", " ", snippet.strip().splitlines()[-1])[:50].strip()


@pytest.mark.parametrize("snippet", PYTHON, ids=title)
def test_a_snippet_of_the_page_runs_and_has_the_live_token(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch, snippet: str
) -> None:
    monkeypatch.setenv("EVERGRANT_GETTER", neighbours.url)
    monkeypatch.setenv("EVERGRANT_ALLOW_LOOPBACK", "true")
    here = snippet.replace(API, neighbours.url).replace("http://localhost:2773", neighbours.url)
    names: dict[str, Any] = {}
    exec(compile(here, "docs/reading.md", "exec"), names)  # noqa: S102
    if "contacts" in names:
        assert names["contacts"].status_code == 200
        assert "/crm/rest/v1/contacts" in neighbours.called
    headers = names["token"]["headers"] if "token" in names else names.get("headers")
    assert headers is None or headers == {"Authorization": "Bearer access-1"}
    assert "contacts" in names or headers
    assert names.get("token", {}).get("access_token", "access-1") == "access-1"


def test_the_page_shows_every_way_in_and_each_is_short() -> None:
    assert len(PYTHON) == 9
    for snippet in PYTHON:
        steps = [line for line in snippet.splitlines() if line and not line.startswith(("import", "from"))]
        assert len(steps) <= 5, snippet


def table_after(heading: str) -> str:
    """The first column of the tables of a section."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return "\n".join(line.split("|")[1] for line in section.splitlines() if line.startswith("|"))


def test_the_page_names_every_field_of_the_document() -> None:
    named = table_after("The document")
    for field in {*document(), "expires_in", "warning"}:
        assert f"`{field}`" in named, field


def test_the_page_names_every_error_with_its_status_and_every_warning() -> None:
    section = PAGE.split("\n## Errors and warnings\n", 1)[1].split("\n## ", 1)[0]
    for problem, status in (
        (errors.UnknownConnection("keap/main"), 404),
        (errors.AuthorizationRequired("keap/main"), 409),
        (errors.ClientRefused("keap/main", "keap"), 409),
        (errors.Paused("keap/main"), 409),
        (errors.Disconnected("keap/main"), 410),
        (errors.TemporarilyUnavailable("Not now.", 7), 503),
    ):
        assert f"| `{problem.code}` | {status} |" in section
    for warning in ("degraded", "still_refused", "temporarily_unavailable"):
        assert f"| `{warning}` |" in section


def test_every_link_of_the_page_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", PAGE):
        if target and "://" not in target:
            assert (Path(__file__).parents[2] / "docs" / target).exists(), target
    headings = {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in PAGE.splitlines()}
    for anchor in re.findall(r"\]\(#([^)]*)\)", PAGE):
        assert anchor in headings, anchor
