"""Protects a token set that comes packed: each content coding is undone, to a limit, and what cannot be is kept."""

from __future__ import annotations

import gzip
import json
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.adapters.http import MAX_RESPONSE_BYTES, GuardedHttp
from evergrant.content_coding import Content, NotDecodable, decode_content
from evergrant.errors import LostResponse
from evergrant.http_messages import HttpRequest, HttpResponse
from tests.adapters.loopback import Behaviour, answers, serving

PLAIN = json.dumps({"access_token": "a", "refresh_token": "r", "expires_in": 60}).encode()
LIMIT = 1000
MEGABYTE = 1024 * 1024


def pack_gzip(data: bytes) -> bytes:
    """Compress without the time, which would change the names of tests."""
    return gzip.compress(data, mtime=0)


def deflate(data: bytes) -> bytes:
    """Compress without the zlib format around it, as some servers do."""
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(data) + packing.flush()


def ask(behave: Behaviour) -> HttpResponse:
    with serving(behave) as server:
        request = HttpRequest("POST", f"http://{server.host}/token", {}, b"")
        return GuardedHttp(allow_loopback=True).send(request, hosts=(server.host,), timeout=20)


def receive(body: bytes, codings: str, status: str = "200 OK") -> HttpResponse:
    return ask(answers(body, status, f"Content-Encoding: {codings}\r\n"))


# --- over the wire ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codings", "packed"),
    [
        ("gzip", pack_gzip(PLAIN)),
        ("x-gzip", pack_gzip(PLAIN)),
        ("GZIP", pack_gzip(PLAIN)),
        (" gzip ", pack_gzip(PLAIN)),
        ("deflate", zlib.compress(PLAIN)),
        ("deflate", deflate(PLAIN)),
        ("identity", PLAIN),
        ("", PLAIN),
        ("gzip, gzip", pack_gzip(pack_gzip(PLAIN))),
        ("gzip\r\nContent-Encoding: gzip", pack_gzip(pack_gzip(PLAIN))),
        ("deflate,gzip", pack_gzip(zlib.compress(PLAIN))),
        ("gzip , Deflate", deflate(pack_gzip(PLAIN))),
        ("identity, gzip, identity", pack_gzip(PLAIN)),
    ],
    ids=["gzip", "x-gzip", "upper-case", "spaces", "zlib", "deflate", "identity", "empty", "twice", "two-headers",
         "deflate-gzip", "gzip-deflate", "identities"],
)  # fmt: skip
def test_a_body_is_decoded_and_its_header_removed(codings: str, packed: bytes) -> None:
    response = receive(packed, codings)
    assert response.body == PLAIN
    assert "content-encoding" not in response.headers


@pytest.mark.parametrize(
    ("codings", "body"),
    [
        ("br", b"\x8b\x02\x80{}\x03"),
        ("compress", b"\x1f\x9d"),
        ("aes128gcm", PLAIN),
        ("gzip, br", pack_gzip(PLAIN)),
        ("br, gzip", pack_gzip(PLAIN)),
        ("gzip", PLAIN),
        ("gzip", b"\x1f\x8b"),
        ("gzip", pack_gzip(PLAIN)[:-1]),
        ("gzip", pack_gzip(PLAIN)[:-9]),
        ("gzip", pack_gzip(PLAIN)[:-8] + b"\0" * 8),
        ("deflate", PLAIN),
        ("deflate", zlib.compress(PLAIN)[:-1]),
        ("deflate", deflate(PLAIN)[:-1]),
        ("deflate", deflate(PLAIN) + b"x"),
        ("gzip, gzip", pack_gzip(PLAIN)),
        ("gzip, gzip, gzip, gzip, gzip", PLAIN),
    ],
    ids=["unknown", "compress", "encrypted", "unknown-last", "unknown-first", "plain-as-gzip", "magic-alone",
         "gzip-without-end", "gzip-cut", "gzip-checksum", "plain-as-deflate", "zlib-cut", "deflate-cut",
         "deflate-trailing", "packed-once-only", "too-many"],
)  # fmt: skip
@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
def test_what_cannot_be_decoded_is_kept_with_its_header(codings: str, body: bytes, status: str) -> None:
    response = receive(body, codings, status)
    assert response.body == body
    assert response.headers["content-encoding"] == codings


@pytest.mark.parametrize("codings", ["gzip", "deflate", "gzip, gzip"])
def test_an_empty_body_needs_no_decoding(codings: str) -> None:
    response = receive(b"", codings, "401 Unauthorized")
    assert (response.body, "content-encoding" in response.headers) == (b"", False)


