"""Protects a connection that is connected again: the same account unless the operator says otherwise, the old grant
until the new one is saved, and nothing at all where that is refused or abandoned.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from evergrant.connect.authorization_flow import AuthorizationFlow
from evergrant.connect.links import ticket_key
from evergrant.errors import LostResponse
from evergrant.http_messages import HttpResponse
from evergrant.link_errors import NoRefreshToken, ProviderRefused, WrongAccount
from evergrant.ports import PortUnavailable
from evergrant.profiles.model import Profile, Subject
from evergrant.profiles.request_specs import Callback, Scopes
from evergrant.record.status import Status
from evergrant.rotation import revocation
from evergrant.settings import Settings
from tests.unit.memory import MemoryKey, MemoryProfiles, answer
from tests.unit.samples import ISSUANCE
from tests.unit.test_authorization_flow import KEAP, NAME, World, with_profile
from tests.unit.test_id_token import id_token

CAPTURING = msgspec.structs.replace(
    KEAP,
    subject=Subject(source="capture", path="company"),
    response=msgspec.structs.replace(KEAP.response, capture={"company": "company.id"}),
)
OPENID = msgspec.structs.replace(
    KEAP, subject=Subject(source="id_token", issuers=("https://login.example.com", "https://login.example.com/{tid}"))
)
USERINFO = msgspec.structs.replace(
    KEAP, subject=Subject(source="userinfo", path="person.id", url="https://{host}/userinfo")
)
#: The account comes by the browser, and the provider confirms it.
BROWSER = msgspec.structs.replace(
    KEAP,
    callback=Callback(capture={"realm": "realmId"}, patterns={"realm": "[0-9]+"}),
    subject=Subject(source="capture", path="realm", url="https://{host}/company/{realm}"),
)


def build_grant(**more: Any) -> HttpResponse:
    return answer(200, {"access_token": "access-9", "refresh_token": "refresh-9", "expires_in": 3600, **more})


def connect(w: World, *answers: Any, ticket: str | None = None) -> Any:
    """Connect from link to callback; ``{nonce}`` in the provider's ID token stands for the request's own."""
    w.ticket = ticket or w.ticket
    started, params = w.start_authorization()
    for each in answers:
        if isinstance(each, dict):
            claims = {"nonce": params.get("nonce"), "exp": int(w.clock.now()) + 300, "iss": "https://login.example.com"}
            each = build_grant(id_token=id_token({**claims, "aud": "client-1", "sub": "person-1", **each}))
        w.provider.script.append(each)
    return w.handle_callback(params["state"], started.cookie)


def build_connected(profile: Profile, *answers: Any) -> World:
    w = with_profile(profile)
    connect(w, *answers)
    assert w.record().status == Status.ACTIVE
    return w


def again(w: World, *answers: Any, another_account: bool = False) -> Any:
    fresh = with_profile(_profile_of(w))
    held = dict(fresh.authorizations.items[ticket_key(fresh.ticket)], another_account=another_account)
    w.authorizations.items[ticket_key(fresh.ticket)] = held
    return connect(w, *answers, ticket=fresh.ticket)


def _profile_of(w: World) -> Profile:
    return w.flow._ports.profiles.load_pinned(w.record().profile_hash)


WAYS = {
    "capture": (CAPTURING, lambda who: (build_grant(company={"id": who}),)),
    "id_token": (OPENID, lambda who: ({"sub": who},)),
    "userinfo": (USERINFO, lambda who: (build_grant(), answer(200, {"person": {"id": who}}))),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Any:
    return WAYS[request.param]


def test_the_same_account_may_be_connected_again(way: Any) -> None:
    profile, answers_for = way
    w = build_connected(profile, *answers_for("person-1"))
    first = w.record()
    again(w, *answers_for("person-1"))
    assert (w.record().generation, w.record().subject) == (first.generation + 1, first.subject)
    assert w.record().authorization_id != first.authorization_id


def test_another_account_is_refused_and_changes_nothing(way: Any) -> None:
    profile, answers_for = way
    w = build_connected(profile, *answers_for("person-1"))
    before = w.record()
    with pytest.raises(WrongAccount) as refused:
        again(w, *answers_for("person-2"))
    assert w.record() == before
    assert "person" not in refused.value.message
    assert "--another-account" in refused.value.hint
    again(w, *answers_for("person-1"))
    assert w.record().generation == 2


def test_another_account_the_operator_allows_becomes_the_bound_one(way: Any) -> None:
    """Another account is taken where the operator allows it, and is the bound account from then on."""
    profile, answers_for = way
    w = build_connected(profile, *answers_for("person-1"))
    again(w, *answers_for("person-2"), another_account=True)
    with pytest.raises(WrongAccount):
        again(w, *answers_for("person-1"))
    again(w, *answers_for("person-2"))
    assert w.record().generation == 3


def test_whose_account_it_is_stands_nowhere(way: Any) -> None:
    profile, answers_for = way
    w = build_connected(profile, *answers_for("canary-person"))
    assert w.record().subject
    assert str(w.record().subject).startswith("sha256:")
    stored = str(w.authorizations.items) + str(replace(w.record(), sealed=None)) + str(w.queue.messages)
    assert "canary-person" not in stored


@pytest.mark.parametrize(
    ("profile", "answers"),
    [
        (CAPTURING, (build_grant(),)),
        (OPENID, (build_grant(),)),
        (USERINFO, (build_grant(), answer(500, {}))),
        (USERINFO, (build_grant(), LostResponse("gone"))),
        (USERINFO, (build_grant(), answer(200, b"<html>"))),
    ],
)
def test_an_unknown_account_refuses_a_later_grant_and_not_a_first_one(profile: Profile, answers: Any) -> None:
    """A provider that does not name the account is no reason to refuse a first grant, but refuses a later one."""
    w = build_connected(profile, *answers)
    assert w.record().subject is None
    w.records.items[NAME] = replace(w.record(), subject="sha256:known")
    with pytest.raises(WrongAccount):
        again(w, *answers)
    assert w.record().generation == 1


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "x"},
        {"exp": 1},
        {"nonce": "x"},
        {"tid": "t"} | {"iss": "https://login.example.com/u"},
    ],
)
def test_an_id_token_of_another_authorization_refuses_a_first_grant(claims: dict[str, Any]) -> None:
    """An ID token that is not for this authorization refuses even a first grant."""
    w = with_profile(OPENID)
    with pytest.raises(ProviderRefused, match="ID token"):
        connect(w, claims)
    assert (w.record().generation, w.record().status) == (0, Status.AWAITING_AUTHORIZATION)


@pytest.mark.parametrize("claims", [{}, {"aud": "x"}], ids=["taken", "refused"])
def test_neither_an_id_token_nor_its_nonce_is_stored_or_said(claims: dict[str, Any]) -> None:
    w = with_profile(OPENID)
    started, params = w.start_authorization()
    said = {"iss": "https://login.example.com", "sub": "s", "aud": "client-1", "exp": int(w.clock.now()) + 300}
    token = id_token({**said, "nonce": params["nonce"], **claims})
    w.provider.script.append(build_grant(id_token=token))
    try:
        shown = repr(w.handle_callback(params["state"], started.cookie))
    except ProviderRefused as refused:
        shown = repr(refused)
    sealed = w.stored().encode(ISSUANCE).decode() if w.record().sealed else ""
    left = shown + str(w.authorizations.items) + str(w.record()) + str(w.queue.messages) + sealed
    for secret in (token, token.split(".")[1], params["nonce"], params["state"], started.cookie):
        assert secret not in left


def test_an_issuer_that_names_the_directory_is_the_directorys_own() -> None:
    assert build_connected(OPENID, {"tid": "t-1", "iss": "https://login.example.com/t-1"}).record().subject


def test_a_nonce_is_sent_only_where_an_id_token_has_a_use() -> None:
    assert "nonce" in with_profile(OPENID).start_authorization()[1]
    assert "nonce" not in with_profile(CAPTURING).start_authorization()[1]


def test_userinfo_is_asked_as_a_consumer_would_ask() -> None:
    w = build_connected(USERINFO, build_grant(), answer(200, {"person": {"id": 7}}))
    request = w.provider.requests[1]
    assert (request.method, request.url, request.body) == ("GET", "https://api.example.com/userinfo", b"")
    assert request.headers["authorization"] == "Bearer access-9"
    assert w.record().subject


def test_what_a_grant_brought_by_other_ways_is_of_is_not_known() -> None:
    w = build_connected(CAPTURING, build_grant(company={"id": "1"}))
    w.flow = AuthorizationFlow(replace(w.flow._ports, profiles=MemoryProfiles(KEAP, CAPTURING)), Settings())
    fresh = with_profile(KEAP)
    w.authorizations.items |= fresh.authorizations.items
    connect(w, build_grant(), ticket=fresh.ticket)
    assert w.record().subject is None


# --- what the page says -----------------------------------------------------------------------------------------------


def test_the_page_of_a_first_connection_speaks_of_no_changes() -> None:
    w = with_profile(CAPTURING)
    assert w.flow.describe_landing(w.ticket, None).changes is None


def test_the_page_says_what_connecting_again_will_change() -> None:
    w = build_connected(CAPTURING, build_grant(company={"id": "1"}))
    w.records.items[NAME] = replace(w.record(), client="old", scope="full less", profile_hash="0" * 64)
    fresh = with_profile(CAPTURING)
    w.authorizations.items |= fresh.authorizations.items
    view = w.flow.describe_landing(fresh.ticket, None).changes
    assert view
    assert (view.client, view.gained, view.lost) == (("old", "keap"), (), ("less",))
    assert (view.new_profile, view.same_account) == (True, True)


# --- what was granted -------------------------------------------------------------------------------------------------


def test_a_scope_that_was_not_granted_is_shown_and_kept_and_no_failure() -> None:
    w = with_profile(_asking("read write"))
    view = connect(w, build_grant(scope="read canary-scope"))
    assert view.missing == ("write",)
    assert (w.record().missing_scope, w.record().status) == ("write", Status.ACTIVE)
    assert "canary-scope" not in str(replace(w.record(), sealed=None))


def test_a_reload_shows_the_same() -> None:
    w = with_profile(_asking("read write"))
    started, params = w.start_authorization()
    w.provider.script.append(build_grant(scope="read"))
    assert w.handle_callback(params["state"], started.cookie) == w.handle_callback(params["state"], started.cookie)


def test_what_is_granted_in_full_the_next_time_is_missing_no_more() -> None:
    w = with_profile(_asking("read write"))
    connect(w, build_grant(scope="read"))
    again(w, build_grant(scope="read write"))
    assert w.record().missing_scope is None


def test_a_scope_that_is_never_named_is_not_missing_for_ever() -> None:
    """The server names it otherwise each time: connecting again does not find it missing for ever."""
    w = with_profile(_asking("read write"))
    assert connect(w, build_grant(scope="read w")).missing == ("write",)
    view = again(w, build_grant(scope="read w"))
    assert (w.record().missing_scope, w.record().granted_scope) == (None, "read")
    assert view.missing == ("write",), "the page says what it knows: it is not among those that were allowed"
    again(w, build_grant(scope="w"))
    assert w.record().missing_scope == "read", "less than was granted before"


def test_a_profile_says_which_scope_includes_another() -> None:
    profile = msgspec.structs.replace(_asking("read write"), scopes=Scopes(implied={"write": ("read",)}))
    w = with_profile(profile)
    assert connect(w, build_grant(scope="write")).missing == ()
    assert (w.record().missing_scope, w.record().granted_scope) == (None, "read write")


def _asking(scope: str) -> Profile:
    assert KEAP.authorize
    return msgspec.structs.replace(KEAP, authorize=msgspec.structs.replace(KEAP.authorize, scopes=tuple(scope.split())))


def test_a_grant_without_a_refresh_token_is_refused_with_its_remedy() -> None:
    """A grant without a refresh token is refused, with the provider's remedy."""
    assert KEAP.authorize
    authorize = msgspec.structs.replace(KEAP.authorize, refresh_token_remedy="Remove our access first.")
    w = with_profile(msgspec.structs.replace(KEAP, authorize=authorize))
    with pytest.raises(NoRefreshToken) as refused:
        connect(w, answer(200, {"access_token": "a", "expires_in": 3600}))
    assert refused.value.remedy == "Remove our access first."
    assert w.record().generation == 0


