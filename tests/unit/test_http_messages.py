"""Protects the text of a response: its tokens are read under any declared charset, and nothing is raised."""

from __future__ import annotations

import codecs
from encodings.aliases import aliases

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergrant.http_messages import HttpResponse

JSON = '{"access_token":"a+b-","title":"Zürich"}'
CHARSETS = sorted({*aliases.values(), *aliases})


def text(body: bytes, content_type: str | None = None) -> str:
    return HttpResponse(200, {} if content_type is None else {"content-type": content_type}, body).text()


@pytest.mark.parametrize("content_type", [None, "", "application/json", "application/json; charset=utf-8"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_a_body_without_another_charset_is_utf_8(content_type: str | None, mark: bytes) -> None:
    assert text(mark + JSON.encode(), content_type) == JSON


@pytest.mark.parametrize(
    "declared",
    [
        "charset=iso-8859-1",
        "charset=ISO-8859-1",
        'Charset = "iso-8859-1"',
        "charset='iso-8859-1'",
        "version=1; charset=latin1; x=y",
        "charset=windows-1252, application/json; charset=utf-8",
    ],
)
def test_a_declared_charset_is_used(declared: str) -> None:
    assert text(JSON.encode("latin-1"), f"application/json; {declared}") == JSON


@pytest.mark.parametrize("charset", ["shift_jis", "gb18030", "euc-kr", "iso-2022-jp", "windows-1251", "koi8-r"])
def test_charsets_of_the_whole_world_are_known(charset: str) -> None:
    said = {"shift_jis": "東京", "gb18030": "北京", "euc-kr": "서울", "iso-2022-jp": "東京"}.get(charset, "Москва")
    assert text(said.encode(charset), f"text/html; charset={charset}") == said


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
@pytest.mark.parametrize("declared", ["", "; charset=utf-8", "; charset=utf-16", "; charset=us-ascii"])
def test_utf_16_and_utf_32_are_known_by_the_body(charset: str, declared: str) -> None:
    assert text(JSON.encode(charset), f"application/json{declared}") == JSON


@pytest.mark.parametrize(
    "charset",
    ["klingon", "utf-16", "utf-32-be", "utf-7", "us-ascii", "hex", "zlib", "bz2", "base64", "rot13", "uu", "idna",
     "punycode", "unicode_escape", "undefined", "mbcs", "aliases", "none"],
)  # fmt: skip
def test_a_charset_that_is_unknown_or_does_not_fit_leaves_utf_8(charset: str) -> None:
    assert text(JSON.encode(), f"application/json; charset={charset}") == JSON


def test_bytes_that_fit_no_charset_are_replaced() -> None:
    assert text(b'{"title":"\xff","a":1}') == '{"title":"\ufffd","a":1}'
    assert text(b"\x93\xfa\xff", "text/html; charset=shift_jis") == "日\ufffd"


@given(body=st.binary(max_size=200), charset=st.sampled_from(CHARSETS))
def test_no_body_and_no_charset_raise(body: bytes, charset: str) -> None:
    assert isinstance(text(body, f"text/html; charset={charset}"), str)
