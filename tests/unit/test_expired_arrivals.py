"""Protects connections whose tokens come expired: degraded from the third in a row on, reported once, and recovered."""

from __future__ import annotations

from typing import Any

import pytest

from evergrant.oauth.token_response import parse_token_response
from evergrant.oauth.token_set import TokenSet
from evergrant.record import token_save
from evergrant.record.connection import Connection, RecordChange
from evergrant.record.status import Status
from evergrant.settings import Settings
from tests.unit.samples import KEAP, NOW, SEALED, apply, connection, respond, tokens


def receive(current: Connection, before: TokenSet, expires_in: int, now: int) -> tuple[Connection, TokenSet, list[Any]]:
    """What a refresh answered with this ``expires_in`` makes of the record; and the events that it adds."""
    body = {"access_token": f"access-{now}", "refresh_token": "r", "expires_in": expires_in}
    read = parse_token_response(KEAP, respond(200, body), now, before)
    assert isinstance(read, TokenSet)
    change: RecordChange = token_save.save_token_set(current, read, SEALED, KEAP, Settings(), now)
    return apply(current, change), read, [body["detail"] for body in change.events.values() if body]


def test_the_third_expired_arrival_in_a_row_is_reported_until_a_good_one() -> None:
    current, before = connection(direct_read=False), tokens()
    seen = []
    for number, stated in enumerate([0, -5, 0, 0, 3600]):
        current, before, details = receive(current, before, stated, NOW + number)
        reported = [detail["reason"] for detail in details if "reason" in detail]
        seen.append((current.status, current.last_error, current.expiry_doubt, reported))
    degraded = (Status.DEGRADED, "expired_on_arrival", "expired")
    assert seen == [
        (Status.ACTIVE, None, "expired", []),
        (Status.ACTIVE, None, "expired", []),
        (*degraded, ["expired_on_arrival"]),
        (*degraded, []),
        (Status.ACTIVE, None, None, []),
    ]


def test_an_expired_arrival_is_refreshed_at_once_the_third_by_default() -> None:
    current, before = connection(), tokens()
    waits = []
    for now in (NOW, NOW + 1, NOW + 2):
        current, before, _ = receive(current, before, 0, now)
        waits.append((current.refresh_at or 0) - now)
    assert waits[:2] == [0, 0]
    assert waits[2] > 70_000, "Keap documents a day"


@pytest.mark.parametrize("stated", [4_102_444_800, 86_400_000])
def test_the_record_says_that_a_lifetime_was_not_believed(stated: int) -> None:
    current, read, _ = receive(connection(), tokens(), stated, NOW)
    assert (current.expiry_doubt, read.lifetime) == ("not_credible", 86_400)
