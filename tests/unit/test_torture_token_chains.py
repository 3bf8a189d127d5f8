"""Protects how the torture finds the connection of a refresh token at a provider's proxy: every fault depends on it."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from evergrant.secret import fingerprint
from local.torture.proxy import Reply, Request
from local.torture.token_chains import TokenChains


def _build_request(token: str | None) -> Request:
    fields = {"grant_type": "authorization_code", "code": "c"} if token is None else {"refresh_token": token}
    return Request(0.0, 1, "POST", "/token", {}, urlencode(fields).encode())


def _build_reply(token: str) -> Reply:
    return Reply(200, json.dumps({"refresh_token": token}).encode())


def test_a_refresh_token_is_known_by_any_one_of_its_chain_that_was_stored() -> None:
    stored: dict[str, str] = {}
    chains = TokenChains(stored)
    chains.add_reply(_build_request(None), _build_reply("a"))
    chains.add_reply(_build_request("a"), _build_reply("b"))
    chains.add_reply(_build_request("b"), _build_reply("c"))
    assert chains.find_owner(_build_request("c")) is None

    stored[fingerprint("b")] = "keap/1"

    assert chains.find_owner(_build_request("a")) == chains.find_owner(_build_request("c")) == "keap/1"


def test_a_chain_may_begin_with_a_token_that_came_by_another_way() -> None:
    chains = TokenChains({fingerprint("a"): "keap/1", fingerprint("x"): "keap/2"})
    chains.add_reply(_build_request("a"), _build_reply("b"))

    assert chains.find_owner(_build_request("b")) == "keap/1"
    assert chains.find_owner(_build_request("x")) == "keap/2"


def test_what_is_no_answer_with_tokens_begins_no_chain() -> None:
    chains = TokenChains({fingerprint("a"): "keap/1"})
    chains.add_reply(_build_request("a"), Reply(500, b"<html>"))
    chains.add_reply(_build_request("a"), Reply(200, b""))

    assert chains.find_owner(_build_request("a")) == "keap/1"
    assert chains.find_owner(_build_request(None)) is None
