"""Ask getter by its path of the HTTP API, for consumers that may call one connection's path and nothing else.

The request is signed for API Gateway (AWS Signature Version 4, service ``execute-api``) with botocore and
sent with urllib3, which botocore depends on.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from ._answer import Answer, compute_seconds_behind
from ._aws import CONNECT_SECONDS, Aws, translate
from ._errors import AccessDenied, EvergrantError, NotConfigured, TemporarilyUnavailable, UnexpectedAnswer
from ._tokens import read_error

# An HTTP API answers within 30 s, also where its function does not.
READ_SECONDS = 31
# Far more than the longest token document; getter's own limit is 6 MB.
MAX_BYTES = 1_000_000

_DOING = "asking getter's API"
# An address of AWS names its Region. A custom domain is assumed to be in the Region of this process.
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
        self._url = _parse_url(url)
        self._aws = aws
        self._clock = clock
        self._making = threading.Lock()
        self._made: Any = None

    def ask(self, connection: str, request: Mapping[str, object]) -> Answer:
        """Return getter's token document; ``request`` is as for direct invocation."""
        import urllib3

        query = urlencode({name: value for name, value in request.items() if name != "connection"})
        # The name is not encoded: only its "@" could be, and need not be (RFC 3986 section 3.3). An encoded name would
        # be signed encoded twice.
        url = f"{self._url.geturl()}/tokens/{connection}?{query}"
        headers = self._sign(connection, url)
        # One request in a token's life: a kept connection would be dead when it is needed.
        headers["Connection"] = "close"
        try:
            response = self._get_pool().request(
                "GET",
                url,
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
                retries=False,
                redirect=False,  # a signature is valid for one address
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
            raise _build_error(connection, response.status, response.headers, body)
        return Answer(body, compute_seconds_behind(response.headers.get("date"), self._clock()))

    def _sign(self, connection: str, url: str) -> dict[str, str]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError, NoCredentialsError, NoRegionError

        try:
            with self._making:  # finding the credentials of one session is not thread-safe
                session = self._aws.session()
                credentials = session.get_credentials()
            if credentials is None:
                raise NoCredentialsError
            region = _find_region(self._url.hostname or "", session)
            if region is None:
                raise NoRegionError
            request = AWSRequest("GET", url, headers={"Accept": "application/json"})
            SigV4Auth(credentials.get_frozen_credentials(), "execute-api", region).add_auth(request)
        except BotoCoreError as error:
            raise translate(error, connection, _DOING) from error
        return {str(name): str(value) for name, value in request.headers.items()}

    def _get_pool(self) -> Any:
        with self._making:
            if self._made is None:
                import urllib3

                # As in the AWS SDKs: certificates other than the machine's own.
                self._made = urllib3.PoolManager(ca_certs=os.environ.get("AWS_CA_BUNDLE"))
            return self._made


def _parse_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.rstrip("/"))
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    local = os.environ.get("EVERGRANT_ALLOW_LOOPBACK") == "true" and _LOOPBACK.fullmatch(host or "")
    allowed = ("https", "http") if local else ("https",)
    if not host or port == 0 or parts.scheme not in allowed or parts.username or parts.query or parts.fragment:
        # Not repeated: it may hold a password.
        raise NotConfigured("Getter's URL is not an https address of its API.")
    return parts


def _find_region(host: str, session: Any) -> str | None:
    named = _REGION.search(host)
    if named:
        return named[1]
    # region_name is boto3's, get_config_variable botocore's.
    region = session.region_name if hasattr(session, "region_name") else session.get_config_variable("region")
    return region if isinstance(region, str) else None


def _build_error(connection: str, status: int, headers: Mapping[str, str], body: bytes) -> EvergrantError:
    """Return the error for a response: getter's own, as problem details (RFC 9457), or API Gateway's."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    # RFC 9110 section 10.2.3; getter and API Gateway give seconds, never a date.
    wait = headers.get("retry-after", "")
    retry_after = int(wait) if wait.isascii() and wait.isdecimal() and len(wait) < 9 else None
    if isinstance(problem, dict) and "code" in problem:
        # The detail says what happened this time (section 3.1.4), the title only the type of problem.
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
