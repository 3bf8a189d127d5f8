"""What the tests of the simulated providers share: a clock that is set by hand, and well-behaved requests."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from local.providers import Client, Provider, ProviderServer

REDIRECT_URI = "http://localhost:4566/callback"
APPLICATION = Client("app-1", "s3cret:with/colon", redirect_uris=(REDIRECT_URI,), name="Acme Reports")
STRANGER = Client("app-2", "other-secret", redirect_uris=(REDIRECT_URI,))
VERIFIER = "a-code-verifier-of-the-forty-three-characters"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


@dataclass
class Clock:
    """A clock that the test sets."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Tokens:
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


@dataclass
class Simulated:
    """A running simulated provider and a way to talk to it."""

    provider: Provider
    server: ProviderServer
    clock: Clock
    http: httpx.Client

    # --- Keap ---

    def authorize_url(self, *, without: str | None = None, **changes: str) -> str:
        query = {
            "response_type": "code",
            "client_id": APPLICATION.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "full",
            "state": "state-1",
            **changes,
        }
        return "/app/oauth/authorize?" + urlencode({name: value for name, value in query.items() if name != without})

    def allow(self, **changes: str) -> str:
        """Press Allow, and return the code."""
        answer = self.http.post(self.authorize_url(**changes), data={"decision": "allow"})
        assert answer.status_code == 303, answer.text
        return query_of(answer)["code"]

    def exchange(self, code: str, *, without: str | None = None, **changes: str) -> httpx.Response:
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "client_id": APPLICATION.client_id,
            "client_secret": APPLICATION.client_secret,
            **changes,
        }
        return self.http.post("/token", data={name: value for name, value in fields.items() if name != without})

    def connect(self) -> Tokens:
        """Walk the whole way, and return the first tokens."""
        return tokens_of(self.exchange(self.allow()))

    def refresh(
        self, refresh_token: str, client: Client | None = APPLICATION, fields: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return self.http.post(
            "/token",
            data={"grant_type": "refresh_token", "refresh_token": refresh_token, **(fields or {})},
            auth=(client.client_id, client.client_secret) if client else httpx.USE_CLIENT_DEFAULT,
        )

    def contacts(self, access_token: str) -> httpx.Response:
        return self.http.get("/v1/contacts", headers={"authorization": f"Bearer {access_token}"})

    # --- the control interface ---

    def ask(self, what: str) -> dict[str, object]:
        answer = self.http.get(f"/_control/{what}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, object] = answer.json()
        return shown

    def tell(self, what: str, command: Mapping[str, object] | None = None) -> dict[str, object]:
        answer = self.http.post(f"/_control/{what}", json=dict(command or {}))
        assert answer.status_code == 200, answer.text
        shown: dict[str, object] = answer.json()
        return shown


def tokens_of(answer: httpx.Response) -> Tokens:
    assert answer.status_code == 200, answer.text
    return Tokens(answer.json()["access_token"], answer.json()["refresh_token"])


def query_of(answer: httpx.Response) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Return status and error code of an answer that carries no tokens."""
    assert not answer.json().keys() & {"access_token", "refresh_token"}
    return answer.status_code, answer.json()["error"]
