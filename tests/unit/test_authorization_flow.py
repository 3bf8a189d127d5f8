"""Protects the authorization flow: nothing reaches the provider before every check has passed, a link serves one
browser and one grant, and a stored grant stays as it was until a new grant is saved.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import msgspec
import pytest

from evergrant.connect import operator_actions
from evergrant.connect.authorization_flow import AuthorizationFlow, AuthorizationStart
from evergrant.connect.links import (
    RETENTION_SECONDS,
    TICKET_LIFETIME_SECONDS,
    Authorization,
    hash_secret,
    issue_ticket,
    read_progress,
    state_key,
    ticket_key,
)
from evergrant.errors import InvalidClient, InvalidRequest, LostResponse
from evergrant.link_errors import (
    Denied,
    LinkExpired,
    LinkInvalid,
    LinkUsed,
    NoRefreshToken,
    ProviderRefused,
    WrongBrowser,
    WrongProvider,
)
from evergrant.oauth.token_set import TokenSet
from evergrant.ports import ConnectPorts, PortUnavailable
from evergrant.profiles import built_in
from evergrant.profiles.model import Profile
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant.rotation.fenced_save import SaveStep
from evergrant.secret import Secret
from evergrant.settings import Settings
from tests.unit.memory import (
    FakeClock,
    Faults,
    MemoryAuthorizations,
    MemoryKey,
    MemoryProfiles,
    MemoryQueue,
    MemoryRecords,
    MemorySeal,
    MemoryVault,
    RotatingProvider,
    answer,
    read_queued,
)

NAME = "keap/main"
KEAP = built_in.load_built_in()["keap"]
REDIRECT_URI = "https://grants.example.com/callback"


@dataclass
class World:
    """A connection to be authorized, and a browser's way to do it."""

    clock: FakeClock
    records: MemoryRecords
    authorizations: MemoryAuthorizations
    provider: RotatingProvider
    queue: MemoryQueue
    flow: AuthorizationFlow
    ticket: str
    codes: dict[str, str] = field(default_factory=dict)

    def record(self) -> Connection:
        return self.records.items[NAME]

    def start_authorization(self, cookie: str | None = None) -> tuple[AuthorizationStart, dict[str, str]]:
        cookie = cookie or self.flow.describe_landing(self.ticket, None).cookie
        started = self.flow.start_authorization(self.ticket, cookie)
        return started, dict(parse_qsl(urlsplit(started.url).query))

    def handle_callback(self, state: str, cookie: str | None, **params: str) -> Any:
        self.codes[state] = self.codes.get(state) or f"code-{len(self.codes) + 1}"
        return self.flow.handle_callback({"state": state, "code": self.codes[state], **params}, cookie)

    def refuse_during_exchange(self, state: str, cookie: str | None) -> None:
        """Have this response come while a code is being exchanged, and be refused."""
        send = self.provider.send

        def meanwhile(*args: Any, **kwargs: Any) -> Any:
            with pytest.raises(LinkUsed):
                self.handle_callback(state, cookie)
            return send(*args, **kwargs)

        self.provider.send = meanwhile  # type: ignore[method-assign]

    def stored(self) -> TokenSet:
        sealed = self.record().sealed
        assert sealed
        return TokenSet.decode(bytes(255 - byte for byte in sealed.text))


def world(**fields: Any) -> World:
    faults, clock = Faults(), FakeClock()
    records, authorizations, queue = MemoryRecords(faults), MemoryAuthorizations(), MemoryQueue(faults)
    provider = RotatingProvider(faults, clock)
    ports = ConnectPorts(
        records,
        MemoryProfiles(KEAP),
        MemoryVault(faults),
        MemorySeal(faults),
        provider,
        queue,
        clock,
        authorizations,
    )
    wanted, grant = operator_actions.plan(
        KEAP, NAME, variables={"host": "api.example.com", "login_host": "login.example.com"}, redirect_uri=REDIRECT_URI
    )
    operator_actions.begin(records, wanted, grant, clock)
    if fields:
        records.items[NAME] = replace(records.items[NAME], **fields)
    ticket = issue_ticket(authorizations, wanted, int(clock.now()))
    return World(clock, records, authorizations, provider, queue, AuthorizationFlow(ports, Settings()), ticket)


