"""Protects the control interface of the simulated providers: what it counts is what happened, replaying changes
nothing, mistyped commands change nothing, and no secret is ever shown.
"""

import json
from collections.abc import Iterator

import httpx
import pytest

from local.providers import KEAP, Client, Provider, ProviderServer, SettingError, fingerprint
from tests.unit.simulated import APPLICATION, CHALLENGE, REDIRECT_URI, VERIFIER, Clock, Simulated, refusal, tokens_of


@pytest.fixture(scope="module")
def running() -> Iterator[Simulated]:
    clock = Clock()
    provider = Provider(KEAP, clients=(APPLICATION,), clock=clock)
    with ProviderServer(provider) as server, httpx.Client(base_url=server.url) as http:
        yield Simulated(provider, server, clock, http)


@pytest.fixture
def keap(running: Simulated) -> Simulated:
    running.provider.reset()
    return running


# --- what it shows ---


def test_stats_count_what_happened(keap: Simulated) -> None:
    first = keap.connect()
    keap.clock.advance(10)
    second = tokens_of(keap.refresh(first.refresh_token))
    keap.contacts(first.access_token)
    keap.contacts(second.access_token)
    keap.contacts("unknown")
    keap.refresh("unknown")
    keap.exchange("code", grant_type="invented")
    assert keap.ask("stats") == {
        "provider": "keap",
        "grants": {"total": 1, "live": 1, "revoked": 0},
        "rotations": 1,
        "revocations": 0,
        "refresh_reuse": 0,
        "codes": {"issued": 1, "used": 1, "reused": 0},
        "token_requests": {
            "total": 4,
            "ok": 2,
            "by_outcome": {
                "authorization_code": {"ok": 1},
                "refresh_token": {"ok": 1, "invalid_grant": 1},
                "other": {"unsupported_grant_type": 1},
            },
        },
        "api": {
            "ok": 2,
            "refused": 1,
            "refused_by_status": {"401": 1},
            "distinct_access_tokens_accepted": 2,
            "oldest_accepted_token_age": 10.0,
        },
    }


def test_grants_show_the_account_and_the_fingerprints_of_what_is_good_now(keap: Simulated) -> None:
    first = keap.connect()
    keap.clock.advance(10)
    second = tokens_of(keap.refresh(first.refresh_token))
    keap.contacts(first.access_token)
    assert keap.ask("grants")["grants"] == [
        {
            "grant": "grant-1",
            "obtained_by": "authorization_code",
            "client_id": "app-1",
            "account": "Example Ltd",
            "scope": "full",
            "created_at": keap.clock.now - 10,
            "rotations": 1,
            "revoked_at": None,
            "revoked_because": None,
            "refresh_token": fingerprint(second.refresh_token),
            "access_tokens": [fingerprint(first.access_token), fingerprint(second.access_token)],
            "issued_at": [keap.clock.now - 10, keap.clock.now],
            "accepted_calls": 1,
            "oldest_accepted_token_age": 10.0,
        }
    ]


def test_requests_are_shown_with_fingerprints_for_their_secrets(keap: Simulated) -> None:
    """Requests show the shape of each request, and fingerprints for its secrets."""
    code = keap.allow(code_challenge=CHALLENGE, code_challenge_method="S256")
    first = tokens_of(keap.exchange(code, code_verifier=VERIFIER))
    second = tokens_of(keap.refresh(first.refresh_token))
    assert keap.ask("requests?last=1")["requests"] == [
        {
            "at": keap.clock.now,
            "fields": {
                "grant_type": "refresh_token",
                "refresh_token": {"fingerprint": fingerprint(first.refresh_token)},
            },
            "path": "/token",
            "content_type": "application/x-www-form-urlencoded",
            "accept": "*/*",
            "authorization": {
                "scheme": "basic",
                "client_id": "app-1",
                "fingerprint": fingerprint(APPLICATION.client_secret),
            },
            "status": 200,
            "error": None,
            "issued": {
                "access_token": fingerprint(second.access_token),
                "refresh_token": fingerprint(second.refresh_token),
            },
            "expires_in": 86400,
        }
    ]
    assert keap.http.get("/_control/requests?last=many").status_code == 400


