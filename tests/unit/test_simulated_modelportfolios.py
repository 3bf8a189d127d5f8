"""Protects the simulated ModelPortfolios: a versioned Accept header without which nothing is answered, and an answer
that spells its fields in a way of its own.
"""

from collections.abc import Iterator

import httpx
import pytest

from local.providers import MODELPORTFOLIOS, Client, Provider, ProviderServer, fingerprint
from tests.unit.simulated import Clock, Simulated, refusal

_CLIENT = Client("app-1", "s3cret")
_ACCEPT = "application/json; version=1.0.0"
_OTHER_ACCEPTS = [
    "application/json",
    "application/json; version=1.0.1",
    "application/json; version=2.0.0",
    "application/json;version=1.0.0",
    f"{_ACCEPT}, */*",
    "*/*",
    "",
]


@pytest.fixture(scope="module")
def running() -> Iterator[Simulated]:
    clock = Clock()
    provider = Provider(MODELPORTFOLIOS, clients=(_CLIENT,), clock=clock)
    with ProviderServer(provider) as server, httpx.Client(base_url=server.url) as http:
        yield Simulated(provider, server, clock, http)


@pytest.fixture
def portfolios(running: Simulated) -> Simulated:
    running.provider.reset()
    return running


def _ask(
    simulated: Simulated, *, accept: str = _ACCEPT, without: str | None = None, **changes: object
) -> httpx.Response:
    fields = {
        "grant_type": "client_credentials",
        "client_id": _CLIENT.client_id,
        "client_secret": _CLIENT.client_secret,
        **changes,
    }
    body = {name: value for name, value in fields.items() if name != without}
    return simulated.http.post("/oauth/token", json=body, headers={"accept": accept})


def _token(simulated: Simulated) -> str:
    answer = _ask(simulated)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["accessTtoken"])


def _models(simulated: Simulated, token: str, accept: str = _ACCEPT) -> httpx.Response:
    return simulated.http.get("/model-portfolios", headers={"authorization": f"Bearer {token}", "accept": accept})


def test_the_response_spells_its_fields_as_documented_and_has_no_others(portfolios: Simulated) -> None:
    """The response spells its fields as the document does, and has no others."""
    answer = _ask(portfolios)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json().keys() == {"accessTtoken", "expiresIn", "tokenType"}
    assert (answer.json()["expiresIn"], answer.json()["tokenType"]) == (86400, "Bearer")


@pytest.mark.parametrize("accept", _OTHER_ACCEPTS)
def test_a_token_request_that_accepts_anything_else_is_refused(portfolios: Simulated, accept: str) -> None:
    assert refusal(_ask(portfolios, accept=accept)) == (406, "invalid_request")


@pytest.mark.parametrize("accept", _OTHER_ACCEPTS)
def test_a_call_that_accepts_anything_else_is_refused(portfolios: Simulated, accept: str) -> None:
    answer = _models(portfolios, _token(portfolios), accept)
    assert answer.status_code == 406
    assert answer.json()["message"]


@pytest.mark.parametrize("request_line", ["POST /oauth/token", "GET /model-portfolios"])
def test_two_accept_headers_are_not_the_one_that_is_wanted(portfolios: Simulated, request_line: str) -> None:
    method, path = request_line.split()
    headers = [("Accept", "*/*"), ("Accept", _ACCEPT), ("Authorization", f"Bearer {_token(portfolios)}")]
    assert portfolios.http.request(method, path, headers=headers).status_code == 406


def test_no_accept_header_at_all_is_refused(portfolios: Simulated) -> None:
    request = portfolios.http.build_request(
        "GET", "/model-portfolios", headers={"authorization": f"Bearer {_token(portfolios)}"}
    )
    del request.headers["accept"]
    assert portfolios.http.send(request).status_code == 406


def test_a_good_call_is_answered_for_a_day(portfolios: Simulated) -> None:
    token = _token(portfolios)
    portfolios.clock.advance(86399)
    assert _models(portfolios, token).json()["modelPortfolios"]
    portfolios.clock.advance(1)
    answer = _models(portfolios, token)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="ModelPortfolios", error="invalid_token"'