# --- the way it usually goes ------------------------------------------------------------------------------------------


def test_the_link_shows_what_it_is_for_and_changes_nothing() -> None:
    w = world()
    before = str(w.authorizations.items)
    for _ in range(3):  # a mail scanner, a preview, the person
        view = w.flow.describe_landing(w.ticket, None)
    assert (view.provider, view.account) == ("Keap (Infusionsoft)", "main")
    assert str(w.authorizations.items) == before
    assert view.origin == "https://login.example.com"


def test_the_provider_gets_state_and_a_pkce_challenge() -> None:
    """The browser is sent to the provider with a state and a PKCE challenge."""
    w = world()
    started, params = w.start_authorization()
    assert started.url.startswith("https://login.example.com/app/oauth/authorize?")
    assert len(params.pop("state")) == 43
    assert len(params.pop("code_challenge")) == 43
    assert params == {
        "response_type": "code",
        "client_id": "client-1",
        "redirect_uri": REDIRECT_URI,
        "scope": "full",
        "code_challenge_method": "S256",
    }


def test_the_code_is_exchanged_with_its_verifier_and_saved_sealed() -> None:
    """The code is exchanged with the verifier of the challenge, and the token set is saved sealed."""
    w = world()
    started, params = w.start_authorization()
    view = w.handle_callback(params["state"], started.cookie)
    assert view.account == "main"
    [request] = w.provider.requests
    form = {name: value for name, [value] in parse_qs(request.body.decode()).items()}
    digest = sha256(form.pop("code_verifier").encode()).digest()
    assert urlsafe_b64encode(digest).rstrip(b"=").decode() == params["code_challenge"]
    assert form == {
        "grant_type": "authorization_code",
        "code": "code-1",
        "redirect_uri": REDIRECT_URI,
        "client_id": "client-1",
        "client_secret": "canary-client-secret",
    }
    assert w.record().status == Status.ACTIVE
    assert w.record().generation == 1
    assert w.record().authorization_id
    assert w.stored().refresh_token == Secret("refresh-1")
    assert w.queue.messages == [({"connection": NAME}, 0)]
    assert [event["type"] for event in w.record().outbox.values()] == ["Connection Authorized"]


def test_neither_ticket_state_cookie_nor_verifier_is_stored() -> None:
    w = world()
    started, params = w.start_authorization()
    w.handle_callback(params["state"], started.cookie)
    form = dict(parse_qsl(w.provider.requests[0].body.decode()))
    stored = str(w.authorizations.items) + str(w.records.items)
    for secret in (w.ticket, params["state"], started.cookie, form["code_verifier"], "code-1", "refresh-1"):
        assert secret not in stored


def test_every_authorization_has_its_own_state_and_challenge() -> None:
    w = world()
    first, one = w.start_authorization()
    second, two = w.start_authorization(first.cookie)
    assert second.cookie == first.cookie, "two tabs of one browser share its cookie"
    assert one["state"] != two["state"]
    assert one["code_challenge"] != two["code_challenge"]
    assert w.handle_callback(one["state"], first.cookie)


# --- a link serves one browser, one grant, and not for ever -----------------------------------------------------------


def test_a_link_that_was_opened_in_one_browser_does_not_serve_another() -> None:
    w = world()
    w.start_authorization()
    with pytest.raises(WrongBrowser):
        w.start_authorization()
    with pytest.raises(WrongBrowser):
        w.start_authorization("some-other-cookie")


