"""Protects the connect flow against what has gone wrong with OAuth callbacks elsewhere, tried over HTTP against the
deployed stack. That nothing was sent is the provider's own word.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from local import connections
from local.browser import find_refresh
from local.providers import ProviderServer
from local.world import World
from tests.stack.deployed import COOKIE, Control, Journey, change_parameters, parameter, read_next_address, state_of

LONG = "x" * 16_384
AWAITING = ("awaiting_authorization", 0)


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(follow_redirects=False, trust_env=False, timeout=40) as client:
        yield client


@pytest.fixture(scope="module")
def journey(world: World, openid: ProviderServer, http: httpx.Client) -> Callable[[str], Journey]:
    """A journey from a new link for an account at the strict server."""

    def begin(account: str) -> Journey:
        answer = json.loads(world.evergrant("connect", f"openid/{account}", "--no-wait", "--json"))
        return Journey(http, answer["link"])

    return begin


@dataclass(frozen=True)
class Victim:
    """An account's owner who has consented, and whose browser is about to go to ``url``."""

    journey: Journey
    cookie: str
    url: str
    connection: str

    @property
    def state(self) -> str:
        return parameter(self.url, "state")

    def bare(self, query: str) -> str:
        return f"{self.url.partition('?')[0]}?{query}"


@pytest.fixture(scope="module")
def victim(journey: Callable[[str], Journey]) -> Victim:
    return someone(journey, "victim")


def someone(journey: Callable[[str], Journey], account: str) -> Victim:
    visit = journey(account)
    cookie = visit.cookie()
    return Victim(visit, cookie, visit.consent(visit.press(cookie)), f"openid/{account}")


def is_page(answer: httpx.Response) -> bool:
    return answer.headers["content-type"].startswith("text/html") and "<h1>" in answer.text


def by_method(method: str) -> Callable[[Victim], httpx.Response]:
    return lambda victim: victim.journey.handle_callback(victim.url, victim.cookie, method)


# --- what uses up nothing ---------------------------------------------------------------------------------------------