def test_asking_again_leaves_the_earlier_token_alive(portfolios: Simulated) -> None:
    first, second = _token(portfolios), _token(portfolios)
    assert first != second
    assert _models(portfolios, first).status_code == 200


def test_a_form_is_refused(portfolios: Simulated) -> None:
    fields = {"grant_type": "client_credentials", "client_id": "app-1", "client_secret": "s3cret"}
    answer = portfolios.http.post("/oauth/token", data=fields, headers={"accept": _ACCEPT})
    assert refusal(answer) == (415, "invalid_request")


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b'{"grant_type": 1}', b'{"client_id": "a", "client_id": "a"}'])
def test_a_body_that_is_no_json_object_of_texts_is_an_invalid_request(portfolios: Simulated, body: bytes) -> None:
    headers = {"content-type": "application/json", "accept": _ACCEPT}
    answer = portfolios.http.post("/oauth/token", content=body, headers=headers)
    assert refusal(answer) == (400, "invalid_request")


def test_a_missing_grant_type_is_an_invalid_request(portfolios: Simulated) -> None:
    assert refusal(_ask(portfolios, without="grant_type")) == (400, "invalid_request")


@pytest.mark.parametrize("grant_type", ["refresh_token", "authorization_code", "password"])
def test_another_grant_type_is_unsupported(portfolios: Simulated, grant_type: str) -> None:
    assert refusal(_ask(portfolios, grant_type=grant_type)) == (400, "unsupported_grant_type")


@pytest.mark.parametrize(
    "changes",
    [{"client_secret": "wrong"}, {"client_id": "absent"}, {"without": "client_secret"}, {"without": "client_id"}],
)
def test_a_client_that_does_not_prove_itself_is_invalid_client(portfolios: Simulated, changes: dict[str, str]) -> None:
    assert refusal(_ask(portfolios, **changes)) == (401, "invalid_client")


def test_basic_is_refused(portfolios: Simulated) -> None:
    answer = portfolios.http.post(
        "/oauth/token",
        json={"grant_type": "client_credentials"},
        headers={"accept": _ACCEPT},
        auth=(_CLIENT.client_id, _CLIENT.client_secret),
    )
    assert refusal(answer) == (401, "invalid_client")


def test_a_revoked_client_is_invalid_client_until_it_is_registered(
    portfolios: Simulated,
) -> None:
    """A client whose standing is revoked is invalid_client, until it is registered again."""
    token = _token(portfolios)
    portfolios.tell("revoke", {"client_id": _CLIENT.client_id})
    assert _models(portfolios, token).status_code == 401
    assert refusal(_ask(portfolios)) == (401, "invalid_client")
    portfolios.tell("clients", {"client_id": _CLIENT.client_id, "client_secret": "renewed"})
    assert _ask(portfolios, client_secret="renewed").status_code == 200


def test_the_lifetime_can_be_changed_while_it_runs(portfolios: Simulated) -> None:
    portfolios.tell("settings", {"access_token_lifetime": 5})
    answer = _ask(portfolios)
    assert answer.json()["expiresIn"] == 5
    portfolios.clock.advance(5)
    assert _models(portfolios, answer.json()["accessTtoken"]).status_code == 401


def test_what_is_shown_of_a_request_knows_the_token_by_its_odd_name(portfolios: Simulated) -> None:
    token = _token(portfolios)
    _ask(portfolios, client_secret="wrong")
    shown = portfolios.provider.requests()
    assert [request["issued"] for request in shown] == [{"access_token": fingerprint(token)}, {}]
    assert [request["error"] for request in shown] == [None, "invalid_client"]
    assert portfolios.ask("stats")["token_requests"] == {
        "total": 2,
        "ok": 1,
        "by_outcome": {"client_credentials": {"ok": 1, "invalid_client": 1}},
    }


@pytest.mark.parametrize("path", ["/oauth/token/", "/oauth/authorize"])
def test_there_is_no_other_address(portfolios: Simulated, path: str) -> None:
    assert portfolios.http.post(path).status_code == 404