def test_of_two_browsers_that_race_for_a_link_one_gets_it() -> None:
    """Both read the link while it belonged to neither; the table decides."""
    w = world()
    change = w.authorizations.change

    def other_is_first(key: str, changes: Any, *, only_if: Any) -> None:
        if "cookie_hash" in changes:
            w.authorizations.items[key]["cookie_hash"] = hash_secret("the-other-browsers")
        change(key, changes, only_if=only_if)

    w.authorizations.change = other_is_first  # type: ignore[method-assign]
    with pytest.raises(WrongBrowser):
        w.start_authorization()
    assert not [key for key in w.authorizations.items if key.startswith("state#")]
    w.authorizations.change = change  # type: ignore[method-assign]
    assert w.start_authorization("the-other-browsers")


def test_an_expired_link_is_refused_although_it_is_still_stored() -> None:
    w = world()
    w.clock.advance(TICKET_LIFETIME_SECONDS)
    for step in (lambda: w.flow.describe_landing(w.ticket, None), lambda: w.flow.start_authorization(w.ticket, "c")):
        with pytest.raises(LinkExpired) as expired:
            step()
        assert expired.value.about == ("Keap (Infusionsoft)", "main"), "the holder of the link may know what it was for"
    [item] = w.authorizations.items.values()
    assert item["purge_at"] == item["expires_at"] + RETENTION_SECONDS


def test_a_link_is_used_up_when_its_grant_is_saved_and_not_before() -> None:
    w = world()
    started, params = w.start_authorization()
    w.flow.describe_landing(w.ticket, None)
    w.handle_callback(params["state"], started.cookie)
    for step in (lambda: w.flow.describe_landing(w.ticket, None), lambda: w.start_authorization(started.cookie)):
        with pytest.raises(LinkUsed):
            step()


@pytest.mark.parametrize("ticket", ["", "unknown", "x" * 5000])
def test_an_unknown_link_is_refused(ticket: str) -> None:
    with pytest.raises(LinkInvalid):
        world().flow.describe_landing(ticket, None)


def test_after_a_denial_the_same_link_can_be_used_again() -> None:
    w = world()
    started, params = w.start_authorization()
    with pytest.raises(Denied):
        w.flow.handle_callback({"state": params["state"], "error": "access_denied"}, started.cookie)
    assert w.provider.requests == []
    again, params = w.start_authorization(started.cookie)
    assert w.handle_callback(params["state"], again.cookie)


# --- attacks, and what comes close to them ----------------------------------------------------------------------------


def test_a_response_in_another_browser_keeps_the_state_usable() -> None:
    """A response in another browser is refused and does not use the state up."""
    w = world()
    started, params = w.start_authorization()
    for cookie in (None, "", "the-attackers-own"):
        with pytest.raises(WrongBrowser) as refused:
            w.handle_callback(params["state"], cookie)
        assert refused.value.about is None, "a browser that has proven nothing learns nothing"
    assert w.provider.requests == []
    assert w.handle_callback(params["state"], started.cookie)


@pytest.mark.parametrize("state", ["", "made-up"])
def test_an_answer_to_no_question_is_refused(state: str) -> None:
    w = world()
    started, _ = w.start_authorization()
    with pytest.raises(LinkInvalid):
        w.handle_callback(state, started.cookie)
    assert w.provider.requests == []


def test_a_reload_shows_the_outcome_and_sends_nothing() -> None:
    w = world()
    started, params = w.start_authorization()
    w.handle_callback(params["state"], started.cookie)
    assert w.handle_callback(params["state"], started.cookie).account == "main"
    assert len(w.provider.requests) == 1
    assert w.record().generation == 1


def test_a_replayed_state_sends_no_other_code() -> None:
    """The state is used up even if the link is not: it was refused, and the link may be tried again."""
    w = world()
    started, params = w.start_authorization()
    with pytest.raises(ProviderRefused):
        w.flow.handle_callback({"state": params["state"], "error": "server_error"}, started.cookie)
    with pytest.raises(LinkUsed):
        w.handle_callback(params["state"], started.cookie)
    assert w.provider.requests == []


