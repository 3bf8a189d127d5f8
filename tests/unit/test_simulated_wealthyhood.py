"""Protects the simulated Wealthyhood: JSON token requests with an audience, no grant to lose but the client's own
standing, and an API that wants to know for which user it is called.
"""

import json
from collections.abc import Iterator

import httpx
import pytest

from local.providers import WEALTHYHOOD, Client, Provider, ProviderServer
from tests.unit.simulated import Clock, Simulated, refusal

_AUDIENCE = "https://api.wealthyhood.example"
_CLIENT = Client("app-1", "s3cret")
_OTHER_AUDIENCE = Client("app-2", "s3cret-2", audience="https://sandbox.wealthyhood.example")


@pytest.fixture(scope="module")
def running() -> Iterator[Simulated]:
    clock = Clock()
    provider = Provider(WEALTHYHOOD, clients=(_CLIENT, _OTHER_AUDIENCE), clock=clock)
    with ProviderServer(provider) as server, httpx.Client(base_url=server.url) as http:
        yield Simulated(provider, server, clock, http)


@pytest.fixture
def wealthyhood(running: Simulated) -> Simulated:
    running.provider.reset()
    return running


def _ask(simulated: Simulated, *, without: str | None = None, **changes: object) -> httpx.Response:
    fields = {
        "grant_type": "client_credentials",
        "client_id": _CLIENT.client_id,
        "client_secret": _CLIENT.client_secret,
        "audience": _AUDIENCE,
        **changes,
    }
    return simulated.http.post("/oauth/token", json={name: fields[name] for name in fields if name != without})


def _token(simulated: Simulated) -> str:
    answer = _ask(simulated)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def _portfolios(simulated: Simulated, token: str, user: str | None = "user-1") -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} | ({"x-user-id": user} if user is not None else {})
    return simulated.http.get("/v1/portfolios", headers=headers)


def test_client_credentials_answer_an_hours_token_and_no_refresh_token(wealthyhood: Simulated) -> None:
    """Client credentials answer an access token for an hour, and no refresh token."""
    answer = _ask(wealthyhood)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json().keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert answer.json()["expires_in"] == 3600


def test_asking_again_leaves_the_earlier_token_alive_until_it_expires(wealthyhood: Simulated) -> None:
    first, second = _token(wealthyhood), _token(wealthyhood)
    assert first != second
    assert _portfolios(wealthyhood, first).status_code == 200
    wealthyhood.clock.advance(3600)
    assert _portfolios(wealthyhood, first).status_code == 401


def test_a_form_is_refused(wealthyhood: Simulated) -> None:
    fields = {"grant_type": "client_credentials", "client_id": "app-1", "client_secret": "s3cret"}
    answer = wealthyhood.http.post("/oauth/token", data={**fields, "audience": _AUDIENCE})
    assert refusal(answer) == (415, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b"",
        b'{"grant_type": "client_credentials", "grant_type": "client_credentials"}',
        b'{"grant_type": ["client_credentials"]}',
        b'{"grant_type": {"a": "b"}}',
        b'{"grant_type": "\\ud800"}',
    ],
)
def test_a_body_that_is_no_json_object_of_texts_is_an_invalid_request(wealthyhood: Simulated, body: bytes) -> None:
    answer = wealthyhood.http.post("/oauth/token", content=body, headers={"content-type": "application/json"})
    assert refusal(answer) == (400, "invalid_request")


@pytest.mark.parametrize("field", ["grant_type", "audience"])
def test_a_missing_field_is_an_invalid_request(wealthyhood: Simulated, field: str) -> None:
    assert refusal(_ask(wealthyhood, without=field)) == (400, "invalid_request")


def test_a_field_that_is_no_text_is_an_invalid_request(wealthyhood: Simulated) -> None:
    assert refusal(_ask(wealthyhood, client_id=1)) == (400, "invalid_request")


@pytest.mark.parametrize(
    "changes",
    [{"client_secret": "wrong"}, {"client_id": "absent"}, {"without": "client_secret"}, {"without": "client_id"}],
)
def test_a_client_that_does_not_prove_itself_is_invalid_client(wealthyhood: Simulated, changes: dict[str, str]) -> None:
    assert refusal(_ask(wealthyhood, **changes)) == (401, "invalid_client")


def test_basic_is_refused(wealthyhood: Simulated) -> None:
    answer = wealthyhood.http.post(
        "/oauth/token",
        content=json.dumps({"grant_type": "client_credentials", "audience": _AUDIENCE}),
        headers={"content-type": "application/json"},
        auth=(_CLIENT.client_id, _CLIENT.client_secret),
    )
    assert refusal(answer) == (401, "invalid_client")


def test_another_audience_is_access_denied(wealthyhood: Simulated) -> None:
    assert refusal(_ask(wealthyhood, audience=_AUDIENCE + "/")) == (403, "access_denied")


def test_a_client_may_be_registered_for_an_audience_of_its_own(wealthyhood: Simulated) -> None:
    other = {"client_id": _OTHER_AUDIENCE.client_id, "client_secret": _OTHER_AUDIENCE.client_secret}
    assert refusal(_ask(wealthyhood, **other)) == (403, "access_denied")
    assert _ask(wealthyhood, **other, audience=_OTHER_AUDIENCE.audience).status_code == 200


@pytest.mark.parametrize("grant_type", ["refresh_token", "authorization_code", "no-such-thing"])
def test_another_grant_type_is_unsupported(wealthyhood: Simulated, grant_type: str) -> None:
    assert refusal(_ask(wealthyhood, grant_type=grant_type)) == (400, "unsupported_grant_type")


def test_there_is_no_consent_page(wealthyhood: Simulated) -> None:
    assert wealthyhood.http.get("/app/oauth/authorize").status_code == 404


def test_portfolios_want_to_know_the_user(wealthyhood: Simulated) -> None:
    token = _token(wealthyhood)
    assert _portfolios(wealthyhood, token).status_code == 200
    assert _portfolios(wealthyhood, token, user=None).status_code == 400
    assert _portfolios(wealthyhood, token, user="").status_code == 400


def test_a_bad_token_is_401_with_a_challenge_for_any_user(wealthyhood: Simulated) -> None:
    answer = _portfolios(wealthyhood, "unknown", user=None)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="Wealthyhood", error="invalid_token"'


def test_a_revoked_client_is_denied_until_it_is_registered_again(wealthyhood: Simulated) -> None:
    """A client whose standing is revoked is denied, until it is registered again."""
    token = _token(wealthyhood)
    wealthyhood.tell("revoke", {"client_id": _CLIENT.client_id})
    assert _portfolios(wealthyhood, token).status_code == 401
    assert refusal(_ask(wealthyhood)) == (403, "access_denied")
    wealthyhood.tell("clients", {"client_id": _CLIENT.client_id, "client_secret": "renewed"})
    assert refusal(_ask(wealthyhood)) == (401, "invalid_client")
    assert _ask(wealthyhood, client_secret="renewed").status_code == 200
    assert _portfolios(wealthyhood, token).status_code == 401
