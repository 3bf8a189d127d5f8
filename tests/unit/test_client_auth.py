"""Protects calls made with the auth classes: the profile's headers go along, required headers are demanded, and a
refused token costs at most one re-read and one forced refresh, after which the provider's answer is the caller's."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import httpx2
import pytest
import requests

import evergrant_client.httpx
import evergrant_client.httpx2
from evergrant_client import AuthorizationRequired, Evergrant, MissingHeaders
from evergrant_client.requests import EvergrantAuth as RequestsAuth
from tests.unit.client_fakes import GETTER, START, Clock, FakeAws, build_answer, fingerprint

KEAP = "keap/main"
HOUR = START + 3600


class Provider:
    """A real HTTP server that takes some tokens, refuses others, and notes what it was sent."""

    def __init__(self) -> None:
        self.accepted: set[str] = set()
        self.refusal = 401
        self.header = "Authorization"
        self.redirects: dict[str, str] = {}
        self.calls: list[tuple[str, str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = b""
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                token = self.headers.get(provider.header, "").removeprefix("Bearer ")
                provider.calls.append((self.path, token, body))
                provider.headers.append(dict(self.headers.items()))
                target = provider.redirects.get(self.path)
                ok = token in provider.accepted
                self.send_response((307 if target else 200) if ok else provider.refusal)
                if target and ok:
                    self.send_header("Location", target)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok" if ok else b"no")

            do_GET = do_POST = answer  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def tokens(self) -> list[str]:
        return [token for _, token, _ in self.calls]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def elsewhere() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def aws() -> FakeAws:
    aws = FakeAws()
    aws.publish(KEAP, "first", expires_at=HOUR)
    return aws


@pytest.fixture
def evergrant(aws: FakeAws) -> Evergrant:
    return Evergrant(prefix="evergrant", getter=GETTER, session=aws, clock=Clock())


Send = Callable[..., Any]
_AUTH_CLASSES = {"httpx": evergrant_client.httpx.EvergrantAuth, "httpx2": evergrant_client.httpx2.EvergrantAuth}


class Library:
    """httpx or httpx2, and the auth class for it."""

    def __init__(self, name: str) -> None:
        self.module: Any = {"httpx": httpx, "httpx2": httpx2}[name]
        self.auth: Any = _AUTH_CLASSES[name]


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Library:
    return Library(request.param)


@pytest.fixture(params=["httpx", "httpx2", "requests"])
def send(request: pytest.FixtureRequest, evergrant: Evergrant) -> Iterator[Send]:
    """Send one call with each library; the answer has status_code, headers and history in all."""
    if request.param != "requests":
        library = Library(request.param)
        auth = library.auth(KEAP, evergrant=evergrant)
        with library.module.Client(auth=auth, trust_env=False, follow_redirects=True) as client:
            yield lambda url, data=None, **kw: client.request("POST" if data else "GET", url, content=data, **kw)
    else:
        with requests.Session() as session:
            session.auth = RequestsAuth(KEAP, evergrant=evergrant)
            session.trust_env = False
            yield lambda url, data=None, **kw: session.request("POST" if data else "GET", url, data=data, **kw)


def renew(aws: FakeAws, token: str = "second") -> None:
    aws.getter = lambda _: build_answer(KEAP, token, expires_at=HOUR, generation=2)


# With all libraries, against a real server


def test_profile_headers_are_sent_and_override_the_librarys_own(send: Send, provider: Provider, aws: FakeAws) -> None:
    aws.publish(
        KEAP,
        "first",
        expires_at=HOUR,
        headers={"Authorization": "Bearer first", "Accept": "application/json; version=1"},
    )
    provider.accepted = {"first"}
    assert send(provider.url).status_code == 200
    assert provider.headers[0]["Accept"] == "application/json; version=1"


def test_call_without_a_required_header_is_not_sent(send: Send, provider: Provider, aws: FakeAws) -> None:
    aws.publish(KEAP, "first", expires_at=HOUR, required_headers=["x-user-id"])
    provider.accepted = {"first"}
    with pytest.raises(MissingHeaders, match="x-user-id"):
        send(provider.url)
    assert provider.calls == []
    assert send(provider.url, headers={"X-User-ID": "u-17"}).status_code == 200


def test_refused_token_is_replaced_by_what_the_secret_holds_now(send: Send, provider: Provider, aws: FakeAws) -> None:
    provider.accepted = {"first"}
    send(provider.url)
    provider.accepted = {"second"}
    aws.publish(KEAP, "second", expires_at=HOUR, generation=2)
    assert send(provider.url, data=b"body").status_code == 200
    assert provider.calls[1:] == [("/", "first", b"body"), ("/", "second", b"body")]
    assert len(aws.reads) == 2
    assert aws.caller_waits == []


def test_token_still_published_but_refused_is_renewed_with_its_fingerprint(
    send: Send, provider: Provider, aws: FakeAws
) -> None:
    provider.accepted = {"second"}
    renew(aws)
    assert send(provider.url).status_code == 200
    assert provider.tokens == ["first", "second"]
    assert aws.caller_waits == [{"connection": KEAP, "min_ttl": 70, "rejected": fingerprint("first")}]


def test_one_fresh_read_one_forced_refresh_then_the_caller_gets_the_401(
    send: Send, provider: Provider, aws: FakeAws
) -> None:
    """A 401 causes one fresh read and one forced refresh; after that the answer is the caller's."""
    provider.accepted = {"first"}
    send(provider.url)
    provider.accepted = set()
    del provider.calls[:], aws.reads[:]
    aws.publish(KEAP, "second", expires_at=HOUR, generation=2)
    aws.getter = lambda _: build_answer(KEAP, "third", expires_at=HOUR, generation=3)
    answer = send(provider.url)
    assert answer.status_code == 401
    assert provider.tokens == ["first", "second", "third"]
    assert len(aws.reads) == 1
    assert [asked["rejected"] for asked in aws.caller_waits] == [fingerprint("second")]