@pytest.mark.parametrize(
    "body",
    [
        pack_gzip(PLAIN) + b"\0" * 512,
        pack_gzip(PLAIN) + b"garbage",
        pack_gzip(PLAIN[:9]) + pack_gzip(PLAIN[9:]),
        pack_gzip(b"") + pack_gzip(PLAIN),
    ],
    ids=["padded", "garbage", "two-members", "empty-member"],
)
def test_all_members_of_gzip_are_read_and_padding_ignored(body: bytes) -> None:
    assert receive(body, "gzip").body == PLAIN


@pytest.mark.parametrize(
    "packed", [b"x" * MAX_RESPONSE_BYTES, b"x" * (MAX_RESPONSE_BYTES - 1)], ids=["limit", "one-less"]
)
def test_what_unpacks_to_the_largest_size_is_taken(packed: bytes) -> None:
    assert receive(pack_gzip(packed), "gzip").body == packed


@pytest.mark.parametrize("layers", [1, 2])
def test_an_error_that_unpacks_to_too_much_is_cut(layers: int) -> None:
    bomb = b"x" * (40 * MEGABYTE)
    for _ in range(layers):
        bomb = pack_gzip(bomb)
    ask(answers())
    tracemalloc.start()
    try:
        response = receive(bomb, ", ".join(["gzip"] * layers), "503 Down")
        grown = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert response.body == b"x" * len(response.body)
    assert len(response.body) == MAX_RESPONSE_BYTES
    assert grown < MEGABYTE


def test_an_error_whose_packed_body_is_too_large_is_read_to_there() -> None:
    stored = zlib.compress(b"<html>" + bytes(range(256)) * 1024, level=0)
    assert len(stored) > MAX_RESPONSE_BYTES
    response = receive(stored, "deflate", "502 Bad Gateway")
    assert response.body.startswith(b"<html>\x00\x01\x02")
    assert MAX_RESPONSE_BYTES - 100 < len(response.body) <= MAX_RESPONSE_BYTES
    with pytest.raises(LostResponse) as lost:
        receive(stored, "deflate")
    assert lost.value.reason == "too_large"


# --- by itself ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [pack_gzip, zlib.compress, deflate])
def test_no_more_than_the_limit_is_unpacked(pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(b"x" * (50 * MEGABYTE))
    tracemalloc.start()
    try:
        content = decode_content(bomb, "gzip" if pack is pack_gzip else "deflate", LIMIT)
        grown = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert content == Content(b"x" * LIMIT, "too_long")
    assert grown < MEGABYTE


def test_a_bomb_inside_a_coding_is_not_unpacked_either() -> None:
    bomb = pack_gzip(pack_gzip(pack_gzip(b"x" * (50 * MEGABYTE))))
    content = decode_content(bomb, "gzip, gzip, gzip", LIMIT)
    assert content == Content(b"x" * LIMIT, "too_long")


def test_members_together_keep_the_limit() -> None:
    assert decode_content(pack_gzip(b"x" * 600) * 2, "gzip", LIMIT) == Content(b"x" * LIMIT, "too_long")
    with pytest.raises(NotDecodable):
        decode_content(pack_gzip(b"") * 65, "gzip", LIMIT)


@given(
    body=st.binary(max_size=100) | st.sampled_from([pack_gzip(PLAIN), zlib.compress(PLAIN), deflate(PLAIN)]),
    cut=st.integers(0, 100),
    codings=st.lists(st.sampled_from(["gzip", "deflate", "zstd", "br", "identity", ""]), max_size=5),
)
def test_no_body_raises_anything_else(body: bytes, cut: int, codings: list[str]) -> None:
    try:
        content = decode_content(body[cut:] + body[:cut], ",".join(codings), LIMIT)
    except NotDecodable:
        return
    assert len(content.body) <= max(LIMIT, len(body))


def test_zstd_is_known_where_python_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.version_info < (3, 14):
        with pytest.raises(NotDecodable):
            decode_content(b"\x28\xb5\x2f\xfd", "zstd", LIMIT)
        # The same module, for older versions.
        backport = pytest.importorskip("backports.zstd")
        monkeypatch.setitem(sys.modules, "compression", type(sys)("compression"))
        monkeypatch.setitem(sys.modules, "compression.zstd", backport)
        sys.modules["compression"].zstd = backport  # type: ignore[attr-defined]
    from compression import zstd  # type: ignore[import-not-found, unused-ignore]

    packed = zstd.compress(PLAIN)
    assert decode_content(packed, "zstd", LIMIT) == Content(PLAIN)
    assert decode_content(packed[:-1], "zstd", LIMIT).extent == "truncated"
    assert decode_content(zstd.compress(b"x" * (50 * MEGABYTE)), "zstd", LIMIT) == Content(b"x" * LIMIT, "too_long")
    # A window of 128 MB, which a decoder would have to allocate.
    packing = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    for broken in (PLAIN, packing.compress(PLAIN) + packing.flush()):
        with pytest.raises(NotDecodable):
            decode_content(broken, "zstd", MEGABYTE)
