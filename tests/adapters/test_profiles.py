"""Protects the pinning of profiles: a stored profile never changes, so a connection keeps its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from evergrant.adapters.aws.profiles import StoredProfiles
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.adapters.aws.sdk import client
from evergrant.errors import InvalidProfile, ProfileTampered, UnknownProfile
from evergrant.ports import PortUnavailable
from evergrant.profiles import built_in
from evergrant.profiles.loader import load_profile
from evergrant.profiles.model import Profile, content_hash, decode, encode
from evergrant.profiles.response_specs import Response
from tests.adapters.hooks import failing, lost_answers, page_size, parameters

OWN = """
name = "{name}"
title = "{title}"
[variables.host]
pattern = '[a-z.]+'
default = "login.example.com"
[client_credentials]
url = "https://{{host}}/token"
format = "json"
params = {{ audience = "ü" }}
[[errors]]
as = "grant_rejected"
status = 400
"""

AUTHORIZE = """
[exchange]
url = "https://{host}/token"
[refresh]
url = "https://{host}/token"
[authorize]
url = "https://{host}/authorize"
"""


def own(name: str = "acme", title: str = "Acme") -> Profile:
    return load_profile(OWN.format(name=name, title=title))


@pytest.fixture
def profiles(records: DynamoRecords) -> StoredProfiles:
    return StoredProfiles(records.table)


def fresh(profiles: StoredProfiles) -> StoredProfiles:
    """Another process, that remembers nothing."""
    return StoredProfiles(profiles.table)


def test_an_added_profile_is_found_by_its_name_and_by_its_hash(profiles: StoredProfiles) -> None:
    pinned = profiles.add(own())
    assert pinned == content_hash(own())
    assert fresh(profiles).load_named("acme") == own()
    assert fresh(profiles).load_pinned(pinned) == own()


def test_a_built_in_profile_is_found_although_it_was_never_stored(profiles: StoredProfiles) -> None:
    keap = built_in.load_built_in()["keap"]
    with failing("dynamodb", "GetItem"):
        assert profiles.load_named("keap") == keap
    assert profiles.load_pinned(content_hash(keap)) == keap


def with_issuer(issuer: str | None, name: str = "acme") -> Profile:
    return load_profile(OWN.format(name=name, title="Acme") + AUTHORIZE + (f'issuer = "{issuer}"' if issuer else ""))


def test_the_issuers_of_added_and_built_in_providers_are_known(profiles: StoredProfiles) -> None:
    assert profiles.list_issuers()["google"] == ("https://accounts.google.com",)
    profiles.add(with_issuer("https://login.acme.example/{x}"))
    profiles.keep(with_issuer("https://login.other.example", "other"))
    profiles.keep(built_in.load_built_in()["google"])
    known = fresh(profiles).list_issuers()
    assert known["acme"] == ("https://login.acme.example/{{x}}",)
    assert known["other"] == ("https://login.other.example",)
    assert known["google"] == ("https://accounts.google.com",)
    profiles.add(with_issuer("https://new.acme.example"))
    assert fresh(profiles).list_issuers()["acme"] == ("https://new.acme.example",)
    profiles.add(with_issuer(None))
    assert not fresh(profiles).list_issuers()["acme"]


@pytest.mark.parametrize("name", sorted(built_in.load_built_in()))
def test_a_built_in_profile_cannot_be_shadowed(profiles: StoredProfiles, name: str) -> None:
    with pytest.raises(InvalidProfile, match=name):
        profiles.add(own(name))
    assert profiles.list_added() == []
    assert profiles.load_named(name) == built_in.load_built_in()[name]


def test_not_even_an_item_written_by_hand_shadows_a_built_in_profile(profiles: StoredProfiles) -> None:
    client("dynamodb").put_item(
        TableName=profiles.table, Item={"pk": {"S": "provider#keap"}, "profile": {"B": encode(own("keap"))}}
    )
    assert profiles.load_named("keap") == built_in.load_built_in()["keap"]


def test_replacing_a_profile_leaves_the_pinned_one_as_it_was(profiles: StoredProfiles) -> None:
    old = profiles.add(own(title="Old"))
    new = profiles.add(own(title="New"))
    assert old != new
    assert fresh(profiles).load_named("acme").title == "New"
    assert fresh(profiles).load_pinned(old).title == "Old"


def test_what_is_stored_under_a_hash_is_never_written_again(profiles: StoredProfiles) -> None:
    pinned = profiles.add(own())
    key = {"pk": {"S": f"profile#{pinned}"}}
    client("dynamodb").put_item(TableName=profiles.table, Item={**key, "profile": {"B": b"first"}})
    assert profiles.keep(own()) == pinned
    item = client("dynamodb").get_item(TableName=profiles.table, Key=key)["Item"]
    assert bytes(item["profile"]["B"]) == b"first"


def test_keeping_a_shipped_profile_outlives_its_shipping(
    profiles: StoredProfiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    keap = built_in.load_built_in()["keap"]
    pinned = profiles.keep(keap)
    monkeypatch.setattr(built_in, "load_by_hash", dict)  # a later release ships another one
    assert fresh(profiles).load_pinned(pinned) == keap


def test_a_profile_whose_answer_was_lost_is_added_all_the_same(profiles: StoredProfiles) -> None:
    with lost_answers("dynamodb", "PutItem") as lost:
        profiles.add(own())
    assert lost
    assert fresh(profiles).load_named("acme") == own()


def test_a_pinned_profile_is_read_once_a_process(profiles: StoredProfiles) -> None:
    pinned = profiles.add(own())
    with parameters("dynamodb", "GetItem") as reads:
        profiles.load_pinned(pinned)
        profiles.load_pinned(pinned)
    assert len(reads) == 1


def test_a_replaced_profile_is_seen_at_once(profiles: StoredProfiles) -> None:
    profiles.add(own(title="Old"))
    assert profiles.load_named("acme").title == "Old"
    fresh(profiles).add(own(title="New"))
    assert profiles.load_named("acme").title == "New"


def test_an_unknown_name_or_hash_is_said_so(profiles: StoredProfiles) -> None:
    with pytest.raises(UnknownProfile, match="nowhere"):
        profiles.load_named("nowhere")
    with pytest.raises(UnknownProfile, match="abababababab"):
        profiles.load_pinned("ab" * 32)


def test_added_profiles_are_listed_from_every_page(profiles: StoredProfiles) -> None:
    for number in range(4):
        profiles.add(own(f"acme-{number}"))
    with page_size("Scan", 2) as pages:
        assert sorted(profile.name for profile in profiles.list_added()) == [f"acme-{number}" for number in range(4)]
    assert len(pages) > 2


def test_a_table_that_does_not_answer_is_unavailable(profiles: StoredProfiles) -> None:
    with failing("dynamodb", "GetItem"), pytest.raises(PortUnavailable):
        profiles.load_named("acme")
    with failing("dynamodb", "GetItem"), pytest.raises(PortUnavailable):
        profiles.load_pinned("ab" * 32)
    with failing("dynamodb", "PutItem"), pytest.raises(PortUnavailable):
        profiles.add(own())
    with failing("dynamodb", "Scan"), pytest.raises(PortUnavailable):
        profiles.list_added()


# --- the stored form ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [*built_in.load_built_in().values(), own()], ids=lambda profile: str(profile.name))
def test_the_stored_form_comes_back_and_encodes_to_the_same_bytes(profile: Profile) -> None:
    stored = encode(profile)
    assert decode(stored) == profile
    assert encode(decode(stored)) == stored


def test_the_order_of_a_files_keys_makes_no_other_profile() -> None:
    text = OWN.format(name="acme", title="Acme")
    swapped = text.replace(
        'format = "json"\nparams = { audience = "ü" }', 'params = { audience = "ü" }\nformat = "json"'
    )
    assert swapped != text
    assert content_hash(load_profile(swapped)) == content_hash(load_profile(text))


@pytest.mark.parametrize(
    "change", [{"title": "Other"}, {"rotation": {"lead": 1}}, {"consumer": {"required_headers": ["x-user-id"]}}]
)
def test_any_other_content_is_another_profile(change: dict[str, Any]) -> None:
    changed = msgspec.convert({**msgspec.to_builtins(own()), **change}, Profile)
    assert content_hash(changed) != content_hash(own())


def test_two_deployments_do_not_share_what_they_remember() -> None:
    first = StoredProfiles("one")
    assert replace(first, table="two") is not first
    assert StoredProfiles("one")._known is not first._known


# --- what a hash says -------------------------------------------------------------------------------------------------


def overwrite(profiles: StoredProfiles, key: str, profile: Profile) -> None:
    """As someone who can write the table."""
    item = {"pk": {"S": key}, "profile": {"B": encode(profile)}}
    client("dynamodb").put_item(TableName=profiles.table, Item=item)


def test_a_stored_profile_is_what_its_content_hash_says(profiles: StoredProfiles) -> None:
    pinned = profiles.keep(own())
    overwrite(profiles, f"profile#{pinned}", own(title="Another"))
    with pytest.raises(ProfileTampered):
        fresh(profiles).load_pinned(pinned)


def test_a_profile_that_leaks_is_refused_although_its_hash_is_right(profiles: StoredProfiles) -> None:
    """It was written past the checks of a profile's file."""
    leaking = msgspec.structs.replace(own(), response=Response(capture={"x": "refresh_token"}))
    overwrite(profiles, f"profile#{content_hash(leaking)}", leaking)
    with pytest.raises(ProfileTampered, match=r"response\.capture\.x"):
        profiles.load_pinned(content_hash(leaking))


def test_an_added_provider_is_checked_again_when_it_is_read(profiles: StoredProfiles) -> None:
    broken = msgspec.structs.replace(own(), response=Response(capture={"x": "refresh_token"}))
    overwrite(profiles, "provider#acme", broken)
    with pytest.raises(InvalidProfile):
        profiles.load_named("acme")


def test_an_item_of_another_kind_is_no_profile(profiles: StoredProfiles) -> None:
    client("dynamodb").put_item(TableName=profiles.table, Item={"pk": {"S": "profile#issuers"}})
    with pytest.raises(UnknownProfile):
        profiles.load_pinned("issuers")
