"""Protects the grant that was replaced: revoked where that ends nothing else, and never at the cost of the new one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest

from evergrant.errors import LostResponse, NotSent, RecordTampered
from evergrant.http_messages import HttpResponse
from evergrant.ports import PortUnavailable, RotationPorts
from evergrant.profiles.model import Profile, content_hash
from evergrant.profiles.request_specs import Revoke
from evergrant.record.connection import Connection
from evergrant.record.status import Status
from evergrant.rotation import revocation
from evergrant.rotation.revocation import Outcome
from evergrant.secret import Secret
from evergrant.settings import Settings
from tests.unit.memory import (
    FakeClock,
    Faults,
    MemoryBus,
    MemoryCircuits,
    MemoryKey,
    MemoryProfiles,
    MemoryQueue,
    MemoryRecords,
    MemorySeal,
    MemoryVault,
    RotatingProvider,
    answer,
    seal_for,
)
from tests.unit.samples import KEAP, connection, form_of, tokens

NAME = "keap/main"
OLD, NEW = Secret("refresh-old"), Secret("refresh-new")
DONE = HttpResponse(200, {}, b"")


def revocable(scope: Any = "token") -> Profile:
    return msgspec.structs.replace(KEAP, revoke=Revoke(url="https://{host}/revoke", scope=scope))


@dataclass
class World:
    revoking: revocation.Revocation
    records: MemoryRecords
    provider: RotatingProvider
    queue: MemoryQueue
    vault: MemoryVault
    message: dict[str, Any]

    def run(self) -> Outcome:
        return self.revoking.run(self.message)


def world(profile: Profile | None = None, *, new: Secret | None = NEW, **fields: Any) -> World:
    profile, faults, clock = profile or revocable(), Faults(), FakeClock()
    records, queue, provider, vault = (
        MemoryRecords(faults),
        MemoryQueue(faults),
        RotatingProvider(faults, clock),
        MemoryVault(faults),
    )
    seal = MemorySeal(faults)
    old = connection(
        generation=3,
        profile_hash=content_hash(profile),
        variables={"host": "api.example.com", "login_host": "login.example.com"},
    )
    old = replace(old, sealed=seal_for(old, profile, tokens(refresh_token=OLD, access_token=Secret("access-old"))))
    message = revocation.build_replaced_message(old, MemoryKey(NAME, 4))
    assert message
    later = replace(old, generation=4)
    sealed = seal_for(later, profile, tokens(refresh_token=new, access_token=Secret("access-new")))
    records.items[NAME] = replace(old, **{"generation": 4, "sealed": sealed, **fields})
    ports = RotationPorts(
        records, MemoryProfiles(profile), vault, seal, provider, queue, clock, MemoryBus(faults), MemoryCircuits(faults)
    )
    return World(revocation.Revocation(ports, Settings()), records, provider, queue, vault, message)


def test_the_old_refresh_token_is_revoked_and_the_connection_is_kept() -> None:
    """The old refresh token is revoked, and nothing of the connection changes."""
    w = world()
    before = w.records.items[NAME]
    w.provider.script = [DONE]
    assert w.run() == "asked"
    [request] = w.provider.requests
    assert request.url == "https://api.example.com/revoke"
    assert form_of(request) == {
        "token": "refresh-old",
        "token_type_hint": "refresh_token",
        "client_id": "client-1",
        "client_secret": "canary-client-secret",
    }
    assert w.records.items[NAME] == before
    assert w.queue.messages == []


@pytest.mark.parametrize(
    "profile", [KEAP, revocable("grant")], ids=["no way to revoke", "revoking ends all the account ever granted"]
)
def test_what_would_end_more_is_left_alone(profile: Profile) -> None:
    w = world(profile)
    assert w.run() == "not_needed"
    assert w.provider.requests == []


@pytest.mark.parametrize(
    "fields",
    [
        {"generation": 3},
        {"generation": 2},
        {"generation": 5},
        {"status": Status.DISCONNECTED, "sealed": None},
        {"sealed": None},
    ],
    ids=["not saved yet", "not saved yet either", "rotated since", "disconnected", "no new set"],
)
def test_nothing_is_revoked_unless_a_new_grant_is_in_its_place(fields: dict[str, Any]) -> None:
    w = world(**fields)
    assert w.run() == "not_needed"
    assert w.provider.requests == []


def test_a_connect_during_preparation_is_seen_before_revoking() -> None:
    """A connect while the revocation is being prepared is seen in time.

    Some providers end all that the account ever granted: the new grant with the old one.
    """
    w = world(revocable("grant"), status=Status.DISCONNECTED, sealed=None)
    fetch = w.vault.client

    def slowly(name: str) -> Any:
        w.records.items[NAME] = replace(w.records.items[NAME], status=Status.ACTIVE, generation=5)
        return fetch(name)

    w.vault.client = slowly  # type: ignore[method-assign]
    w.message["disconnected"] = True
    assert w.run() == "not_needed"
    assert w.provider.requests == []


def test_a_provider_that_gave_the_very_same_token_again_is_not_asked() -> None:
    w = world(new=OLD)
    assert w.run() == "not_needed"
    assert w.provider.requests == []


def test_a_set_without_a_refresh_token_is_revoked_by_its_access_token() -> None:
    w = world()
    old = replace(w.records.items[NAME], generation=3)
    sealed = seal_for(old, revocable(), tokens(refresh_token=None, access_token=Secret("access-old")))
    w.message = revocation.build_replaced_message(replace(old, sealed=sealed), MemoryKey(NAME, 4)) or {}
    w.provider.script = [DONE]
    assert w.run() == "asked"
    sent = form_of(w.provider.requests[0])
    assert (sent["token"], sent["token_type_hint"]) == ("access-old", "access_token")


def test_the_access_token_is_sent_where_the_profile_says_so() -> None:
    w = world(
        msgspec.structs.replace(KEAP, revoke=Revoke(url="https://{host}/revoke", scope="token", token="access_token"))
    )
    w.provider.script = [DONE]
    assert w.run() == "asked"
    sent = form_of(w.provider.requests[0])
    assert (sent["token"], sent["token_type_hint"]) == ("access-old", "access_token")


@pytest.mark.parametrize("failure", [NotSent("down"), LostResponse("gone"), answer(503, {}), answer(429, {})])
def test_a_failure_is_tried_again_later_and_not_for_ever(failure: Any) -> None:
    w = world()
    delays = []
    for _ in range(10):
        w.provider.script = [failure]
        if w.run() != "retrying":
            break
        w.message, delay = w.queue.messages.pop()
        delays.append(delay)
    assert delays == [60, 300, 900]
    assert len(w.provider.requests) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
def test_a_refusal_is_the_last_word(status: int) -> None:
    w = world()
    w.provider.script = [answer(status, {"error": "canary"})] * 2
    assert w.run() == "refused"
    assert w.queue.messages == []


def test_the_older_client_secret_is_tried_when_the_newer_one_is_refused() -> None:
    w = world()
    w.vault.clients["keap"] = replace(w.vault.clients["keap"], secrets=(Secret("new"), Secret("old")))
    w.provider.script = [answer(401, {}), DONE]
    assert w.run() == "asked"
    assert [form_of(request)["client_secret"] for request in w.provider.requests] == ["new", "old"]


def test_a_client_that_is_gone_is_no_reason_to_try_again() -> None:
    w = world()
    w.vault.clients.clear()
    assert w.run() == "failed"
    assert w.queue.messages == []


def test_a_failing_service_is_waited_for_and_a_failing_queue_retries() -> None:
    """A service that is down is waited for, and the message goes back to the queue where sending fails too."""
    w = world()

    def down(*_: Any, **__: Any) -> Connection:
        raise PortUnavailable("down")

    w.records.get = down  # type: ignore[method-assign]
    assert w.run() == "retrying"
    w.queue.send = down  # type: ignore[method-assign, assignment]
    with pytest.raises(PortUnavailable):
        w.run()


# --- what a message may ask for ---------------------------------------------------------------------------------------


def test_a_grant_is_revoked_only_where_it_was_issued_for() -> None:
    """A request for another address, sealed or not by us, sends nothing."""
    w = world()
    old = replace(w.records.items[NAME], generation=3)
    sealed = seal_for(old, revocable(), tokens(refresh_token=OLD, access_token=Secret("access-old")))
    moved = replace(old, sealed=sealed, variables={"host": "evil.example", "login_host": "login.example.com"})
    w.message = revocation.build_replaced_message(moved, MemoryKey(NAME, 4)) or {}
    with pytest.raises(RecordTampered) as refused:
        w.run()
    assert refused.value.field == "variables"
    assert w.provider.requests == []


@pytest.mark.parametrize("plain", [b"{}", b'{"task": "save"}'])
def test_what_is_sealed_but_no_request_revokes_nothing(plain: bytes) -> None:
    w = world()
    w.message["request"] = MemoryKey(NAME, 4).seal(plain).encode()
    assert w.run() == "failed"
    assert w.provider.requests == []


def test_a_request_in_the_clear_revokes_nothing() -> None:
    w = world()
    message = {**w.message, "sealed": w.message.pop("request"), "disconnected": True}
    w.message = {name: value for name, value in message.items() if name != "request"}
    with pytest.raises(KeyError):
        w.run()
    assert w.provider.requests == []
