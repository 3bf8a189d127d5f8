"""Protects the provider verbs: what they tell an operator to register, and that only a sound profile is stored."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from evergrant.adapters.aws.profiles import StoredProfiles
from evergrant.adapters.aws.records import DynamoRecords
from evergrant.profiles import built_in
from tests.adapters.cli_desk import API, Desk

ACME = """
name = "acme"
title = "Acme"
documentation = [{ url = "https://docs.acme.example/oauth", read = "2026-11-01" }]

[variables.region]
pattern = "eu|us"
describe = "Where the account lives."

[authorize]
url = "https://{region}.acme.example/authorize"

[exchange]
url = "https://{region}.acme.example/token"

[refresh]
url = "https://{region}.acme.example/token"
"""


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, records: DynamoRecords, queue_url: str) -> Desk:
    return Desk(monkeypatch, records, queue_url)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "acme.toml"
    path.write_text(ACME, "utf-8")
    return path


def test_an_added_profile_is_listed_and_shows_the_next_step(desk: Desk, file: Path) -> None:
    said = desk("provider", "add", str(file))
    assert f"{API}/callback/acme" in said
    assert "evergrant client set acme" in said
    assert StoredProfiles(desk.records.table).load_named("acme").title == "Acme"
    listed = desk.json("provider", "list")["providers"]
    assert [(item["provider"], item["built_in"]) for item in listed] == [
        *((name, True) for name in built_in.load_built_in()),
        ("acme", False),
    ]
    assert "of this stack" in desk("provider", "list")


def test_the_list_names_grants_and_sources_and_fits_80_columns(desk: Desk) -> None:
    said = desk("provider", "list")
    assert max(map(len, said.splitlines())) <= 80
    page = built_in.load_built_in()["keap"].documentation[0]
    keap = said[said.index("\nkeap") :].splitlines()
    assert keap[1].split() == ["keap", "authorization_code", urlsplit(page.url).netloc]
    assert keap[2].split()[:2] == ["read", page.read]
    [listed] = [item for item in desk.json("provider", "list")["providers"] if item["provider"] == "keap"]
    assert listed["documentation"][0].keys() == {"url", "read", "says"}


def test_show_has_the_redirect_uri_the_variables_and_the_sources(desk: Desk, file: Path) -> None:
    desk("provider", "add", str(file))
    said = desk("provider", "show", "acme")
    for wanted in (f"{API}/callback/acme", "eu|us", "(needed)", "Where the account lives.", "docs.acme.example/oauth"):
        assert wanted in said
    answer = desk.json("provider", "show", "acme")
    assert answer["redirect_uri"] == f"{API}/callback/acme"
    assert answer["variables"]["region"]["pattern"] == "eu|us"
    assert answer["profile"]["refresh"]["url"] == "https://{region}.acme.example/token"


def test_adding_again_says_whether_anything_changed_and_for_whom(desk: Desk, file: Path) -> None:
    assert desk.json("provider", "add", str(file))["change"] == "added"
    assert "unchanged" in desk("provider", "add", str(file))
    file.write_text(ACME.replace("Acme", "Acme Ltd"), "utf-8")
    said = desk("provider", "add", str(file))
    assert "acme is replaced. Connections keep the old one until they are connected again:" in said
    assert "evergrant connect acme/ACCOUNT" in said


def test_a_grant_without_a_browser_has_no_redirect_uri_to_register(desk: Desk) -> None:
    assert desk.json("provider", "show", "wealthyhood")["redirect_uri"] is None
    assert "redirect URI" not in desk("provider", "show", "wealthyhood")


def test_what_ships_can_be_looked_at_before_anything_is_deployed(desk: Desk) -> None:
    said, aside = desk.both("provider", "list", "--stack", "none")
    assert "keap" in said
    assert "There is no stack none" in aside
    assert "known once the stack is deployed" in desk("provider", "show", "keap", "--stack", "none")


def test_a_profile_that_does_not_hold_is_refused_with_the_place(desk: Desk, file: Path) -> None:
    file.write_text(ACME.replace("{region}.acme.example/token", "{nowhere}.acme.example/token"), "utf-8")
    error = desk.error("provider", "add", str(file))
    assert error["code"] == "invalid_profile"
    assert "acme.toml" in error["message"]
    assert "nowhere" in error["message"]
    assert [item["provider"] for item in desk.json("provider", "list")["providers"]] == list(built_in.load_built_in())


def test_a_built_in_name_is_not_shadowed(desk: Desk, file: Path) -> None:
    file.write_text(ACME.replace('"acme"', '"keap"'), "utf-8")
    assert desk.error("provider", "add", str(file))["code"] == "invalid_profile"


def test_a_file_that_is_no_text_is_refused(desk: Desk, file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    assert desk.error("provider", "add", str(file))["code"] == "invalid_profile"


def test_a_file_that_is_not_there_is_wrong_usage(desk: Desk) -> None:
    assert "does not exist" in desk.both("provider", "add", "/no/such/file.toml", status=2)[1]


def test_an_unknown_provider_is_said(desk: Desk) -> None:
    assert desk.error("provider", "show", "nosuch")["code"] == "unknown_profile"
