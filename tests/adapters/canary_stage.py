"""A deployment on moto with a provider on loopback where every secret is a canary, and a watch over all that leaves."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from evergrant.adapters.aws.sdk import client
from evergrant.adapters.aws.secrets_manager import SecretsVault
from evergrant.adapters.observability import logger, metrics
from evergrant.oauth.issuance import describe_issuance
from evergrant.oauth.token_set import TokenSet
from evergrant.profiles import built_in
from evergrant.profiles.model import content_hash
from evergrant.record import refresh_schedule
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.handler import handle_request, process_batch
from evergrant.secret import Secret
from evergrant.wiring import deployment
from tests.adapters.hooks import on
from tests.adapters.leaks import everything_in, find_secrets
from tests.adapters.loopback import Behaviour, Server, answers, serving
from tests.adapters.samples import NAME, NOW

#: What may go to the provider alone.
PRIVATE = {
    "old refresh token": "canary/refresh+1==7f1b",
    "new refresh token": "canary/refresh+2==7f1b",
    "client secret": "canary:client&secret 7f1b",
    "older client secret": "canary:older&secret 7f1b",
    "code": "canary/code=7f1b",
}
#: What may also go into the connection's secret, and to who asked.
PUBLISHED = {"old access token": "canary-access-1-7f1b", "new access token": "canary-access-2-7f1b"}
CANARIES = {**PRIVATE, **PUBLISHED}
SECRET = f"evergrant/tokens/{NAME}"
SERVICES = ("dynamodb", "secretsmanager", "kms", "sqs", "events")

GRANTED = {
    "access_token": PUBLISHED["new access token"],
    "refresh_token": PRIVATE["new refresh token"],
    "expires_in": 86_400,
    "token_type": "bearer",
    "scope": "full",
}
#: A provider that tells everything it knows, in every kind of answer that is no token set.
GOSSIP = {"error_description": "; ".join(CANARIES.values()), "message": list(CANARIES.values())}
TALKATIVE = json.dumps(GOSSIP).encode()


def refuses(error: str) -> Behaviour:
    return answers(json.dumps({"error": error, **GOSSIP}).encode(), "400 No")


class Clock:
    """A clock that advances only when its caller waits."""

    def __init__(self) -> None:
        self.time = float(NOW)

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


@dataclass
class Outside:
    """Everything that left the process, by the way it went."""

    aws: list[tuple[str, bytes]] = field(default_factory=list)
    logged: io.StringIO = field(default_factory=io.StringIO)
    unredacted: io.StringIO = field(default_factory=io.StringIO)

    def saw(self, request: Any, event_name: str, **_: Any) -> None:
        body = request.body if isinstance(request.body, bytes) else str(request.body or "").encode()
        head = f"{request.url}\n{dict(request.headers)}".encode()
        self.aws.append((event_name.removeprefix("before-send."), head + b"\n" + body))

    def calls(self, operation: str) -> list[bytes]:
        return [sent for name, sent in self.aws if name.endswith(f".{operation}")]


class Bare(logging.Handler):
    """Writes down records as they were handed in, before any redaction."""

    def __init__(self, stream: io.StringIO) -> None:
        super().__init__()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        self.stream.write(f"{record.getMessage()} {record.__dict__!r}\n")
        if record.exc_info and record.exc_info[1]:
            self.stream.write(everything_in(record.exc_info[1]))


@contextmanager
def watching() -> Iterator[Outside]:
    outside = Outside()
    bare, root = Bare(outside.unredacted), logging.getLogger()
    own: Any = logger.registered_handler
    stream, level = own.setStream(outside.logged), root.level
    root.addHandler(bare)
    root.setLevel(logging.INFO)
    logger.addHandler(bare)
    try:
        with ExitStack() as stack:
            for service in SERVICES:
                stack.enter_context(on(service, "before-send", outside.saw))
            yield outside
    finally:
        own.setStream(stream)
        root.removeHandler(bare)
        root.setLevel(level)
        logger._logger.removeHandler(bare)
        metrics.clear_metrics()


@dataclass
class Stage:
    """A deployment with one connection, due now, at a provider whose answers the test sets."""

    ports: Any
    clock: Clock
    server: Server

    def rotation(self) -> Rotation:
        return Rotation(self.ports, deployment.load_settings(), self.clock.now() + 60)

    def work(self, **task: Any) -> dict[str, Any]:
        message = {"messageId": "m", "body": json.dumps({"connection": NAME, **task})}
        return process_batch(self.rotation, [message], self.clock, self.clock.now() + 60)

    def ask(self, **request: Any) -> dict[str, Any]:
        return handle_request(self.rotation(), self.ports, {"connection": NAME, **request})

    @property
    def record(self) -> Connection:
        record: Connection | None = self.ports.records.get(NAME)
        assert record is not None
        return record


@contextmanager
def stage(behave: Behaviour) -> Iterator[Stage]:
    keap, clock = built_in.load_built_in()["keap"], Clock()
    ports = replace(deployment.build_rotation_ports(), clock=clock)
    with serving(behave) as server:
        secrets = [PRIVATE["client secret"], PRIVATE["older client secret"]]
        entry = {"client_id": "app-1", "client_secrets": secrets, "hosts": [server.host]}
        SecretsVault("evergrant").store_client("keap", entry)
        tokens = TokenSet(
            Secret(PUBLISHED["old access token"]), NOW - 86_000, NOW + 400, "r", Secret(PRIVATE["old refresh token"])
        )
        record = Connection(
            NAME,
            Status.ACTIVE,
            "authorization_code",
            "keap",
            content_hash(keap),
            variables={"host": server.host, "login_host": server.host},
            generation=7,
            published_generation=7,
            issued_at=tokens.issued_at,
            expires_at=tokens.expires_at,
            refresh_at=NOW,
            due_at=NOW,
            due_shard=refresh_schedule.choose_shard(NAME),
        )
        issuance = describe_issuance(keap, record, ports.vault.client("keap"))
        sealed = ports.seal.prepare(NAME, 7).seal(tokens.encode(issuance))
        ports.records.create(replace(record, sealed=sealed))
        yield Stage(ports, clock, server)


def inactive() -> dict[str, bytes]:
    """What AWS holds afterwards: tables, queue, and secrets other than the client's own entry."""
    tables = [client("dynamodb").scan(TableName=name)["Items"] for name in ("records", "authorizations")]
    queue = client("sqs").get_queue_url(QueueName="rotation")["QueueUrl"]
    messages = client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    names = [entry["Name"] for entry in client("secretsmanager").list_secrets()["SecretList"]]
    published = [
        client("secretsmanager").get_secret_value(SecretId=name)["SecretString"] for name in names if "tokens" in name
    ]
    return {
        "tables": b"\n".join(_bytes_in(tables)),
        "queue": json.dumps([message["Body"] for message in messages]).encode(),
        "secrets": json.dumps(published).encode(),
    }


def _bytes_in(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(name).encode()
            yield from _bytes_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _bytes_in(inner)
    else:
        yield value if isinstance(value, bytes) else str(value).encode()


def nothing_leaked(outside: Outside) -> None:
    for name, sent in outside.aws:
        to_the_secret = name.endswith((".PutSecretValue", ".CreateSecret")) and SECRET.encode() in sent
        assert find_secrets(sent, PRIVATE if to_the_secret else CANARIES) == set(), name
    for text in (outside.logged, outside.unredacted):
        assert find_secrets(text.getvalue(), CANARIES) == set()
    held = inactive()
    assert find_secrets(held["tables"], CANARIES) == set()
    assert find_secrets(held["queue"], CANARIES) == set()
    assert find_secrets(held["secrets"], PRIVATE) == set()
