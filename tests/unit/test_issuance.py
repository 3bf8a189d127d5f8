"""Protects a token set from being sent anywhere but where it was issued for, also by a record that was changed."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest

from evergrant.errors import InvalidRequest, RecordTampered
from evergrant.oauth.client import Client
from evergrant.oauth.issuance import MAX_UNBOUND_SECONDS, describe_issuance, require_issued_for
from evergrant.oauth.token_set import TokenSet
from evergrant.profiles.model import Profile, content_hash
from evergrant.record.connection import RecordChange
from evergrant.record.sealed import Sealed
from evergrant.record.status import Status
from evergrant.rotation import reparse
from evergrant.rotation.connection_pass import Rotation
from evergrant.rotation.fenced_save import build_message
from evergrant.rotation.handler import handle_request
from evergrant.secret import Secret
from tests.unit.memory import CLIENT, MemoryKey, answer, seal_for
from tests.unit.rotation_world import NAME, World, world
from tests.unit.samples import KEAP, NOW, acme, connection, tokens

MINE = Client("mine", "my-id", (Secret("canary-mine"),), ("evil.example",))
REVOKING = acme('[revoke]\nurl = "https://api.example.com/revoke"\nscope = "token"\n')


def change(profile: Profile, phase: str, **fields: Any) -> Profile:
    request = msgspec.structs.replace(getattr(profile, phase), **fields)
    return msgspec.structs.replace(profile, **{phase: request})


def describe(profile: Profile, entry: Client | None = CLIENT, **fields: Any) -> Any:
    record = connection(**{"profile_hash": content_hash(profile), **fields})
    return describe_issuance(profile, record, entry)


def tampered(before: Any, after: Any) -> str | None:
    try:
        require_issued_for(NAME, before, after, NOW, NOW)
    except RecordTampered as error:
        return error.field
    return None


ACME = acme('[subject]\nfrom = "userinfo"\nurl = "https://api.example.com/me"\n')
#: What a corrected profile may not change, by the table that it changes.
OTHER_ADDRESSES = [
    change(ACME, "refresh", url="https://evil.example/token"),
    change(ACME, "exchange", url="https://api.example.com/other"),
    msgspec.structs.replace(ACME, revoke=REVOKING.revoke),
    acme('[subject]\nfrom = "userinfo"\nurl = "https://evil.example/me"\n'),
    msgspec.structs.replace(ACME, subject=None),
]


def test_what_a_set_was_issued_for_is_sealed_with_it() -> None:
    issued_for = describe(ACME)
    read = TokenSet.decode(tokens().encode(issued_for))
    assert read.issued_for == issued_for
    assert tampered(read.issued_for, issued_for) is None
    assert str(CLIENT.client_id) not in str(tokens().encode(issued_for))


@pytest.mark.parametrize("other", OTHER_ADDRESSES)
def test_a_corrected_profile_may_not_change_an_address(other: Profile) -> None:
    assert tampered(describe(ACME), describe(other)) == "profile_hash"


def test_a_corrected_profile_with_the_same_addresses_may_be_used() -> None:
    other = msgspec.structs.replace(ACME, title="Acme 2")
    assert content_hash(other) != content_hash(ACME)
    assert tampered(describe(ACME), describe(other)) is None


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("private_key_jwt", "basic", "profile_hash"),
        ("private_key_jwt", "none", "profile_hash"),
        ("basic", "none", "profile_hash"),
        ("post", "basic", None),
        ("basic", "basic_raw", None),
        ("none", "post", None),
        ("post", "private_key_jwt", None),
    ],
)
def test_the_client_authentication_never_gets_weaker(before: str, after: str, named: str | None) -> None:
    old, new = (change(ACME, "refresh", client_auth=method) for method in (before, after))
    assert tampered(describe(old), describe(new)) == named


def test_only_another_entry_of_the_same_client_may_be_used() -> None:
    issued_for = describe(ACME)
    assert tampered(issued_for, describe(ACME, replace(CLIENT, name="second"), client="second")) is None
    assert tampered(issued_for, describe(ACME, MINE, client="mine")) == "client"
    assert tampered(issued_for, describe(ACME, replace(CLIENT, client_id="other"))) == "client_id"
    assert tampered(issued_for, describe(ACME, replace(CLIENT, client_id=None))) == "client_id"
    anonymous = replace(CLIENT, client_id=None)
    assert tampered(describe(ACME, anonymous), describe(ACME, anonymous, client="mine")) == "client"


def test_a_variable_that_moves_an_address_is_named() -> None:
    before, after = ({"host": host, "login_host": "login.example.com"} for host in ("api.example.com", "evil.example"))
    assert tampered(describe(KEAP, variables=before), describe(KEAP, variables=after)) == "variables"
    assert tampered(describe(KEAP, variables=before), describe(KEAP, variables={"host": "a b"})) == "variables"


def test_a_set_of_an_earlier_release_is_used_until_it_must_be_gone() -> None:
    present = describe(ACME)
    require_issued_for(NAME, None, present, NOW - MAX_UNBOUND_SECONDS, NOW)
    with pytest.raises(RecordTampered):
        require_issued_for(NAME, None, present, NOW - MAX_UNBOUND_SECONDS - 1, NOW)


# --- refreshing -------------------------------------------------------------------------------------------------------

EVIL = change(KEAP, "refresh", url="https://evil.example/token")
TAMPERED: list[tuple[str, Mapping[str, Any]]] = [
    ("client", {"client": "mine"}),
    ("profile_hash", {"profile_hash": content_hash(EVIL)}),
    ("client", {"client": "mine", "profile_hash": content_hash(EVIL)}),
    ("variables", {"variables": {"host": "evil.example"}}),
]


def tamper(**fields: Any) -> World:
    w = world()
    w.vault.clients["mine"] = MINE
    load = w.ports.profiles.load_pinned
    cast(Any, w.ports.profiles).load_pinned = lambda pinned: EVIL if pinned == content_hash(EVIL) else load(pinned)
    w.records.items[NAME] = replace(w.record(), **fields)
    return w


@pytest.mark.parametrize(("field", "fields"), TAMPERED)
def test_a_record_that_says_something_else_sends_nothing(field: str, fields: dict[str, Any]) -> None:
    w = tamper(**fields)
    before = w.record().sealed
    for _ in range(3):
        w.run()
        w.clock.advance(7200)
    assert w.provider.requests == []
    assert (w.record().status, w.record().sealed) == (Status.DEGRADED, before)
    assert (w.record().last_error, w.record().last_detail) == ("record_tampered", field)
    alerts = [body for body in w.bus.events.values() if body["detail"].get("reason") == "record_tampered"]
    assert [body["detail"]["alert"] for body in alerts[:1]] == [True]


def test_an_operator_who_forces_it_reads_which_field_differs() -> None:
    w = tamper(client="mine", profile_hash=content_hash(EVIL))
    rotation = Rotation(w.ports, w.settings, w.clock.now() + 59)
    said = handle_request(rotation, w.ports, {"connection": NAME, "force": True})
    assert said["error"]["code"] == "record_tampered"
    assert "(client)" in said["error"]["message"]
    assert "evergrant connect keap/main" in said["error"]["hint"]
    assert w.provider.requests == []
    assert w.record().last_error == "record_tampered", "it is recorded all the same"


def test_a_record_that_is_put_right_is_refreshed_again() -> None:
    w = tamper(client="mine")
    w.run()
    w.records.items[NAME] = replace(w.record(), client="keap")
    w.clock.advance(7200)
    assert w.run().outcome == "rotated"
    assert (w.record().status, w.record().last_error) == (Status.ACTIVE, None)


def test_the_next_set_is_sealed_for_the_profile_that_it_was_refreshed_with() -> None:
    corrected = msgspec.structs.replace(KEAP, title="Keap 2")
    w = tamper(profile_hash=content_hash(corrected))
    cast(Any, w.ports.profiles).load_pinned = lambda _: corrected
    assert w.run().outcome == "rotated"
    assert w.stored.issued_for == describe_issuance(corrected, w.record(), CLIENT)


# --- reparse ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("corrected", [EVIL, msgspec.structs.replace(KEAP, title="Keap 2")])
def test_a_kept_response_becomes_tokens_for_the_same_addresses_only(corrected: Profile) -> None:
    w = world()
    w.provider.script = [answer(200, b'{"token": "canary"}')]
    w.run()
    assert w.record().unreadable_response is not None
    readable = replace_response(w, corrected)
    if corrected is EVIL:
        with pytest.raises(RecordTampered) as refused:
            reparse.reparse_response(w.ports, w.settings, w.clock.now() + 59, NAME, content_hash(readable))
        assert refused.value.field == "profile_hash"
        assert w.record().generation == 1
    else:
        reparse.reparse_response(w.ports, w.settings, w.clock.now() + 59, NAME, content_hash(readable))
        assert w.stored.issued_for == describe_issuance(readable, w.record(), CLIENT)


def replace_response(w: World, corrected: Profile) -> Profile:
    """Have the stored profile read the kept response."""
    response = msgspec.structs.replace(corrected.response, access_token=("token",))
    readable = msgspec.structs.replace(corrected, response=response)
    load = w.ports.profiles.load_pinned
    pinned = content_hash(readable)
    cast(Any, w.ports.profiles).load_pinned = lambda wanted: readable if wanted == pinned else load(wanted)
    return readable


# --- messages ---------------------------------------------------------------------------------------------------------


def queue_a_save(w: World) -> dict[str, Any]:
    """Have a refresh end in the queue, since the table takes nothing."""
    key = MemoryKey(NAME, 2)
    sealed = seal_for(replace(w.record(), generation=2), KEAP, tokens())
    change = RecordChange({"generation": 2, "sealed": sealed, "expires_at": NOW})
    return build_message(w.record(), change, key)


def test_a_message_that_no_function_sealed_writes_nothing() -> None:
    w = world()
    before = dict(w.records.items)
    forged = {"task": "save", "connection": NAME, "generation": 1, "fields": {"client": "mine"}, "events": {}}
    genuine = queue_a_save(w)
    with pytest.raises(KeyError):
        Rotation(w.ports, w.settings).save_from_queue(forged)
    for plain in (b"{}", tokens().encode(describe(KEAP))):
        with pytest.raises(InvalidRequest):
            Rotation(w.ports, w.settings).save_from_queue({**forged, "change": MemoryKey(NAME, 2).seal(plain).encode()})
    with pytest.raises(AssertionError, match="sealed as something else"):
        Rotation(w.ports, w.settings).save_from_queue({**genuine, "generation": 5})
    assert w.records.items == before


@pytest.mark.parametrize(
    "fields",
    [
        {"to_revoke": None},
        {"lease_owner": "x"},
        {"generation": 7},
        {"expires_at": "soon"},
        {"expires_at": True},
        {"client": 7},
        {"direct_read": 1},
        {"authorization_failure": {"code": "x"}},
        {"name": "keap/other"},
    ],
)
def test_a_save_writes_only_what_a_save_writes(fields: dict[str, Any]) -> None:
    """A function that may seal, or an operator, is held to the fields of a save and their types."""
    w = world()
    message = forge(w, {"generation": 2, **fields}, {})
    with pytest.raises(InvalidRequest):
        Rotation(w.ports, w.settings).save_from_queue(message)
    assert w.record().generation == 1


def test_a_save_reports_nothing_of_another_connection() -> None:
    w = world()
    event = {"type": "Token Rotated", "at": NOW, "detail": {"connection": "keap/other"}}
    for body in (event, {**event, "type": "Anything", "detail": {"connection": NAME}}):
        with pytest.raises(InvalidRequest):
            Rotation(w.ports, w.settings).save_from_queue(forge(w, {"generation": 2}, {"1": body}))


def forge(w: World, fields: dict[str, Any], events: dict[str, Any]) -> dict[str, Any]:
    plain = {"task": "save", "authorization_id": None, "status": "active", "fields": fields, "events": events}
    sealed: Sealed = MemoryKey(NAME, 2).seal(zlib.compress(json.dumps(plain).encode()))
    return {"task": "save", "connection": NAME, "generation": 1, "change": sealed.encode()}