def test_nothing_that_is_shown_or_printed_holds_a_secret(keap: Simulated) -> None:
    code = keap.allow(code_challenge=CHALLENGE, code_challenge_method="S256")
    first = tokens_of(keap.exchange(code, code_verifier=VERIFIER))
    second = tokens_of(keap.refresh(first.refresh_token))
    keap.http.post("/token", content=b"not a form but %s" % second.refresh_token.encode())
    keap.http.post("/token", data={"unexpected": second.refresh_token})
    keap.http.post("/token", headers={"authorization": second.refresh_token})
    keap.http.post("/token", headers={"authorization": f"Bearer {second.refresh_token}"})
    shown = json.dumps([keap.ask(what) for what in ("stats", "grants", "requests", "settings")])
    shown += json.dumps(keap.tell("replay-all")) + repr(keap.provider._state) + repr(APPLICATION)
    for secret in (
        code,
        VERIFIER,
        APPLICATION.client_secret,
        first.access_token,
        first.refresh_token,
        second.access_token,
        second.refresh_token,
    ):
        assert secret not in shown


# --- what it does ---


def test_replay_all_refuses_superseded_tokens_and_keeps_live_grants(keap: Simulated) -> None:
    """replay_all refuses every superseded token, and leaves the live grants alive."""
    one, other = keap.connect(), keap.connect()
    used = []
    for _ in range(3):
        used.append(fingerprint(one.refresh_token))
        one = tokens_of(keap.refresh(one.refresh_token))
    before = keap.ask("stats")

    replayed = keap.tell("replay-all")

    assert (replayed["replayed"], replayed["refused"], replayed["accepted"]) == (3, 3, 0)
    assert replayed["results"] == [
        {"refresh_token": token, "grant": "grant-1", "status": 400, "error": "invalid_grant", "refused": True}
        for token in used
    ]
    assert keap.ask("stats") == before
    tokens_of(keap.refresh(one.refresh_token))
    tokens_of(keap.refresh(other.refresh_token))


def test_replay_all_really_asks_the_token_endpoint(keap: Simulated) -> None:
    keap.refresh(keap.connect().refresh_token)
    keap.tell("settings", {"dead_refresh_token": "invalid_request"})
    replayed = keap.provider.replay_all()
    assert [result["error"] for result in _results(replayed)] == ["invalid_request"]