HARMLESS: dict[str, tuple[Callable[[Victim], httpx.Response], set[int]]] = {
    "no cookie": (lambda v: v.journey.handle_callback(v.url, None), {403}),
    "another browser's cookie": (lambda v: v.journey.handle_callback(v.url, "A" * 43), {403}),
    "no cookie of ours": (lambda v: v.journey.handle_callback(v.url, "x"), {403}),
    "a cookie of 16 KB": (lambda v: v.journey.handle_callback(v.url, LONG), {403, 431, 400}),
    "a state made up": (lambda v: v.journey.handle_callback(change_parameters(v.url, state="A" * 43), v.cookie), {404}),
    "no state": (lambda v: v.journey.handle_callback(change_parameters(v.url, state=None), v.cookie), {404}),
    "an empty state": (lambda v: v.journey.handle_callback(change_parameters(v.url, state=""), v.cookie), {404}),
    "the state twice": (lambda v: v.journey.handle_callback(f"{v.url}&state={v.state}", v.cookie), {400}),
    "the code twice": (lambda v: v.journey.handle_callback(f"{v.url}&code=another", v.cookie), {400}),
    "iss twice": (lambda v: v.journey.handle_callback(f"{v.url}&iss=https%3A%2F%2Fevil.example", v.cookie), {400}),
    "a state of 16 KB": (
        lambda v: v.journey.handle_callback(change_parameters(v.url, state=LONG), v.cookie),
        {400, 414, 431},
    ),
    "a code of 16 KB": (
        lambda v: v.journey.handle_callback(change_parameters(v.url, code=LONG), v.cookie),
        {400, 414, 431},
    ),
    "a line break in the state": (
        lambda v: v.journey.handle_callback(change_parameters(v.url, state=f"{v.state}\r\nx: y"), v.cookie),
        {400},
    ),
    "a line break in the code": (
        lambda v: v.journey.handle_callback(change_parameters(v.url, code="c\r\nSet-Cookie: a=b"), v.cookie),
        {400},
    ),
    "a line break in iss": (
        lambda v: v.journey.handle_callback(change_parameters(v.url, iss="https://x\r\ny"), v.cookie),
        {400},
    ),
    "a line break in an error": (
        lambda v: v.journey.handle_callback(change_parameters(v.url, error="a\nb"), v.cookie),
        {400},
    ),
    "a line break in an unknown parameter": (
        lambda v: v.journey.handle_callback(change_parameters(v.url, x="a\rb"), v.cookie),
        {400},
    ),
    "a line break in a name": (lambda v: v.journey.handle_callback(f"{v.url}&a%0d%0ab=c", v.cookie), {400}),
    "no text": (lambda v: v.journey.handle_callback(f"{v.url}&x=%ff", v.cookie), {400}),
    **{f"a {method}": (by_method(method), {405}) for method in ("POST", "HEAD", "PUT", "DELETE", "PATCH")},
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_foreign_response_is_refused_with_a_page_and_nothing_is_sent(
    victim: Victim, world: World, openid: ProviderServer, name: str
) -> None:
    """A response that is not the victim's own is refused with a page, and nothing is sent to the provider."""
    attack, statuses = HARMLESS[name]
    with Control(openid).requests() as arrived:
        answer = attack(victim)
    assert answer.status_code in statuses
    assert "HEAD" in name or answer.status_code in {414, 431} or is_page(answer)
    assert "set-cookie" not in answer.headers
    assert "location" not in answer.headers
    assert find_refresh(answer.text) is None
    assert victim.state not in answer.text
    assert arrived == []


def test_after_all_of_that_the_victims_own_answer_is_taken(
    journey: Callable[[str], Journey], world: World, openid: ProviderServer
) -> None:
    victim = someone(journey, "attacked")
    for attack, _ in HARMLESS.values():
        attack(victim)
    assert state_of(world, victim.connection) == AWAITING
    with Control(openid).requests() as arrived:
        assert victim.journey.handle_callback(victim.url, victim.cookie).status_code == 200
    assert len(arrived) == 1


# --- mix-up and injection ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("iss", [None, "", "https://evil.example", "https://login.openid.example/"])
def test_a_response_another_server_may_have_given_voids_the_state(
    journey: Callable[[str], Journey], world: World, openid: ProviderServer, iss: str | None
) -> None:
    """A response that another server may have given uses the state up and sends nothing."""
    victim = someone(journey, f"mixed-up-{len(iss or '') if iss is not None else 'none'}")
    with Control(openid).requests() as arrived:
        refused = victim.journey.handle_callback(change_parameters(victim.url, iss=iss), victim.cookie)
        again = victim.journey.handle_callback(victim.url, victim.cookie)
    assert (refused.status_code, is_page(refused)) == (403, True)
    assert again.status_code == 410, "who was attacked begins anew"
    assert arrived == []
    assert state_of(world, victim.connection) == AWAITING


def test_a_code_of_one_provider_never_goes_to_it_by_anothers_state(
    journey: Callable[[str], Journey], world: World, openid: ProviderServer, http: httpx.Client
) -> None:
    victim = someone(journey, "crossed")
    keap = Journey(http, world.link(connections.KEAP.for_account("crossed")))
    state = parameter(read_next_address(keap.press(victim.cookie)), "state")
    with Control(openid).requests() as strict, Control(world.providers["keap"]).requests() as other:
        answer = keap.handle_callback(change_parameters(victim.url, state=state), victim.cookie)
    assert answer.status_code == 403
    assert strict == other == []
    assert (
        keap.handle_callback(f"{world.stack.redirect_uri('keap')}?state={state}&code=c", victim.cookie).status_code
        == 410
    )
    assert state_of(world, "keap/crossed") == AWAITING


def test_an_attackers_code_is_refused_by_the_victims_code_verifier(
    journey: Callable[[str], Journey], world: World, openid: ProviderServer, http: httpx.Client
) -> None:
    """An attacker's code in the victim's response is refused by the code verifier."""
    victim = someone(journey, "injected")
    challenge = base64.urlsafe_b64encode(hashlib.sha256(b"the-attackers-own").digest()).decode().rstrip("=")
    response = read_next_address(victim.journey.press(victim.cookie))
    own = http.post(change_parameters(response, state="s", code_challenge=challenge), data={"decision": "allow"})
    stolen = parameter(own.headers["location"], "code")
    with Control(openid).requests() as arrived:
        answer = victim.journey.handle_callback(change_parameters(victim.url, code=stolen), victim.cookie)
    assert answer.status_code == 502
    assert [(request["status"], request["error"], request["issued"]) for request in arrived] == [
        (400, "invalid_grant", {})
    ]
    assert state_of(world, victim.connection) == AWAITING


# --- replay and double submission -------------------------------------------------------------------------------------


def test_a_replayed_state_or_code_sends_nothing(
    journey: Callable[[str], Journey], world: World, openid: ProviderServer
) -> None:
    """A replay of a state or code shows the outcome or is refused, and sends nothing."""
    victim = someone(journey, "replayed")
    with Control(openid).requests() as arrived:
        first = victim.journey.handle_callback(victim.url, victim.cookie)
        reload = victim.journey.handle_callback(victim.url, victim.cookie)
        thief = victim.journey.handle_callback(victim.url, "A" * 43)
        fresh = someone(journey, "replayed")
        code_again = fresh.journey.handle_callback(
            change_parameters(fresh.url, code=parameter(victim.url, "code")), fresh.cookie
        )
    assert [each.status_code for each in (first, reload, thief, code_again)] == [200, 200, 403, 410]
    assert first.text == reload.text
    assert len(arrived) == 1
    assert Control(openid).ask("stats")["codes"]["reused"] == 0
    assert state_of(world, victim.connection) == ("active", 1)


def test_two_answers_at_once_exchange_the_code_once(
    journey: Callable[[str], Journey], world: World, openid: ProviderServer
) -> None:
    victim = someone(journey, "twice")
    with Control(openid).requests() as arrived, ThreadPoolExecutor(4) as pool:
        statuses = list(
            pool.map(lambda _: victim.journey.handle_callback(victim.url, victim.cookie).status_code, range(4))
        )
    assert set(statuses) <= {200, 410}
    assert 200 in statuses
    assert len(arrived) == 1
    assert state_of(world, victim.connection) == ("active", 1)


def test_a_button_pressed_twice_at_once_leads_to_one_grant(
    journey: Callable[[str], Journey], world: World, openid: ProviderServer
) -> None:
    visit = journey("double")
    cookie = visit.cookie()
    with ThreadPoolExecutor(2) as pool:
        sent = list(pool.map(lambda _: visit.press(cookie), range(2)))
    urls = [visit.consent(response) for response in sent]
    with Control(openid).requests() as arrived, ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(lambda url: visit.handle_callback(url, cookie).status_code, urls))
    assert statuses == [200, 410]
    assert len(arrived) == 1
    assert state_of(world, "openid/double") == ("active", 1)