def test_a_token_that_lives_for_long_needs_no_refresh_token() -> None:
    w = with_profile(KEAP)
    connect(w, answer(200, {"access_token": "a", "expires_in": 31 * 86_400}))
    assert w.record().status == Status.ACTIVE


# --- the grant that was replaced --------------------------------------------------------------------------------------


def test_the_replaced_grant_is_revoked_only_once_the_new_one_is_saved() -> None:
    """The replaced grant is handed over for revocation only once the new grant is saved."""
    w = build_connected(CAPTURING, build_grant(company={"id": "1"}))
    old = w.record()
    w.queue.messages.clear()
    with pytest.raises(WrongAccount):
        again(w, build_grant(company={"id": "2"}))
    assert w.queue.messages == []
    again(w, build_grant(company={"id": "1"}))
    (message, _), (publish, _) = w.queue.messages
    assert (message["task"], message["generation"]) == ("revoke", old.generation)
    assert publish == {"connection": NAME}
    assert "refresh-9" not in str(message)


def test_a_first_grant_hands_nothing_over() -> None:
    w = build_connected(CAPTURING, build_grant(company={"id": "1"}))
    assert [message for message, _ in w.queue.messages if "task" in message] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"status": Status.AUTHORIZATION_REQUIRED},
        {"status": Status.CLIENT_REFUSED},
        {"rejected_at": 5},
        {"attempt_id": "s"},
        {"grant": "static"},
        {"grant": "client_credentials"},
        {"sealed": None},
    ],
)
def test_a_grant_that_is_dead_foreign_or_in_use_is_not_revoked(fields: dict[str, Any]) -> None:
    w = build_connected(KEAP, build_grant())
    assert revocation.build_replaced_message(w.record(), MemoryKey(NAME, 2))
    assert revocation.build_replaced_message(replace(w.record(), **fields), MemoryKey(NAME, 2)) is None


