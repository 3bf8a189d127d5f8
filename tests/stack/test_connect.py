"""Protects the way an account gets connected: every hop of it, deployed, with only the grants each function has."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from local import connections
from local.browser import Browser, Page, connect
from local.world import World
from tests.stack.deployed import EventsQueue, button

HOMEMADE = """
name = "homemade"
title = "A provider of our own"

[client_credentials]
url = "https://{host}/oauth/token"
format = "json"

[client_credentials.params]
audience = "https://api.wealthyhood.example"
"""


def test_the_link_leads_through_the_providers_consent_page_to_success(keap: Page, world: World) -> None:
    assert keap.status == 200
    assert "Keap" in keap.text
    assert keap.url.startswith(f"{world.stack.redirect_uri('keap')}?")


def test_a_connected_account_is_shown_as_active_to_the_operator(keap: Page, world: World) -> None:
    assert status_of(world, "keap/main") == "active"


def test_a_headless_grant_connects_without_a_person(wealthyhood: None, world: World) -> None:
    assert status_of(world, "wealthyhood/main") == "active"


def test_a_client_of_an_earlier_release_keeps_its_redirect_uri(world: World) -> None:
    """Its entry has no redirect path. It is set again, and connected, by the one that all providers share."""
    client, server = world.clients["keap"], world.providers["keap"]
    earlier = replace(client, client_id="evergrant-before", redirect_uris=(world.stack.callback_url,))
    server.provider.register(earlier)
    entry = json.dumps(
        {"client_id": earlier.client_id, "client_secrets": [earlier.client_secret], "hosts": [server.host]}
    )
    secrets, outputs = world.aws.client("secretsmanager"), world.stack.outputs
    name = f"{outputs['SecretPrefix']}/clients/before"
    secrets.create_secret(Name=name, SecretString=entry, KmsKeyId=outputs["VaultKeyArn"])
    world.evergrant("client", "set", "before", given=entry)
    connection = connections.KEAP.for_account("before")
    arguments = (*world.connect_arguments(connection), "--client", "before", "--no-wait", "--json")
    made = json.loads(world.evergrant(*arguments))
    assert made["redirect_uri"] == world.stack.callback_url
    assert connect(made["link"]).url.startswith(f"{world.stack.callback_url}?")
    assert status_of(world, "keap/before") == "active"


def test_who_denied_may_open_the_link_again_and_allow(world: World, events_queue: EventsQueue) -> None:
    link = world.link(connections.KEAP.for_account("hesitant"))
    with Browser() as browser:
        connect = browser.open(link)
        consent = browser.submit(connect, connect.forms[0])
        denied = browser.submit(consent, button(consent, "deny"))
        again = browser.open(link)
        consent = browser.submit(again, again.forms[0])
        allowed = browser.submit(consent, button(consent, "allow"))

    assert denied.status != 200
    assert allowed.status == 200
    assert events_queue.wait_for("Connection Authorized", "keap/hesitant")


def test_another_browser_cannot_finish_what_this_one_began(world: World) -> None:
    link = world.link(connections.KEAP.for_account("stolen"))
    with Browser() as mine, Browser() as other:
        connect = mine.open(link)
        consent = mine.submit(connect, connect.forms[0])
        other_page = other.submit(consent, button(consent, "allow"))

    assert other_page.status == 403
    assert status_of(world, "keap/stolen") == "awaiting_authorization"


def test_a_link_that_was_used_is_not_good_again(keap: Page, world: World) -> None:
    link = world.link(connections.KEAP.for_account("once"))
    with Browser() as browser:
        connect = browser.open(link)
        consent = browser.submit(connect, connect.forms[0])
        browser.submit(consent, button(consent, "allow"))
        again = browser.open(link)

    assert again.status in {404, 410}
    assert not again.forms


def test_a_provider_of_ones_own_on_this_machine_is_added_and_connected(
    world: World, events_queue: EventsQueue, tmp_path: Path
) -> None:
    profile = tmp_path / "homemade.toml"
    profile.write_text(HOMEMADE.format(host=world.providers["wealthyhood"].host), encoding="utf-8")
    given = f"{world.clients['wealthyhood'].client_secret}\n"

    world.evergrant("provider", "add", str(profile))
    world.evergrant("client", "set", "homemade", "--client-id", "evergrant-at-wealthyhood", given=given)
    world.evergrant("connect", "homemade/first")

    assert events_queue.wait_for("Connection Authorized", "homemade/first")


@pytest.mark.parametrize("path", ["/connect/no-such-ticket", "/callback?state=none&code=none"])
def test_an_address_made_up_gets_a_page_and_no_error(world: World, path: str) -> None:
    with Browser() as browser:
        page = browser.open(world.stack.api_url + path)

    assert page.status == 404
    assert page.headers["content-type"].startswith("text/html")


def status_of(world: World, connection: str) -> str:
    """What the operator sees; the command's exit status speaks of everything else in the stack too."""
    shown = json.loads(world.evergrant("status", "--json", statuses=(0, 3)))
    return str(next(each for each in shown["connections"] if each["connection"] == connection)["status"])