def test_of_two_responses_that_race_for_a_state_one_counts() -> None:
    """Both read the state while it was unused; the table decides."""
    w = world()
    started, params = w.start_authorization()
    change = w.authorizations.change

    def other_is_first(key: str, changes: Any, *, only_if: Any) -> None:
        w.authorizations.change = change  # type: ignore[method-assign]
        with pytest.raises(ProviderRefused):
            w.flow.handle_callback({"state": params["state"], "error": "server_error"}, started.cookie)
        change(key, changes, only_if=only_if)

    w.authorizations.change = other_is_first  # type: ignore[method-assign]
    with pytest.raises(LinkUsed):
        w.handle_callback(params["state"], started.cookie)
    assert w.provider.requests == []
    assert w.authorizations.items[state_key(params["state"])]["outcome"] == "provider_refused"


def test_a_second_response_during_the_exchange_sends_nothing() -> None:
    w = world()
    started, params = w.start_authorization()
    w.refuse_during_exchange(params["state"], started.cookie)
    w.handle_callback(params["state"], started.cookie)
    assert len(w.provider.requests) == 1


def test_an_answer_that_took_too_long_is_refused() -> None:
    w = world()
    started, params = w.start_authorization()
    w.clock.advance(901)
    with pytest.raises(LinkExpired):
        w.handle_callback(params["state"], started.cookie)
    assert w.provider.requests == []


def test_an_answer_without_a_code_or_with_another_error_is_refused() -> None:
    for params in ({}, {"error": "server_error", "error_description": "canary"}):
        w = world()
        started, sent = w.start_authorization()
        with pytest.raises(ProviderRefused) as raised:
            w.flow.handle_callback({"state": sent["state"], **params}, started.cookie)
        assert "canary" not in str(raised.value)
        assert w.provider.requests == []


ISSUER = "https://login.example.com"


@pytest.mark.parametrize(
    ("always", "said"),
    [(False, {"iss": "https://evil.example.com"}), (True, {}), (True, {"iss": ""}), (True, {"iss": ISSUER + "/"})],
    ids=["another", "none", "empty", "not the very same"],
)
def test_a_mixed_up_response_is_refused_before_the_code_is_sent(always: bool, said: dict[str, str]) -> None:
    """A response that another server may have given is refused before the code is sent."""
    w = with_issuer(ISSUER, always)
    started, params = w.start_authorization()
    with pytest.raises(WrongProvider, match="9207"):
        w.handle_callback(params["state"], started.cookie, **said)
    assert w.provider.requests == []


def test_a_denial_under_another_servers_name_is_no_denial() -> None:
    w = with_issuer(ISSUER, always=True)
    started, params = w.start_authorization()
    with pytest.raises(WrongProvider, match="9207"):
        w.flow.handle_callback(
            {"state": params["state"], "error": "access_denied", "iss": "https://evil.example.com"}, started.cookie
        )
    started, params = w.start_authorization(started.cookie)
    with pytest.raises(Denied):  # some servers leave it out of errors
        w.flow.handle_callback({"state": params["state"], "error": "access_denied"}, started.cookie)


@pytest.mark.parametrize(("always", "said"), [(False, {}), (False, {"iss": ISSUER}), (True, {"iss": ISSUER})])
def test_an_answer_of_the_server_that_was_asked_is_taken(always: bool, said: dict[str, str]) -> None:
    w = with_issuer(ISSUER, always)
    started, params = w.start_authorization()
    assert w.handle_callback(params["state"], started.cookie, **said).account == "main"


def test_a_denial_beside_a_code_is_a_denial_and_sends_nothing() -> None:
    w = world()
    started, params = w.start_authorization()
    with pytest.raises(Denied):
        w.handle_callback(params["state"], started.cookie, error="access_denied")
    assert w.provider.requests == []
    with pytest.raises(Denied):
        w.handle_callback(params["state"], started.cookie)