def test_a_failing_queue_does_not_fail_a_grant_that_is_saved() -> None:
    """A queue that takes nothing is no reason to fail a grant that is saved."""
    w = build_connected(KEAP, build_grant())

    def full(*_: Any, **__: Any) -> None:
        raise PortUnavailable("full")

    w.queue.send = full  # type: ignore[method-assign]
    again(w, build_grant())
    assert w.record().generation == 2


# --- an account that comes by the browser -----------------------------------------------------------------------------


def connect_by_browser(w: World, realm: str | None, confirmation: Any, ticket: str | None = None) -> Any:
    w.ticket = ticket or w.ticket
    started, params = w.start_authorization()
    w.provider.script += [build_grant(), confirmation]
    more = {"realmId": realm} if realm else {}
    return w.handle_callback(params["state"], started.cookie, **more)


def test_an_account_of_the_browser_counts_once_the_provider_confirms_it() -> None:
    w = with_profile(BROWSER)
    connect_by_browser(w, "9130", answer(200, {}))
    assert w.provider.requests[-1].url == "https://api.example.com/company/9130"
    assert w.provider.requests[-1].headers["authorization"] == "Bearer access-9"
    assert w.record().subject is not None
    assert w.stored().captured == {"realm": "9130"}


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_an_account_that_the_token_may_not_see_is_refused(status: int) -> None:
    """The owner of another account kept the first one's id in the address."""
    w = with_profile(BROWSER)
    with pytest.raises(ProviderRefused) as refused:
        connect_by_browser(w, "9130", answer(status, {}))
    assert refused.value.failure is not None
    assert refused.value.failure.as_dict() == {"step": "account", "status": status, "reason": "other_account"}
    assert w.record().generation == 0


@pytest.mark.parametrize("confirmation", [answer(503, {}), answer(429, {}), LostResponse("gone")])
@pytest.mark.parametrize("is_known", [False, True])
def test_an_account_that_is_not_confirmed_is_unknown(confirmation: Any, *, is_known: bool) -> None:
    w = with_profile(BROWSER)
    if is_known:
        w.records.items[NAME] = replace(w.record(), subject="sha256:of another")
        with pytest.raises(WrongAccount):
            connect_by_browser(w, "9130", confirmation)
        return
    connect_by_browser(w, "9130", confirmation)
    assert w.record().subject is None


def test_a_value_that_is_no_id_reaches_no_address() -> None:
    w = with_profile(BROWSER)
    connect_by_browser(w, "9130/../1", answer(200, {}))
    assert [request.url for request in w.provider.requests] == ["https://api.example.com/token"]
    assert w.record().subject is None
