"""Protects the shipped profiles: each loads, is found by its name and by its hash, and says what its provider does."""

from __future__ import annotations

from importlib import resources

from evergrant.profiles import built_in
from evergrant.profiles.expiry import compute_expiry
from evergrant.profiles.model import content_hash
from tests.unit.samples import KEAP, NOW, WEALTHYHOOD


def test_every_shipped_file_is_a_profile_under_its_own_name() -> None:
    folder = resources.files("evergrant") / "profiles" / "catalogue"
    files = {file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml")}
    assert set(built_in.load_built_in()) == files
    assert {"keap", "wealthyhood"} <= files
    assert all(profile.name == name for name, profile in built_in.load_built_in().items())


def test_every_shipped_profile_is_found_by_the_hash_that_connections_pin() -> None:
    assert len(built_in.load_by_hash()) == len(built_in.load_built_in())
    for profile in built_in.load_built_in().values():
        assert built_in.load_by_hash()[content_hash(profile)] is profile


def test_keap_is_spoken_to_on_its_own_hosts_by_default() -> None:
    assert KEAP.bind({}) == {
        "host": "api.infusionsoft.com",
        "login_host": "accounts.infusionsoft.com",
        "refresh_token_days": "45",
    }
    assert KEAP.grants == ("authorization_code", "static")


def test_keap_lives_a_day_and_its_refresh_token_forty_five() -> None:
    assert KEAP.response.expires[-1].default == 86_400
    assert compute_expiry(KEAP.response.refresh_expires, {}, NOW, KEAP.defaults) == (NOW + 45 * 86_400, "default")
    assert KEAP.rotation.lead == 3 * 3600
    assert KEAP.rotation.rotates
    assert KEAP.rotation.reuse_grace == 0


def test_wealthyhood_needs_host_and_audience_and_has_no_refresh_token() -> None:
    """Wealthyhood needs a host and an audience, and knows no refresh token."""
    assert WEALTHYHOOD.grants == ("client_credentials",)
    assert [variable.default for variable in WEALTHYHOOD.variables.values()] == [None, None]
    assert WEALTHYHOOD.response.expires[-1].default == 3600
    assert not WEALTHYHOOD.rotation.rotates
    assert WEALTHYHOOD.consumer.required_headers == ("x-user-id",)
