"""Undo the content codings of a response's body (RFC 9110 section 8.4), never unpacking more than a limit.

gzip, deflate and, from Python 3.14, zstd. An HTTP library's own decoding has no limit: it unpacks each piece of the
network whole, and a kilobyte can hold a megabyte.
"""

from __future__ import annotations

import zlib
from typing import Any, Literal, NamedTuple

#: More than one is rare, and each costs a pass.
_MAX_CODINGS = 4
#: A gzip file may consist of several members (RFC 1952 section 2.2). Empty ones would cost a pass each.
_MAX_MEMBERS = 64
_GZIP_MAGIC = b"\x1f\x8b"
#: The formats that zlib reads, as it numbers them.
_ZLIB_WBITS, _RAW_WBITS, _GZIP_WBITS = zlib.MAX_WBITS, -zlib.MAX_WBITS, zlib.MAX_WBITS + 16
#: The largest window of the coding zstd is 8 MB (RFC 9659 section 3).
_MAX_ZSTD_WINDOW_LOG = 23

#: Whether a body is all there: it may break off, or go on after the limit.
Extent = Literal["whole", "truncated", "too_long"]


class NotDecodable(Exception):
    """A coding is not known here, or the body is not in it."""


class Content(NamedTuple):
    """What came out, and whether that is everything."""

    body: bytes
    extent: Extent = "whole"


def decode_content(body: bytes, codings: str, limit: int) -> Content:
    """Undo the codings, the last one first.

    Parameters
    ----------
    codings
        The value of ``Content-Encoding``: names in the order in which they were applied.
    limit
        The most bytes that may come out of any of them.

    Raises
    ------
    NotDecodable
    """
    names = [name.strip().lower() for name in codings.split(",")]
    applied = [name for name in names if name not in ("", "identity")]
    if len(applied) > _MAX_CODINGS:
        raise NotDecodable
    content = Content(body)
    for name in reversed(applied):
        decoded = _decode_one(name, content.body, limit)
        content = decoded if content.extent == "whole" else decoded._replace(extent=content.extent)
    return content


def _decode_one(name: str, body: bytes, limit: int) -> Content:
    if name not in ("gzip", "x-gzip", "deflate", "zstd"):
        raise NotDecodable
    if not body:  # an error without a text still has the header on some servers
        return Content(b"")
    try:
        if name == "zstd":
            return _decode_zstd(body, limit)
        return _decode_deflate(body, limit) if name == "deflate" else _decode_gzip(body, limit)
    except zlib.error as error:
        raise NotDecodable from error


def _decode_gzip(body: bytes, limit: int) -> Content:
    """Decode every member. What follows the last, as padding does, is ignored: its checksum has been compared."""
    decoded = b""
    for _ in range(_MAX_MEMBERS):
        piece, extent, body = _inflate(body, limit - len(decoded), _GZIP_WBITS)
        decoded += piece
        if extent != "whole" or not body.startswith(_GZIP_MAGIC):
            return Content(decoded, extent)
    raise NotDecodable


def _decode_deflate(body: bytes, limit: int) -> Content:
    """Decode the zlib format, as the coding is defined, or the bare one, which some servers send (section 8.4.1.2)."""
    try:
        decoded, extent, _ = _inflate(body, limit, _ZLIB_WBITS)
    except zlib.error:
        decoded, extent, rest = _inflate(body, limit, _RAW_WBITS)
        if rest:  # it has no checksum, so what does not end here may be anything
            raise NotDecodable from None
    return Content(decoded, extent)


def _inflate(body: bytes, limit: int, wbits: int) -> tuple[bytes, Extent, bytes]:
    """Return at most ``limit`` bytes, whether that is all, and what follows in ``body``. Raises zlib.error."""
    unpacking = zlib.decompressobj(wbits)
    decoded = unpacking.decompress(body, limit + 1)
    return decoded[:limit], _find_extent(decoded, limit, whole=unpacking.eof), unpacking.unused_data


def _decode_zstd(body: bytes, limit: int) -> Content:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]  # Python 3.14
    except ImportError:
        raise NotDecodable from None
    options: dict[Any, int] = {zstd.DecompressionParameter.window_log_max: _MAX_ZSTD_WINDOW_LOG}
    unpacking = zstd.ZstdDecompressor(options=options)
    try:
        decoded: bytes = unpacking.decompress(body, limit + 1)
    except zstd.ZstdError as error:
        raise NotDecodable from error
    return Content(decoded[:limit], _find_extent(decoded, limit, whole=unpacking.eof))


def _find_extent(decoded: bytes, limit: int, *, whole: bool) -> Extent:
    if len(decoded) > limit:
        return "too_long"
    return "whole" if whole else "truncated"