# --- the link and its button ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh(journey: Callable[[str], Journey]) -> Journey:
    return journey("fresh")


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {},
    ],
    ids=str,
)
def test_a_post_that_another_site_caused_is_refused(fresh: Journey, world: World, headers: dict[str, str]) -> None:
    answer = fresh.press(fresh.cookie(), headers)
    assert (answer.status_code, is_page(answer)) == (403, True)
    assert "location" not in answer.headers
    assert find_refresh(answer.text) is None
    assert state_of(world, "openid/fresh") == AWAITING


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data; boundary=x"])
def test_a_post_of_another_content_type_is_refused(fresh: Journey, kind: str) -> None:
    headers = {"sec-fetch-site": "same-origin", "content-type": kind}
    answer = fresh.press(fresh.cookie(), headers, content=b'{"a": 1}')
    assert (answer.status_code, is_page(answer)) == (415, True)


def test_a_post_without_the_pages_cookie_is_refused(fresh: Journey, http: httpx.Client) -> None:
    answer = http.post(fresh.link, headers={"sec-fetch-site": "same-origin"})
    assert (answer.status_code, is_page(answer)) == (403, True)


def test_a_scanners_head_is_answered_and_uses_up_nothing(fresh: Journey) -> None:
    shown, asked = fresh.open(), fresh.open("HEAD")
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["content-type"] == shown.headers["content-type"]
    assert asked.headers["cache-control"] == "no-store"
    assert fresh.open().status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_another_method_is_answered_with_the_allowed_ones(fresh: Journey, method: str) -> None:
    answer = fresh.open(method)
    assert (answer.status_code, is_page(answer)) == (405, True)
    assert answer.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("ticket", ["x", "A" * 43, "%0d%0aSet-Cookie:%20a=b", "..%2f..", "x" * 8000, "%00", "%ff"])
def test_a_made_up_ticket_is_unknown(fresh: Journey, http: httpx.Client, ticket: str) -> None:
    answer = http.get(f"{fresh.link.rpartition('/')[0]}/{ticket}")
    assert answer.status_code in {404, 400, 414}
    assert "set-cookie" not in answer.headers


def test_nothing_in_a_request_steers_where_the_browser_is_sent(
    fresh: Journey, world: World, openid: ProviderServer, http: httpx.Client
) -> None:
    evil = quote("https://evil.example/\r\nX-Evil: 1", safe="")
    cookie = fresh.cookie()
    for name in ("next", "redirect_uri", "return_to", "url", "state", "iss", "host"):
        answer = http.post(
            f"{fresh.link}?{name}={evil}",
            headers={
                "cookie": f"{COOKIE}={cookie}",
                "sec-fetch-site": "same-origin",
                "x-forwarded-host": "evil.example",
                "referer": "https://evil.example/",
            },
            data={"redirect_uri": "https://evil.example/"},
        )
        where = urlsplit(read_next_address(answer))
        assert f"{where.scheme}://{where.netloc}" == openid.url
        assert parameter(read_next_address(answer), "redirect_uri") == world.stack.redirect_uri("openid")
        assert "evil" not in f"{answer.headers} {answer.text}".lower()


def test_what_was_said_to_the_attackers_holds_no_secret(victim: Victim) -> None:
    answers: list[Any] = [attack(victim) for attack, _ in HARMLESS.values()]
    secrets = (victim.cookie, victim.state, parameter(victim.url, "code"), victim.journey.link.rpartition("/")[2])
    for answer in answers:
        assert not [secret for secret in secrets if secret in answer.text or secret in str(answer.headers)]
