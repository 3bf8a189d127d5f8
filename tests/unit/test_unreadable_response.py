"""Protects what is kept of a response that cannot be read: all that reading it later may take."""

from __future__ import annotations

import gzip

from evergrant.http_messages import HttpResponse
from evergrant.oauth.token_response import parse_token_response
from evergrant.oauth.token_set import TokenSet
from evergrant.oauth.unreadable_response import KeptResponse
from tests.unit.samples import ISSUANCE, NOW, acme, tokens

BODY = b'{"access_token": "a", "refresh_token": "r", "expires_in": 60}'


def keep(response: HttpResponse) -> HttpResponse:
    return KeptResponse.decode(KeptResponse(NOW, response).encode(ISSUANCE)).response


def test_all_headers_are_kept() -> None:
    response = HttpResponse(200, {"content-type": "text/plain", "x-token": "t", "link": "a, b"}, b"\xff")
    assert keep(response) == response


def test_headers_beyond_a_bound_are_dropped_but_for_those_of_reading() -> None:
    long = {f"a{number}": "x" * 1000 for number in range(100)}
    kept = keep(HttpResponse(200, {**long, "date": "d", "content-type": "t", "content-encoding": "br"}, b"")).headers
    assert {"date", "content-type", "content-encoding"} < kept.keys()
    assert sum(len(name) + len(value) for name, value in kept.items()) <= 16_384


def test_a_kept_body_in_a_coding_is_read_once_the_coding_is_known() -> None:
    """As one that came before the release that knows the coding."""
    response = keep(HttpResponse(200, {"content-encoding": "gzip"}, gzip.compress(BODY)))
    assert response.body == BODY
    assert isinstance(parse_token_response(acme(), response, NOW, tokens()), TokenSet)


def test_a_kept_body_that_cannot_be_decoded_stays_as_it_came() -> None:
    bomb = gzip.compress(b" " * 2_000_000)
    for coding, body in (("br", BODY), ("gzip", BODY), ("gzip", bomb), ("gzip", gzip.compress(BODY)[:-9])):
        response = HttpResponse(200, {"content-encoding": coding}, body)
        assert keep(response) == response
