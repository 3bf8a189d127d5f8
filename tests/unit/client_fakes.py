"""Strict stand-ins for Secrets Manager and Lambda as `evergrant_client` uses them, and a clock to move by hand.

They refuse what AWS or getter would refuse, so that a test cannot pass with a request that would not work.
`SignedApi` is a real HTTP server, which checks signatures as AWS documents them, without botocore.
"""

# ruff: noqa: N803 - arguments are named as botocore names them.

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from botocore.exceptions import ClientError

from evergrant.getter import handler

START = 1_800_000_000.0
GETTER = "arn:aws:lambda:eu-west-1:123456789012:function:evergrant-getter"


class Clock:
    """Epoch seconds that the test advances."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds


def rfc3339(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fingerprint(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def build_answer(connection: str, token: str, *, expires_at: float, **other: Any) -> dict[str, Any]:
    """Return what rotator publishes, as of the contract between rotator and consumers."""
    return {
        "connection": connection,
        "access_token": token,
        "token_type": "Bearer",
        "expires_at": rfc3339(expires_at),
        "scope": "full",
        "headers": {"Authorization": f"Bearer {token}"},
        "required_headers": [],
        "reject_statuses": [401],
        "captured": {},
        "generation": 1,
        **other,
    }


def refusal(code: str, **other: Any) -> dict[str, Any]:
    """Return getter's typed error."""
    return {"error": {"code": code, "message": f"It is {code}.", "hint": "Do something.", **other}}


def client_error(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "said by AWS"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "Operation",
    )


class FakeAws:
    """A session whose two clients answer from memory and note every call."""

    def __init__(self) -> None:
        self.secrets: dict[str, str | Exception] = {}
        self.getter: Callable[[dict[str, Any]], dict[str, Any] | bytes | Exception] | None = None
        self.function_error = False
        self.reads: list[str] = []
        self.caller_waits: list[dict[str, Any]] = []
        self.configs: dict[str, Any] = {}
        self.made = 0
        self.closed = 0
        self.server_time: str | None = None  # a Date header
        self.before_read: Callable[[], None] = lambda: None
        self._alone = threading.Lock()

    def publish(self, connection: str, token: str, *, expires_at: float, **other: Any) -> None:
        document = build_answer(connection, token, expires_at=expires_at, **other)
        self.secrets[f"evergrant/tokens/{connection}"] = json.dumps(document)

    def create_client(self, service_name: str, *, config: Any) -> Any:
        assert service_name in {"secretsmanager", "lambda"}
        self.configs[service_name] = config
        self.made += 1
        return _Secrets(self) if service_name == "secretsmanager" else _Lambda(self)


class _Client:
    def __init__(self, aws: FakeAws) -> None:
        self._aws = aws

    def close(self) -> None:
        self._aws.closed += 1

    def _metadata(self) -> dict[str, Any]:
        date = self._aws.server_time
        return {"ResponseMetadata": {"HTTPHeaders": {"date": date} if date else {}}}


class _Secrets(_Client):
    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:
        assert re.fullmatch(r"[A-Za-z0-9/_+=.@-]{1,512}", SecretId)
        assert self._aws._alone.acquire(blocking=False), "two fetches at a time"
        try:
            self._aws.reads.append(SecretId)
            self._aws.before_read()
            held = self._aws.secrets.get(SecretId)
        finally:
            self._aws._alone.release()
        if held is None:
            raise client_error("ResourceNotFoundException")
        if isinstance(held, Exception):
            raise held
        return {"Name": SecretId, "SecretString": held, "VersionStages": ["AWSCURRENT"], **self._metadata()}


class _Lambda(_Client):
    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:
        assert InvocationType == "RequestResponse"
        if FunctionName != GETTER or self._aws.getter is None:
            raise client_error("ResourceNotFoundException", 404)
        request = json.loads(Payload)
        assert set(request) - {"rejected"} == {"connection", "min_ttl"}
        assert isinstance(request["min_ttl"], int)
        assert request["min_ttl"] >= 0
        assert re.fullmatch(r"[0-9a-f]{16}", request.get("rejected", "0" * 16))
        self._aws.caller_waits.append(request)
        answer = self._aws.getter(request)
        if isinstance(answer, Exception):
            raise answer
        payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        said: dict[str, Any] = {"StatusCode": 200, "Payload": io.BytesIO(payload), **self._metadata()}
        if self._aws.function_error:
            said["FunctionError"] = "Unhandled"
        return said


Reply = tuple[int, Mapping[str, str], bytes]


class SignedApi:
    """Getter's path of the HTTP API as API Gateway and getter serve it: signature first, then getter's own code."""

    region = "eu-west-1"
    key = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a session token")

    def __init__(self) -> None:
        self.getter: Callable[[dict[str, Any]], dict[str, Any]] = lambda _: refusal("unknown_connection")
        self.reply: Reply | None = None  # what API Gateway itself says instead
        self.caller_waits: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.refused = 0
        self.url = ""

    def read(self, connection: str, min_ttl: int, rejected: str | None) -> dict[str, Any]:
        """Stand in for getter's reader."""
        request = {"connection": connection, "min_ttl": min_ttl, "rejected": rejected}
        self.caller_waits.append({name: value for name, value in request.items() if value is not None})
        return self.getter(request)

    def serve(self, method: str, target: str, headers: Mapping[str, str]) -> Reply:
        self.paths.append(target)
        if not self._is_signed(method, target, headers):
            self.refused += 1
            return 403, {"content-type": "application/json"}, b'{"message":"Forbidden"}'
        if self.reply is not None:
            return self.reply
        parts = urlsplit(target)
        found = re.fullmatch(r"/tokens/([^/]+)/([^/]+)", parts.path)
        if found is None:
            return 404, {}, b'{"message":"Not Found"}'
        event = {
            "requestContext": {},
            "pathParameters": {"provider": found[1], "account": found[2]},
            "queryStringParameters": dict(parse_qsl(parts.query)),
        }
        answer = handler.handle_event(self, event)  # type: ignore[arg-type]
        return answer["statusCode"], answer["headers"], answer["body"].encode()

    def _is_signed(self, method: str, target: str, headers: Mapping[str, str]) -> bool:
        """Recompute the signature: IAM User Guide, "Create a signed AWS API request"."""
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/execute-api/aws4_request, "
            r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
            headers.get("Authorization", ""),
        )
        if found is None or found[1] != self.key[0] or found[3] != self.region:
            return False
        signed = found[4].split(";")
        if not {"host", "x-amz-date", "x-amz-security-token"} <= set(signed):
            return False
        if headers["X-Amz-Security-Token"] != self.key[2] or not headers["X-Amz-Date"].startswith(found[2]):
            return False
        parts = urlsplit(target)
        query = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in parse_qsl(parts.query))
        canonical = "\n".join(
            [
                method,
                quote(parts.path, safe="/-_.~"),
                "&".join(f"{name}={value}" for name, value in query),
                *(f"{name}:{headers[name].strip()}" for name in signed),
                "",
                found[4],
                hashlib.sha256(b"").hexdigest(),
            ]
        )
        scope = f"{found[2]}/{self.region}/execute-api/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"AWS4{self.key[1]}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        text = f"AWS4-HMAC-SHA256\n{headers['X-Amz-Date']}\n{scope}\n{digest}"
        return hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), found[5])


@contextmanager
def signed_api() -> Iterator[SignedApi]:
    """Serve it on loopback."""
    api = SignedApi()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = api.serve("GET", self.path, self.headers)  # type: ignore[arg-type]
            self.send_response_only(status)  # and no Date header: the client has a clock of its own
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
