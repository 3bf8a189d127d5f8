"""Getter by its path of the HTTP API, for consumers that may call one connection's path and nothing else.

The request is signed for API Gateway (AWS Signature Version 4, service ``execute-api``) with botocore and
sent with urllib3, which botocore brings along.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from ._answer import Answer, seconds_behind
from ._aws import CONNECT_SECONDS, Aws, translate
from ._errors import AccessDenied, EvergrantError, NotConfigured, TemporarilyUnavailable, UnexpectedAnswer
from ._tokens import read_error

# An HTTP API answers within 30 s, itself if its function does not.
READ_SECONDS = 31
# Far more than the longest token document; getter's own limit is 6 MB.
MAX_BYTES = 1_000_000

_DOING = "asking getter's API"
# An address that AWS made up names its Region; a custom domain is taken to be in this process's own.
_REGION = re.compile(r"\.execute-api\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?")
_LOOPBACK = re.compile(r"localhost|127\.0\.0\.1|.+\.localhost")


class Api:
    """Asks getter over HTTP.

    Parameters
    ----------
    url : str
        The API's address (stack output ``ApiUrl``): https, or, with ``EVERGRANT_ALLOW_LOOPBACK=true`` of
        the local run, http to this machine.
    aws : Aws
        Where credentials and Region come from.
    clock : callable
        Returns the time in epoch seconds.

    Raises
    ------
    NotConfigured
        The URL is not one.
    """

    def __init__(self, url: str, aws: Aws, clock: Callable[[], float]) -> None:
        self._url = _checked(url)
        self._aws = aws
        self._clock = clock
        self._making = threading.Lock()
        self._made: Any = None

    def ask(self, connection: str, request: Mapping[str, object]) -> Answer:
        """Return getter's token document; ``request`` is as for direct invocation."""
        import urllib3

        query = urlencode({name: value for name, value in request.items() if name != "connection"})
        # The name goes as it is: of what it may hold, "@" alone could be encoded, and need not be (RFC 3986 section
        # 3.3). Encoded, it would be signed encoded twice.
        url = f"{self._url.geturl()}/tokens/{connection}?{query}"
        headers = self._signed(connection, url)
        # Asked once in a token's life: a connection kept till then would be dead when it is needed.
        headers["Connection"] = "close"
        try:
            response = self._pool().request(
                "GET",
                url,
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
                retries=False,
                redirect=False,  # a signature is good for one address
                preload_content=False,
            )
            try:
                body = response.read(MAX_BYTES + 1, decode_content=True)
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise TemporarilyUnavailable(
                f"Getter's API could not be reached for {connection} ({type(error).__name__}).", connection=connection
            ) from error
        if len(body) > MAX_BYTES:
            raise UnexpectedAnswer(f"Getter's API answered for {connection} with too much.", connection=connection)
        if response.status != 200:
            raise _problem(connection, response.status, response.headers, body)
        return Answer(body, seconds_behind(response.headers.get("date"), self._clock()))

    def _signed(self, connection: str, url: str) -> dict[str, str]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError, NoCredentialsError, NoRegionError

        try:
            with self._making:  # finding the credentials of one session is not thread-safe
                session = self._aws.session()
                credentials = session.get_credentials()
            if credentials is None:
                raise NoCredentialsError
            region = _region(self._url.hostname or "", session)
            if region is None:
                raise NoRegionError
            request = AWSRequest("GET", url, headers={"Accept": "application/json"})
            SigV4Auth(credentials.get_frozen_credentials(), "execute-api", region).add_auth(request)
        except BotoCoreError as error:
            raise translate(error, connection, _DOING) from error
        return {str(name): str(value) for name, value in request.headers.items()}

    def _pool(self) -> Any:
        with self._making:
            if self._made is None:
                import urllib3

                # What the AWS SDKs take for certificates other than the machine's own.
                self._made = urllib3.PoolManager(ca_certs=os.environ.get("AWS_CA_BUNDLE"))
            return self._made


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.rstrip("/"))
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    local = os.environ.get("EVERGRANT_ALLOW_LOOPBACK") == "true" and _LOOPBACK.fullmatch(host or "")
    allowed = ("https", "http") if local else ("https",)
    if not host or port == 0 or parts.scheme not in allowed or parts.username or parts.query or parts.fragment:
        # Not repeated: somebody may have put a password there.
        raise NotConfigured("Getter's URL is not an https address of its API.")
    return parts


def _region(host: str, session: Any) -> str | None:
    named = _REGION.search(host)
    if named:
        return named[1]
    # boto3's sessions have the one, botocore's the other.
    region = session.region_name if hasattr(session, "region_name") else session.get_config_variable("region")
    return region if isinstance(region, str) else None


def _problem(connection: str, status: int, headers: Mapping[str, str], body: bytes) -> EvergrantError:
    """Return the error of a refusal: getter's own as problem details (RFC 9457), or API Gateway's without."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    # RFC 9110 section 10.2.3; getter and API Gateway give seconds, never a date.
    wait = headers.get("retry-after", "")
    retry_after = int(wait) if wait.isascii() and wait.isdecimal() and len(wait) < 9 else None
    if isinstance(problem, dict) and "code" in problem:
        # What happened this time is the detail (section 3.1.4); the title says what kind of trouble it is.
        return read_error(connection, {"retry_after": retry_after, **problem, "message": problem.get("detail")})
    if status in (401, 403):
        return AccessDenied(
            f"AWS refused {_DOING} for {connection} ({status}).",
            connection=connection,
            hint=f"Allow execute-api:Invoke on GET/tokens/{connection} of Evergrant's API to this function's role.",
        )
    if status == 404:
        return NotConfigured("Getter's configured URL does not lead to its API.", connection=connection)
    if status == 429 or status >= 500:
        return TemporarilyUnavailable(
            f"Getter's API could not answer for {connection} ({status}).",
            connection=connection,
            retry_after=retry_after,
        )
    return UnexpectedAnswer(f"Getter's API answered for {connection} with status {status}.", connection=connection)