def with_issuer(issuer: str, always: bool) -> World:
    """A world whose provider names itself in its answers (RFC 9207)."""
    assert KEAP.authorize
    authorize = msgspec.structs.replace(KEAP.authorize, issuer=issuer, issuer_always=always)
    return with_profile(msgspec.structs.replace(KEAP, authorize=authorize))


def with_profile(profile: Profile, **fields: Any) -> World:
    """A world with a link that was made for this profile."""
    w = world(**fields)
    w.flow = AuthorizationFlow(replace(w.flow._ports, profiles=MemoryProfiles(profile, KEAP)), Settings())
    wanted, _ = operator_actions.plan(
        profile, NAME, redirect_uri=REDIRECT_URI,
        variables={"host": "api.example.com", "login_host": "login.example.com"},
    )  # fmt: skip
    w.ticket = issue_ticket(w.authorizations, wanted, int(w.clock.now()))
    return w


def test_of_two_tabs_that_come_back_at_once_one_exchanges_its_code() -> None:
    w = world()
    first, one = w.start_authorization()
    _, two = w.start_authorization(first.cookie)
    w.refuse_during_exchange(two["state"], first.cookie)
    w.handle_callback(one["state"], first.cookie)
    assert len(w.provider.requests) == 1
    assert w.record().generation == 1


def test_a_code_is_sent_once_under_any_state() -> None:
    w = world()
    first, one = w.start_authorization()
    _, two = w.start_authorization(first.cookie)
    w.provider.script = [answer(400, {"error": "invalid_grant"})]
    with pytest.raises(ProviderRefused):
        w.handle_callback(one["state"], first.cookie, code="code-x")
    with pytest.raises(LinkUsed):
        w.handle_callback(two["state"], first.cookie, code="code-x")
    assert len(w.provider.requests) == 1
    assert "code-x" not in str(w.authorizations.items)


def test_a_link_that_a_function_died_over_is_free_again_after_a_while() -> None:
    w = world()
    first, one = w.start_authorization()
    _, two = w.start_authorization(first.cookie)
    w.authorizations.items[ticket_key(w.ticket)]["claimed_until"] = int(w.clock.now()) + 40
    with pytest.raises(LinkUsed):
        w.handle_callback(one["state"], first.cookie)
    w.clock.advance(40)
    assert w.handle_callback(two["state"], first.cookie).account == "main"


@pytest.mark.parametrize("lifetime", [0, 59, 7 * 86_400 + 1, -1])
def test_a_link_is_good_for_a_week_at_most(lifetime: int) -> None:
    w = world()
    wanted, _ = operator_actions.plan(KEAP, NAME)
    with pytest.raises(InvalidRequest):
        issue_ticket(w.authorizations, wanted, int(w.clock.now()), lifetime)


# --- the provider does not play along ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scripted",
    [
        answer(400, {"error": "invalid_grant", "error_description": "code canary-code was used"}),
        answer(200, b"<html>welcome</html>"),
        answer(200, {"access_token": "a", "expires_in": 3600}),
        LostResponse("gone"),
    ],
    ids=["refused", "unreadable", "no refresh token", "lost"],
)
def test_a_failed_exchange_saves_nothing_and_can_be_tried_again(scripted: Any) -> None:
    w = world()
    started, params = w.start_authorization()
    w.provider.script = [scripted]
    with pytest.raises((ProviderRefused, NoRefreshToken)) as raised:
        w.handle_callback(params["state"], started.cookie)
    assert "canary" not in raised.value.message
    assert w.record().generation == 0
    assert w.record().status == Status.AWAITING_AUTHORIZATION
    with pytest.raises(LinkUsed):
        w.handle_callback(params["state"], started.cookie)
    again, params = w.start_authorization(started.cookie)
    assert w.handle_callback(params["state"], again.cookie)


