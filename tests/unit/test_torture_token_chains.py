"""Protects how the torture finds the connection of a refresh token at a provider's proxy: every fault depends on it."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from evergrant.secret import fingerprint
from local.torture.proxy import Reply, Request
from local.torture.token_chains import TokenChains


def _asked(token: str | None) -> Request:
    fields = {"grant_type": "authorization_code", "code": "c"} if token is None else {"refresh_token": token}
    return Request(0.0, 1, "POST", "/token", {}, urlencode(fields).encode())


def _answered(token: str) -> Reply:
    return Reply(200, json.dumps({"refresh_token": token}).encode())


def test_a_refresh_token_is_known_by_any_one_of_its_chain_that_was_stored() -> None:
    stored: dict[str, str] = {}
    chains = TokenChains(stored)
    chains.add_reply(_asked(None), _answered("a"))
    chains.add_reply(_asked("a"), _answered("b"))
    chains.add_reply(_asked("b"), _answered("c"))
    assert chains.find_owner(_asked("c")) is None

    stored[fingerprint("b")] = "keap/1"

    assert chains.find_owner(_asked("a")) == chains.find_owner(_asked("c")) == "keap/1"


def test_a_chain_may_begin_with_a_token_that_came_by_another_way() -> None:
    chains = TokenChains({fingerprint("a"): "keap/1", fingerprint("x"): "keap/2"})
    chains.add_reply(_asked("a"), _answered("b"))

    assert chains.find_owner(_asked("b")) == "keap/1"
    assert chains.find_owner(_asked("x")) == "keap/2"


def test_what_is_no_answer_with_tokens_begins_no_chain() -> None:
    chains = TokenChains({fingerprint("a"): "keap/1"})
    chains.add_reply(_asked("a"), Reply(500, b"<html>"))
    chains.add_reply(_asked("a"), Reply(200, b""))

    assert chains.find_owner(_asked("a")) == "keap/1"
    assert chains.find_owner(_asked(None)) is None