def test_same_token_from_getter_is_not_sent_again(send: Send, provider: Provider, aws: FakeAws) -> None:
    renew(aws, "first")
    assert send(provider.url).status_code == 401
    assert provider.tokens == ["first"]
    assert len(aws.caller_waits) == 1


def test_getters_error_leaves_the_providers_answer_and_is_logged(
    send: Send, provider: Provider, aws: FakeAws, caplog: pytest.LogCaptureFixture
) -> None:
    aws.getter = lambda _: {"error": {"code": "authorization_required", "message": "It must be authorized again."}}
    with caplog.at_level(logging.WARNING, "evergrant_client"):
        assert send(provider.url).status_code == 401
    assert "authorization_required" in caplog.text
    assert "first" not in caplog.text


def test_no_log_at_any_level_shows_a_token(
    send: Send,
    provider: Provider,
    elsewhere: Provider,
    aws: FakeAws,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws.publish(KEAP, "hush-first", expires_at=HOUR, headers={"X-Api-Token": "hush-first"})
    aws.getter = lambda _: build_answer(KEAP, "hush-next", expires_at=HOUR, headers={"X-Api-Token": "hush-next"})
    provider.header, provider.accepted = "X-Api-Token", {"hush-next"}
    provider.redirects["/moved"] = elsewhere.url + "/"
    # Evergrant's own functions keep urllib3 at INFO, and httpx silent; a consumer's function may not.
    for name in ("httpx", "httpcore.connection", "httpcore.http11"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger="urllib3"):
        send(provider.url + "/moved")
    assert provider.tokens == ["hush-first", "hush-next"]
    assert len(caplog.records) > 2, "the libraries say something"
    assert "hush" not in caplog.text


def test_error_before_anything_was_sent_is_raised(send: Send, provider: Provider, aws: FakeAws) -> None:
    aws.secrets.clear()
    aws.getter = lambda _: {"error": {"code": "authorization_required", "message": "It must be authorized again."}}
    with pytest.raises(AuthorizationRequired):
        send(provider.url)
    assert provider.calls == []


def test_only_the_profiles_statuses_count_as_refusals(send: Send, provider: Provider, aws: FakeAws) -> None:
    renew(aws)
    provider.refusal = 403
    assert send(provider.url).status_code == 403
    assert aws.caller_waits == []


def test_provider_that_refuses_with_403_is_understood(send: Send, provider: Provider, aws: FakeAws) -> None:
    aws.publish(KEAP, "first", expires_at=HOUR, reject_statuses=[403])
    renew(aws)
    provider.refusal = 403
    provider.accepted = {"second"}
    assert send(provider.url).status_code == 200


def test_generator_body_is_not_replayed_but_the_next_call_is_renewed(
    send: Send, provider: Provider, aws: FakeAws
) -> None:
    """A generator body is not replayed, but the next call has the new token."""
    renew(aws)
    provider.accepted = {"second"}
    assert send(provider.url, data=iter([b"a", b"b"])).status_code == 401
    assert provider.calls == [("/", "first", b"ab")]
    assert send(provider.url, data=iter([b"c"])).status_code == 200
    assert provider.calls[1:] == [("/", "second", b"c")]


def test_refusal_from_another_host_after_a_redirect_renews_nothing(
    send: Send, provider: Provider, elsewhere: Provider, aws: FakeAws
) -> None:
    renew(aws)
    provider.accepted = {"first"}
    provider.redirects["/moved"] = elsewhere.url + "/"
    assert send(provider.url + "/moved").status_code == 401
    assert elsewhere.tokens == [""]
    assert aws.caller_waits == []


def test_token_in_another_header_goes_to_no_other_host(
    send: Send, provider: Provider, elsewhere: Provider, aws: FakeAws
) -> None:
    aws.publish(KEAP, "first", expires_at=HOUR, headers={"X-Api-Token": "first"})
    aws.getter = lambda _: build_answer(
        KEAP, "second", expires_at=HOUR, generation=2, headers={"X-Api-Token": "second"}
    )
    provider.header, provider.accepted = "X-Api-Token", {"second"}
    provider.redirects = {"/moved": "/again", "/again": elsewhere.url + "/"}
    elsewhere.header, elsewhere.refusal = "X-Api-Token", 200
    assert send(provider.url + "/moved").status_code == 200
    assert [(path, token) for path, token, _ in provider.calls] == [
        ("/moved", "first"),
        ("/moved", "second"),
        ("/again", "second"),
    ]
    assert [{name.lower() for name in sent} & {"x-api-token", "authorization"} for sent in elsewhere.headers] == [set()]


def test_redirect_within_the_host_goes_on_with_the_renewed_token(send: Send, provider: Provider, aws: FakeAws) -> None:
    renew(aws)
    provider.accepted = {"second"}
    provider.redirects["/moved"] = "/here"
    assert send(provider.url + "/moved").status_code == 200
    assert [(path, token) for path, token, _ in provider.calls] == [
        ("/moved", "first"),
        ("/moved", "second"),
        ("/here", "second"),
    ]


def test_auth_object_is_shared_between_threads(send: Send, provider: Provider, aws: FakeAws) -> None:
    renew(aws)
    provider.accepted = {"second"}
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(send(provider.url).status_code)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 6
    assert len(aws.caller_waits) == 1


# What requests alone has, and what httpx and httpx2 have


def test_file_body_is_sent_again_from_where_it_began(provider: Provider, aws: FakeAws, evergrant: Evergrant) -> None:
    renew(aws)
    provider.accepted = {"second"}
    body = io.BytesIO(b"skipped, sent")
    body.seek(9)
    answer = requests.post(provider.url, data=body, auth=RequestsAuth(KEAP, evergrant=evergrant), timeout=10)
    assert answer.status_code == 200
    assert [sent for _, _, sent in provider.calls] == [b"sent", b"sent"]
    assert [earlier.status_code for earlier in answer.history] == [401]


async def test_async_client_renews_by_the_same_steps_without_blocking_the_loop(
    aws: FakeAws, evergrant: Evergrant, library: Library
) -> None:
    loop_thread = threading.get_ident()
    fetched_in: list[int] = []
    aws.before_read = lambda: fetched_in.append(threading.get_ident())
    renew(aws)
    sent: list[str] = []

    def api(request: Any) -> Any:
        sent.append(request.headers["Authorization"])
        return library.module.Response(200 if sent[-1] == "Bearer second" else 401)

    auth = library.auth(KEAP, evergrant=evergrant)
    async with library.module.AsyncClient(auth=auth, transport=library.module.MockTransport(api)) as client:
        answer = await client.post("https://api.example.com/", content=b"body")
        assert answer.status_code == 200
        assert sent == ["Bearer first", "Bearer second"]
        assert loop_thread not in fetched_in
        assert (await client.get("https://api.example.com/")).status_code == 200


async def test_async_client_takes_a_token_in_another_header_to_no_other_host(
    provider: Provider, elsewhere: Provider, aws: FakeAws, evergrant: Evergrant, library: Library
) -> None:
    aws.publish(KEAP, "first", expires_at=HOUR, headers={"X-Api-Token": "first"})
    provider.header, provider.accepted = "X-Api-Token", {"first"}
    provider.redirects["/moved"] = elsewhere.url + "/"
    events: list[str] = []

    async def trace(event: str, info: object) -> None:
        events.append(event)

    auth = library.auth(KEAP, evergrant=evergrant)
    async with library.module.AsyncClient(auth=auth, trust_env=False, follow_redirects=True) as client:
        await client.get(provider.url + "/moved", extensions={"trace": trace})
    assert provider.tokens == ["first"]
    assert "X-Api-Token" not in elsewhere.headers[0]
    assert "http11.send_request_headers.started" in events, "the caller's own trace goes on"


async def test_tasks_that_wait_for_a_token_share_its_fetch_and_hold_no_threads(
    aws: FakeAws, evergrant: Evergrant, library: Library
) -> None:
    going, entered = threading.Event(), asyncio.Event()
    loop, threads_before = asyncio.get_running_loop(), threading.active_count()
    aws.secrets.clear()
    aws.getter = lambda _: {"error": {"code": "authorization_required", "message": "It must be authorized again."}}

    def hold() -> None:
        loop.call_soon_threadsafe(entered.set)
        assert going.wait(10)

    aws.before_read = hold
    auth = library.auth(KEAP, evergrant=evergrant)
    transport = library.module.MockTransport(lambda _: library.module.Response(200))
    async with library.module.AsyncClient(auth=auth, transport=transport) as client:
        tasks = [asyncio.create_task(client.get("https://api.example.com/")) for _ in range(100)]
        await entered.wait()
        for _turn in range(10):
            await asyncio.sleep(0)  # every task has come as far as it can
        assert threading.active_count() - threads_before <= 1
        going.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {AuthorizationRequired}
    assert (len(aws.reads), len(aws.caller_waits)) == (1, 1)


async def test_tasks_refused_with_the_same_token_renew_it_once(
    aws: FakeAws, evergrant: Evergrant, library: Library
) -> None:
    renew(aws)

    def api(request: Any) -> Any:
        return library.module.Response(200 if request.headers["Authorization"] == "Bearer second" else 401)

    auth = library.auth(KEAP, evergrant=evergrant)
    async with library.module.AsyncClient(auth=auth, transport=library.module.MockTransport(api)) as client:
        answers = await asyncio.gather(*(client.get("https://api.example.com/") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert (len(aws.reads), len(aws.caller_waits)) == (2, 1)


async def test_slow_connection_does_not_hold_up_another(aws: FakeAws, evergrant: Evergrant, library: Library) -> None:
    aws.publish("acme/other", "other", expires_at=HOUR)
    going, entered = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def getter(_: object) -> dict[str, Any]:
        loop.call_soon_threadsafe(entered.set)
        assert going.wait(10)
        return build_answer("acme/slow", "slow", expires_at=HOUR)

    aws.getter = getter
    transport = library.module.MockTransport(lambda _: library.module.Response(200))
    async with library.module.AsyncClient(transport=transport) as client:
        slow = asyncio.create_task(
            client.get("https://api.example.com/", auth=library.auth("acme/slow", evergrant=evergrant))
        )
        await entered.wait()
        other = await client.get("https://api.example.com/", auth=library.auth("acme/other", evergrant=evergrant))
        going.set()
        assert {other.status_code, (await slow).status_code} == {200}


def test_each_event_loop_is_served(aws: FakeAws, evergrant: Evergrant, library: Library) -> None:
    async def call() -> int:
        transport = library.module.MockTransport(lambda _: library.module.Response(200))
        async with library.module.AsyncClient(
            auth=library.auth(KEAP, evergrant=evergrant), transport=transport
        ) as client:
            return int((await client.get("https://api.example.com/")).status_code)

    for _ in range(2):  # a function that calls asyncio.run in each invocation
        assert asyncio.run(call()) == 200
        evergrant._forget()
    assert len(aws.reads) == 2


async def test_async_stream_body_is_not_replayed(aws: FakeAws, evergrant: Evergrant, library: Library) -> None:
    renew(aws)
    calls: list[bytes] = []

    async def api(request: Any) -> Any:
        calls.append(await request.aread())
        return library.module.Response(401)

    async def body() -> AsyncIterator[bytes]:
        yield b"a"

    auth = library.auth(KEAP, evergrant=evergrant)
    async with library.module.AsyncClient(auth=auth, transport=library.module.MockTransport(api)) as client:
        assert (await client.post("https://api.example.com/", content=body())).status_code == 401
    assert calls == [b"a"]


def test_each_library_takes_the_auth_class_that_is_its_own(library: Library) -> None:
    other = next(each for name, each in _AUTH_CLASSES.items() if name != library.module.__name__)
    with library.module.Client(auth=library.auth(KEAP)):
        pass
    # It is no subclass of the library's Auth, and no function either.
    with pytest.raises(TypeError):
        library.module.Client(auth=other(KEAP))