def test_a_table_that_takes_no_save_leaves_the_sealed_grant_in_the_queue() -> None:
    w = world()
    started, params = w.start_authorization()

    def down(*_: Any, **__: Any) -> Connection:
        raise PortUnavailable("made to fail")

    w.records.change = down  # type: ignore[method-assign]
    w.handle_callback(params["state"], started.cookie)
    message = w.queue.messages[0][0]
    assert (message["task"], message["generation"], read_queued(message)["generation"]) == ("save", 0, 1)
    assert "refresh-1" not in str(message)


def test_a_queued_grant_is_saved_on_top_of_an_earlier_rotation() -> None:
    """A grant that waited in the queue is saved on top of a rotation that was saved before it."""
    w = world(status=Status.ACTIVE, generation=7)
    started, params = w.start_authorization()

    def down(*_: Any, **__: Any) -> Connection:
        raise PortUnavailable("made to fail")

    change = w.records.change
    w.records.change = down  # type: ignore[method-assign]
    w.handle_callback(params["state"], started.cookie)
    w.records.change = change  # type: ignore[method-assign]
    w.records.items[NAME] = replace(w.record(), generation=8, sealed=MemoryKey(NAME, 8).seal(b"{}"))
    saving = SaveStep(w.records, w.queue, w.clock, 5)
    for _ in range(2):  # a queue delivers at least once
        saving.save_message(w.queue.messages[0][0], MemorySeal(Faults()))
    assert (w.record().generation, w.record().status) == (9, Status.ACTIVE)
    assert w.stored().refresh_token == Secret("refresh-1")
    sealed = w.record().sealed
    assert sealed
    assert sealed.key == b"keap/main|9"


@pytest.mark.parametrize(
    "since",
    [{"authorization_id": "later"}, {"status": Status.AWAITING_AUTHORIZATION}, {"status": Status.DISCONNECTED}],
    ids=["authorized again", "disconnected and begun anew", "disconnected"],
)
def test_a_grant_queued_for_too_long_replaces_no_later_one(since: dict[str, Any]) -> None:
    """A grant that waited in the queue for too long does not replace a later grant."""
    w = world(status=Status.ACTIVE, generation=7, authorization_id="first")
    started, params = w.start_authorization()

    def down(*_: Any, **__: Any) -> Connection:
        raise PortUnavailable("made to fail")

    change = w.records.change
    w.records.change = down  # type: ignore[method-assign]
    w.handle_callback(params["state"], started.cookie)
    w.records.change = change  # type: ignore[method-assign]
    later = replace(w.record(), generation=8, sealed=MemoryKey(NAME, 8).seal(b"{}"), **since)
    w.records.items[NAME] = later
    SaveStep(w.records, w.queue, w.clock, 5).save_message(w.queue.messages[0][0], MemorySeal(Faults()))
    assert w.record() == later


def test_a_link_does_not_outlive_a_disconnect() -> None:
    w = world(status=Status.ACTIVE, generation=1)
    started, params = w.start_authorization()
    operator_actions.disconnect(w.records, NAME, w.clock)
    with pytest.raises(LinkInvalid):
        w.handle_callback(params["state"], started.cookie)
    assert w.provider.requests == []
    assert w.record().status == Status.DISCONNECTED


def test_the_older_client_secret_is_tried_when_the_newer_one_is_refused() -> None:
    w = world()
    vault = w.flow._ports.vault
    assert isinstance(vault, MemoryVault)
    vault.clients["keap"] = replace(vault.clients["keap"], secrets=(Secret("new"), Secret("old")))
    started, params = w.start_authorization()
    w.provider.script = [answer(401, {"error": "invalid_client"})]
    w.handle_callback(params["state"], started.cookie)
    sent = [dict(parse_qsl(request.body.decode()))["client_secret"] for request in w.provider.requests]
    assert sent == ["new", "old"]