def test_replay_all_would_show_that_a_used_token_is_accepted(keap: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    keap.refresh(keap.connect().refresh_token)
    monkeypatch.setattr("local.providers.state.State.is_refresh_token_valid", lambda state, token, now: True)
    replayed = keap.provider.replay_all()
    assert (replayed["refused"], replayed["accepted"]) == (0, 1)
    assert keap.ask("stats")["rotations"] == 1


def test_revoke_ends_one_grant_with_all_its_tokens(keap: Simulated) -> None:
    one, other = keap.connect(), keap.connect()
    assert keap.tell("revoke", {"grant": "grant-1"}) == {"revoked": ["grant-1"]}
    assert keap.contacts(one.access_token).status_code == 401
    assert refusal(keap.refresh(one.refresh_token)) == (400, "invalid_grant")
    assert keap.contacts(other.access_token).status_code == 200
    assert keap.tell("revoke", {"all": True}) == {"revoked": ["grant-2"]}
    assert keap.tell("revoke", {"client_id": "app-1"}) == {"revoked": []}


def test_one_access_token_can_be_killed_before_its_time(keap: Simulated) -> None:
    tokens = keap.connect()
    assert keap.tell("revoke", {"access_token": fingerprint(tokens.access_token)}) == {"killed": True}
    assert keap.tell("revoke", {"access_token": "0000000000000000"}) == {"killed": False}
    assert keap.contacts(tokens.access_token).status_code == 401
    tokens_of(keap.refresh(tokens.refresh_token))


def test_clients_can_be_registered_and_given_another_secret_while_it_runs(keap: Simulated) -> None:
    described = {"client_id": "new", "client_secret": "one", "redirect_uris": [REDIRECT_URI], "name": "New App"}
    assert keap.tell("clients", described) == {"client_id": "new"}
    assert "New App" in keap.http.get(keap.authorize_url(client_id="new")).text
    tokens = tokens_of(keap.exchange(keap.allow(client_id="new"), client_id="new", client_secret="one"))
    keap.tell("clients", {**described, "client_secret": "two"})
    assert refusal(keap.refresh(tokens.refresh_token, Client("new", "one"))) == (401, "invalid_client")
    tokens_of(keap.refresh(tokens.refresh_token, Client("new", "two")))


def test_settings_are_shown_and_changed(keap: Simulated) -> None:
    before = keap.ask("settings")
    assert before == {
        "access_token_lifetime": 86400,
        "refresh_token_lifetime": 180 * 86400,
        "code_lifetime": 60,
        "dead_refresh_token": "invalid_grant",
        "old_access_token_dies": False,
        "single_use_refresh_tokens": True,
        "refresh_token_grace": 0,
        "refresh_tokens": True,
        "withheld_scopes": "",
        "id_token_claims": {},
        "account": "Example Ltd",
    }
    assert keap.tell("settings", {"access_token_lifetime": 5}) == {**before, "access_token_lifetime": 5}


def test_reset_forgets_grants_and_numbers_and_restores_the_settings(keap: Simulated) -> None:
    """Reset forgets grants and numbers, and goes back to the first settings."""
    fresh = keap.ask("stats"), keap.ask("settings")
    tokens = keap.connect()
    keap.tell("settings", {"access_token_lifetime": 5})
    keap.tell("reset")
    assert (keap.ask("stats"), keap.ask("settings")) == fresh
    assert keap.ask("requests") == {"requests": []}
    assert keap.contacts(tokens.access_token).status_code == 401


@pytest.mark.parametrize(
    ("what", "command"),
    [
        ("settings", {"access_token_lifetime": 0}),
        ("settings", {"access_token_lifetime": 1.5}),
        ("settings", {"access_token_lifetime": True}),
        ("settings", {"dead_refresh_token": "unknown"}),
        ("settings", {"dead_refresh_token": 401}),
        ("settings", {"single_use_refresh_tokens": 1}),
        ("settings", {"old_access_token_dies": "yes"}),
        ("settings", {"account": ""}),
        ("settings", {"acess_token_lifetime": 5}),
        ("clients", {}),
        ("clients", {"client_id": "a", "client_secret": 1}),
        ("clients", {"client_id": "a", "client_secret": "b", "redirect_uris": REDIRECT_URI}),
        ("clients", {"client_id": "a", "client_secret": "b", "colour": "red"}),
        ("clients", {"client_id": "a", "client_secret": "b", "username": "c"}),
        ("revoke", {}),
        ("revoke", {"all": False}),
        ("revoke", {"grant": "grant-1", "al": True}),
    ],
)
def test_a_mistyped_command_is_refused_and_changes_nothing(
    keap: Simulated, what: str, command: dict[str, object]
) -> None:
    tokens = keap.connect()
    before = keap.ask("settings"), keap.ask("grants")
    answer = keap.http.post(f"/_control/{what}", json=command)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert (keap.ask("settings"), keap.ask("grants")) == before
    assert keap.contacts(tokens.access_token).status_code == 200


def test_a_web_page_of_another_origin_cannot_command_it(keap: Simulated) -> None:
    keap.connect()
    answer = keap.http.post("/_control/revoke", content=b'{"all": true}', headers={"content-type": "text/plain"})
    assert answer.status_code == 400
    assert _number(keap.ask("stats"), "grants", "live") == 1


def test_settings_can_be_given_at_the_start() -> None:
    provider = Provider(KEAP, settings={"access_token_lifetime": 5})
    assert provider.settings()["access_token_lifetime"] == 5
    with pytest.raises(SettingError):
        Provider(KEAP, settings={"acess_token_lifetime": 5})


def _results(replayed: dict[str, object]) -> list[dict[str, object]]:
    results = replayed["results"]
    assert isinstance(results, list)
    return results


def _number(shown: dict[str, object], *path: str) -> object:
    value: object = shown
    for name in path:
        assert isinstance(value, dict)
        value = value[name]
    return value
