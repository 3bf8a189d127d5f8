"""Call AWS: read a secret, invoke getter.

botocore is imported at the first call, not with the package: a function that never asks for a
token does not pay for it, and the import does not add to the consumer's import time.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ._answer import Answer, compute_seconds_behind
from ._errors import AccessDenied, EvergrantError, NotConfigured, TemporarilyUnavailable, UnexpectedAnswer

if TYPE_CHECKING:
    from botocore.config import Config

CONNECT_SECONDS = 2
SECRET_READ_SECONDS = 5
SECRET_ATTEMPTS = 3
# Getter lets its caller wait up to 25 s for a refresh under way. The rest is for its cold start.
GETTER_READ_SECONDS = 30

_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "KMSAccessDeniedException", "UnrecognizedClientException"}
)
# InvalidRequestException is how Secrets Manager refuses to read a secret that is scheduled for deletion.
_NO_SECRET = frozenset({"ResourceNotFoundException", "InvalidRequestException"})


class Session(Protocol):
    """As much of botocore's session as is used to read secrets and invoke getter."""

    def create_client(self, *args: Any, **kwargs: Any) -> Any: ...


class Boto3Session(Protocol):
    """As much of boto3's session as is used to read secrets and invoke getter."""

    def client(self, *args: Any, **kwargs: Any) -> Any: ...


class Aws:
    """Makes the two clients when they are first needed, and turns AWS's errors into this package's."""

    def __init__(self, session: Session | Boto3Session | None, clock: Callable[[], float]) -> None:
        self._session: Any = session
        self._clock = clock
        self._clients: dict[str, Any] = {}
        self._making = threading.Lock()  # making clients of one session is not thread-safe

    def read_secret(self, connection: str, name: str) -> Answer | None:
        """Return the secret's current version, or None if there is no such secret."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._get_client("secretsmanager").get_secret_value(SecretId=name)
        except ClientError as error:
            if _read_code(error) in _NO_SECRET:
                return None
            raise translate(error, connection, "reading its secret") from error
        except BotoCoreError as error:
            raise translate(error, connection, "reading its secret") from error
        text = answer.get("SecretString")
        return self._build_answer(text if isinstance(text, str) else "", answer)

    def invoke(self, connection: str, function: str, request: dict[str, object]) -> Answer:
        """Invoke getter, wait for its answer and return it."""
        from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError

        call = {"FunctionName": function, "InvocationType": "RequestResponse", "Payload": json.dumps(request).encode()}
        try:
            try:
                answer = self._get_client("lambda").invoke(**call)
            except ConnectionClosedError:
                # A kept connection dies while an idle function is frozen, and fails on the next request. Asking getter
                # twice is safe, and the first request took no time.
                answer = self._get_client("lambda").invoke(**call)
            payload: bytes = answer["Payload"].read()
        except ClientError as error:
            if _read_code(error) == "ResourceNotFoundException":
                raise NotConfigured("No function has getter's configured name.", connection=connection) from error
            raise translate(error, connection, "invoking getter") from error
        except BotoCoreError as error:
            raise translate(error, connection, "invoking getter") from error
        if answer.get("FunctionError"):
            # The payload is a stack trace. Getter logs it; it is not repeated here.
            raise TemporarilyUnavailable(f"Getter failed while asked for {connection}.", connection=connection)
        return self._build_answer(payload, answer)

    def session(self) -> Any:
        """Return the session that was given, or one of our own."""
        if self._session is None:
            from botocore.session import get_session

            self._session = get_session()
        return self._session

    def close(self) -> None:
        """Close the connections that are kept; the clients make new ones."""
        for client in list(self._clients.values()):
            client.close()

    def _build_answer(self, text: str | bytes, answer: dict[str, Any]) -> Answer:
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return Answer(text, compute_seconds_behind(headers.get("date"), self._clock()))

    def _get_client(self, service: str) -> Any:
        client = self._clients.get(service)
        if client is None:
            with self._making:
                client = self._clients.get(service) or self._make(service)
                self._clients[service] = client
        return client

    def _make(self, service: str) -> Any:
        session = self.session()
        create = getattr(session, "create_client", None) or session.client
        return create(service, config=_config(service))


def _config(service: str) -> Config:
    from botocore.config import Config

    if service == "lambda":
        # An SDK retry would ask for a second refresh while the first is under way, and the caller would
        # wait twice. So there is one attempt, and the caller decides.
        return Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=GETTER_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 1},
            tcp_keepalive=True,
        )
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=SECRET_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": SECRET_ATTEMPTS},
    )


def _read_code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def translate(error: Exception, connection: str, doing: str) -> EvergrantError:
    """Return this package's error for one of botocore."""
    from botocore.exceptions import (
        ClientError,
        NoCredentialsError,
        NoRegionError,
        ParamValidationError,
        PartialCredentialsError,
    )

    if isinstance(error, ClientError):
        code = _read_code(error)
        if code in _DENIED:
            return AccessDenied(f"AWS refused {doing} for {connection} ({code}).", connection=connection)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= 500 or status == 429 or "Throttl" in code or "TooManyRequests" in code:
            return TemporarilyUnavailable(f"AWS could not do {doing} for {connection} ({code}).", connection=connection)
        return UnexpectedAnswer(f"AWS failed {doing} for {connection} ({code}).", connection=connection)
    if isinstance(error, NoCredentialsError | PartialCredentialsError | NoRegionError | ParamValidationError):
        return NotConfigured(
            f"{doing.capitalize()} for {connection} is not possible as AWS is set up here ({type(error).__name__}).",
            connection=connection,
            hint="Give this process AWS credentials and a Region, and check EVERGRANT_GETTER and EVERGRANT_PREFIX.",
        )
    return TemporarilyUnavailable(
        f"AWS could not be reached {doing} for {connection} ({type(error).__name__}).", connection=connection
    )