def test_who_waits_for_the_link_learns_how_the_last_attempt_ended() -> None:
    w = world()
    assert read_progress(w.authorizations, w.ticket) == ("unopened", None)
    started, params = w.start_authorization()
    assert read_progress(w.authorizations, w.ticket) == ("opened", None)
    with pytest.raises(Denied):
        w.flow.handle_callback({"state": params["state"], "error": "access_denied"}, started.cookie)
    denial = {"step": "authorization", "error": "access_denied"}
    assert read_progress(w.authorizations, w.ticket) == ("opened", ("access_denied", denial))
    again, params = w.start_authorization(started.cookie)
    w.handle_callback(params["state"], again.cookie)
    assert read_progress(w.authorizations, w.ticket) == ("used", None)


def test_a_client_not_allowed_at_the_provider_is_found_before_consent() -> None:
    """A client that may not be sent to the provider is found out before the account's owner consents."""
    w = world()
    vault = w.flow._ports.vault
    assert isinstance(vault, MemoryVault)
    vault.clients["keap"] = replace(vault.clients["keap"], hosts=("elsewhere.example.com",))
    with pytest.raises(InvalidClient, match=r"api\.example\.com"):
        w.start_authorization()
    assert read_progress(w.authorizations, w.ticket) == ("opened", ("invalid_client_entry", {}))


# --- connecting again -------------------------------------------------------------------------------------------------


def test_connecting_again_replaces_the_grant_and_clears_its_failures() -> None:
    """Connecting again replaces the grant and ends every failure of the old one."""
    w = world(
        status=Status.AUTHORIZATION_REQUIRED, generation=7, failures=3, last_error="invalid_grant", attempt_id="old",
        rejected_at=5, authorization_id="first",
    )  # fmt: skip
    started, params = w.start_authorization()
    assert w.record().status == Status.AUTHORIZATION_REQUIRED, "an abandoned attempt changes nothing"
    w.handle_callback(params["state"], started.cookie)
    record = w.record()
    assert (record.status, record.generation, record.failures, record.last_error) == (Status.ACTIVE, 8, 0, None)
    assert (record.attempt_id, record.rejected_at) == (None, None)
    assert record.authorization_id != "first"


def test_a_late_rotation_of_the_old_grant_does_not_replace_the_new_one() -> None:
    """A rotation of the old grant that is saved meanwhile does not win over the new grant."""
    w = world(status=Status.ACTIVE, generation=7)
    started, params = w.start_authorization()
    send = w.provider.send

    def rotated_meanwhile(*args: Any, **kwargs: Any) -> Any:
        response = send(*args, **kwargs)
        w.records.items[NAME] = replace(w.record(), generation=8, sealed=MemoryKey(NAME, 8).seal(b"{}"))
        return response

    w.provider.send = rotated_meanwhile  # type: ignore[method-assign]
    w.handle_callback(params["state"], started.cookie)
    assert w.record().generation == 9
    assert w.stored().refresh_token == Secret("refresh-1")
    sealed = w.record().sealed
    assert sealed
    assert sealed.key == b"keap/main|9"


def test_what_is_authorized_travels_with_the_link_and_not_with_the_record() -> None:
    w = world(status=Status.ACTIVE, generation=1, redirect_uri="https://old.example.com/callback", client="old")
    started, params = w.start_authorization()
    assert w.record().client == "old", "the old grant keeps refreshing with what it was made with"
    w.handle_callback(params["state"], started.cookie)
    assert (w.record().client, w.record().redirect_uri) == ("keap", REDIRECT_URI)


def test_a_persons_grant_takes_over_from_a_clients_own() -> None:
    w = world(status=Status.CLIENT_REFUSED, generation=1, grant="client_credentials")
    started, params = w.start_authorization()
    w.handle_callback(params["state"], started.cookie)
    assert (w.record().status, w.record().grant) == (Status.ACTIVE, "authorization_code")


def test_the_fields_of_an_authorization_are_fields_of_the_record() -> None:
    names = set(Authorization.__dataclass_fields__) - {"connection"}
    assert names <= set(Connection.__dataclass_fields__)
