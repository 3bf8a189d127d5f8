"""What the tests of the deployed stack look at."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx

from local.browser import Form, Page, find_refresh
from local.consumer_stack import Consumer
from local.providers import ProviderServer, fingerprint
from local.world import World

# Everything here happens within a second or two; this is what a busy machine is allowed.
PATIENCE_SECONDS = 45


@dataclass
class EventsQueue:
    """Evergrant's events, as a rule on its bus delivers them to another queue."""

    consumer: Consumer
    seen: list[dict[str, Any]] = field(default_factory=list)

    def wait_for(self, kind: str, connection: str, generation: int | None = None) -> dict[str, Any]:
        """The event of this kind, waited for with SQS's own long polling; it may have been seen before."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            for event in self.seen:
                detail = event["detail"]
                if (
                    (event["detail-type"], detail["connection"]) == (kind, connection)
                    and generation in (None, detail.get("generation"))
                ):  # fmt: skip
                    return event
            assert time.monotonic() < deadline, f"no {kind} of {connection}: {self.seen}"
            self.seen += self.consumer.receive_events(wait_seconds=2)


@dataclass(frozen=True)
class Control:
    """A simulated provider as it shows and changes itself, over HTTP."""

    server: ProviderServer

    def ask(self, what: str) -> Any:
        return httpx.get(f"{self.server.url}/_control/{what}").raise_for_status().json()

    def tell(self, what: str, command: dict[str, object]) -> Any:
        return httpx.post(f"{self.server.url}/_control/{what}", json=command).raise_for_status().json()

    @contextmanager
    def requests(self) -> Iterator[list[dict[str, Any]]]:
        """The token requests that arrive while the block runs; the list is filled at its end."""
        arrived: list[dict[str, Any]] = []
        before = self.ask("stats")["token_requests"]["total"]
        yield arrived
        new = self.ask("stats")["token_requests"]["total"] - before
        arrived += self.ask(f"requests?last={new}")["requests"]

    def grant_of(self, access_token: str) -> dict[str, Any]:
        """The grant that a living access token belongs to."""
        grants = self.ask("grants")["grants"]
        found: dict[str, Any] = next(grant for grant in grants if fingerprint(access_token) in grant["access_tokens"])
        return found


COOKIE = "__Host-evergrant"


@dataclass(frozen=True)
class Journey:
    """A browser on the way from a link to the callback, request by request, that sends only what each test wants."""

    http: httpx.Client
    link: str

    def open(self, method: str = "GET", **more: Any) -> httpx.Response:
        return self.http.request(method, self.link, **more)

    def cookie(self) -> str:
        """What the browser is given with the page."""
        (line,) = self.open().headers.get_list("set-cookie")
        return str(line.partition(";")[0].partition("=")[2])

    def press(self, cookie: str, headers: Mapping[str, str] | None = None, **more: Any) -> httpx.Response:
        """Press the page's button."""
        given = {"sec-fetch-site": "same-origin"} if headers is None else headers
        return self.http.post(self.link, headers={"cookie": f"{COOKIE}={cookie}", **given}, **more)

    def consent(self, response: httpx.Response, decision: str = "allow") -> str:
        """Decide at the provider; the address that the browser is then sent to."""
        decided = self.http.post(read_next_address(response), data={"decision": decision})
        assert decided.status_code == 303, decided.text
        return str(decided.headers["location"])

    def handle_callback(self, url: str, cookie: str | None, method: str = "GET") -> httpx.Response:
        """Come back to the callback."""
        return self.http.request(method, url, headers={"cookie": f"{COOKIE}={cookie}"} if cookie else {})

    def walk(self, cookie: str | None = None) -> httpx.Response:
        """The whole way."""
        cookie = cookie or self.cookie()
        return self.handle_callback(self.consent(self.press(cookie)), cookie)


def read_next_address(response: httpx.Response) -> str:
    """The address that the answer to the button leads on to."""
    assert response.status_code == 200, response.text
    address = find_refresh(response.text)
    assert address is not None, response.text
    return address


def change_parameters(url: str, **parameters: str | None) -> str:
    """An address with other parameters; None leaves one out."""
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query)) | parameters
    return urlunsplit(parts._replace(query=urlencode({name: text for name, text in given.items() if text is not None})))


def parameter(url: str, name: str) -> str:
    return dict(parse_qsl(urlsplit(url).query))[name]


def state_of(world: World, connection: str) -> tuple[str, int]:
    """Status and generation, as the operator sees them."""
    shown = json.loads(world.evergrant("status", connection, "--json", statuses=(0, 3)))["connections"][0]
    return shown["status"], shown["generation"]


def read_document(world: World, connection: str) -> dict[str, Any]:
    """The document in a connection's secret."""
    secret = world.aws.client("secretsmanager").get_secret_value(SecretId=f"evergrant/tokens/{connection}")
    document: dict[str, Any] = json.loads(secret["SecretString"])
    return document


def force_refresh(world: World, connection: str) -> dict[str, Any]:
    """Rotator's answer to a request that forces a refresh."""
    answer = world.aws.client("lambda").invoke(
        FunctionName=world.stack.outputs["RotatorFunctionArn"],
        Payload=json.dumps({"connection": connection, "force": True}).encode(),
    )
    document: dict[str, Any] = json.loads(answer["Payload"].read())
    return document


def button(page: Page, decision: str) -> Form:
    """The form behind a provider's Allow or Deny."""
    return next(form for form in page.forms if form.fields.get("decision") == decision)


def record_key() -> dict[str, dict[str, str]]:
    return {"pk": {"S": "connection#keap/main"}}


def data_key(record: dict[str, Any]) -> bytes:
    """The encrypted data key inside a record's sealed set."""
    sealed = record["sealed"]
    key = sealed["M"]["key"]["B"] if "M" in sealed else json.loads(sealed["S"])["key"]
    assert isinstance(key, bytes)
    return key
