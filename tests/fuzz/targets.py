"""What is fuzzed: for each target, how bytes become an input of the oracle, what to start from, and which words to try.

An input is meant to be read by people: of ``answers`` it is an HTTP answer under the name of a profile and a phase.
All bytes mean something, so nothing that a fuzzer tries is wasted.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

from evergrant.http_messages import HttpResponse
from evergrant.profiles.built_in import load_built_in
from tests.fuzz.oracle import (
    CASES,
    NOW,
    STANDARD_CODES,
    Case,
    check_answer,
    check_callback,
    check_profile,
    check_wire,
    granting,
)

ROOT = Path(__file__).parents[2]
_PROFILES = ROOT / "layers" / "evergrant" / "evergrant" / "profiles" / "catalogue"
_DOCUMENTED = ROOT / "tests" / "unit" / "catalogue_answers"
_NAMES = [str(case) for case in CASES]
_BY_NAME = dict(zip(_NAMES, CASES, strict=True))
_FORM = "content-type: application/x-www-form-urlencoded"
_JSON = "content-type: application/json"


@dataclass(frozen=True)
class Target:
    """``run`` raises when the oracle does; ``seeds`` are inputs to start from."""

    name: str
    run: Callable[[bytes], object]
    seeds: Callable[[], Iterator[bytes]]


# --- answers of token endpoints ---------------------------------------------------------------------------------------


def _answer(data: bytes) -> None:
    """``keap refresh again``, the status, headers, an empty line, the body."""
    head, _, body = data.partition(b"\n\n")
    name, status, *lines = [*head.decode("latin-1").split("\n"), "", ""]
    pairs = [line.partition(":") for line in lines if line]
    headers = {field.strip().lower(): value.strip() for field, _, value in pairs}
    code = int(status) if status.isascii() and status.isdecimal() and len(status) == 3 else 200
    check_answer(_case(name), HttpResponse(code, headers, body))


def _case(name: str) -> Case:
    """The one of that name; else any, and the same one every time."""
    return _BY_NAME.get(name) or CASES[crc32(name.encode()) % len(CASES)]


def answer(name: str, status: int, body: bytes, *headers: str) -> bytes:
    """An input of the target ``answers``."""
    return "\n".join([name, str(status), *(headers or (_JSON,)), "", ""]).encode() + body


ODD_BODIES = (
    b"", b"OK", b"null", b"[]", b'"a"', b"<!doctype html><title>502</title>", b"\xff\xfe{}", b"\xef\xbb\xbf{}",
    b'{"access_token": "a", "access_token": "b", "expires_in": 60, "expires_in": 0}',
    b'{"access_token": "a", "expires_in": "3600"}', b'{"access_token": "a", "expires_in": 3600.5}',
    b'{"access_token": "a", "expires_in": 0}', b'{"access_token": "a", "expires_in": -1}',
    b'{"access_token": "a", "expires_in": 1e400}', b'{"access_token": "a", "expires_in": NaN}',
    b'{"access_token": "a", "expires_in": ' + b"9" * 400 + b"}", b'{"access_token": "a", "expires_in": {"a": []}}',
    b'{"access_token": ["a", "b"], "refresh_token": [" "], "scope": ["x", ""], "expires_in": 60}',
    b'{"access_token": " ", "refresh_token": "\\t", "expires_in": 60}', b'{"access_token": "\\ud800", "expires_in": 1}',
    b'{"access_token": "a", "token_type": "\xc3\xa9", "expires_in": 60}', b'{"ok": false, "error": "invalid_auth"}',
    b'{"access_token": "a.eyJleHAiOjE3OTUzNDUyMDB9.c", "expires_at": "2026-11-22T11:00:00Z"}',
    b'{"error": {"code": "invalid_grant", "message": "x"}, "access_token": "a", "expires_in": 60}',
    b'{"a":' * 400 + b"1" + b"}" * 400, b"[" * 3000,
)  # fmt: skip


def _answer_seeds() -> Iterator[bytes]:
    for case in CASES:
        yield answer(str(case), 200, json.dumps(granting(case.profile)).encode())
    for name, given in read_documented():
        mine = [str(case) for case in CASES if case.profile.name == name]
        for documented_one in given:
            yield answer(mine[-1], documented_one["status"], json.dumps(documented_one["body"]).encode())
    for index, body in enumerate(ODD_BODIES):
        for status in (200, 400):
            yield answer(_NAMES[index % len(_NAMES)], status, body)
    yield answer("github exchange", 200, b"access_token=a&expires_in=60&scope=x%2Cy&error=", _FORM)
    yield answer("keap refresh again", 429, b"", "Retry-After: Sun, 22 Nov 2026 10:02:00 GMT", "Date: now")


def read_documented() -> Iterator[tuple[str, Any]]:
    """Each provider's answers as its documentation has them."""
    for file in sorted(_DOCUMENTED.glob("*.json")):
        yield file.stem, json.loads(file.read_text("utf-8"))


# --- callbacks --------------------------------------------------------------------------------------------------------


def _callback(data: bytes) -> None:
    name, _, query = data.decode("utf-8", "replace").partition("?")
    check_callback(_case(name).profile, query)


def _callback_seeds() -> Iterator[bytes]:
    for case in CASES:
        if case.phase == "exchange":
            spec = case.profile.callback
            captured = "".join(f"&{parameter}=1" for parameter in spec.capture.values())
            yield f"{case.profile.name} exchange?{spec.code}=c&state=s{captured}".encode()
            yield f"{case.profile.name} exchange?{spec.error}=access_denied&error_description=x%0d%0a".encode()


# --- profiles ---------------------------------------------------------------------------------------------------------


def _profile(data: bytes) -> None:
    # The command refuses a file that is no UTF-8 before it asks the loader.
    check_profile(data.decode("utf-8", "replace"))


_SMALL = (
    'name="a"\ntitle="A"\n[client_credentials]\nurl="https://{h}.a.b/t"\nclient_auth="basic"\n'
    "params={x='{scope}'}\n[variables]\nh={pattern='[a-z]+',default='a'}\n",
    'name="a"\ntitle="A"\n[login]\nurl="https://a.b/l"\ncredentials=[["u","p"]]\nheaders={X-U="{u}"}\n'
    '[refresh]\nurl="https://a.b/r"\nformat="json"\n[rotation]\nfall_back_to_login=true\n',
    'name="a"\ntitle="A"\n[jwt_bearer]\nurl="https://a.b/t"\nclaims={iss="{client_id}",aud="{url}"}\nlifetime=9\n',
    'name="a"\ntitle="A"\n[authorize]\nurl="https://a.b/a"\nparams={p="{{x}}"}\n[exchange]\nurl="https://a.b/t"\n'
    '[response]\nexpires=[{jwt="access_token"},{default=9999999}]\nsuccess_when={path="ok",equals=1}\n'
    '[[errors]]\nas="transient"\nstatus=500\nempty=true\n[consumer]\nheaders={A="{token_type} {access_token}"}\n',
)


def _profile_seeds() -> Iterator[bytes]:
    yield from (text.encode() for text in _SMALL)
    yield from (text.encode() for text in profile_texts().values())


@cache
def profile_texts() -> dict[str, str]:
    """Every shipped profile's file."""
    return {file.stem: file.read_text("utf-8") for file in sorted(_PROFILES.glob("*.toml"))}


# --- bytes from the network -------------------------------------------------------------------------------------------


def _wire_seeds() -> Iterator[bytes]:
    body = b'{"access_token":"a","expires_in":60}'
    length = b"content-length: %d\r\n\r\n" % len(body)
    yield b"HTTP/1.1 200 OK\r\n" + length + body
    yield b"HTTP/1.0 200 OK\r\n\r\n" + body
    yield b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n"
    yield b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n24;x=y\r\n" + body + b"\r\n0\r\nx: y\r\n\r\n"
    yield b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00"
    for coding, packed in (
        ("gzip", gzip.compress(body, mtime=0)),
        ("deflate, GZIP", gzip.compress(zlib.compress(body), mtime=0)),
    ):
        yield f"HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\n\r\n".encode() + packed
    yield b"HTTP/1.1 503 No\r\ncontent-type: text/html; charset=shift_jis\r\nx: a\r\nX: b\r\n\r\n<\x93\xfa>"
    yield b"HTTP/1.1 204 No\r\n\r\n"
    yield b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nx"
    yield b"HTTP/1.1 302 Found\r\nlocation: //x\r\nset-cookie: a\r\n" + length + body
    yield b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n" + body
    yield b"\x15\x03\x01\x00\x02\x02\x28"


TARGETS = {
    target.name: target
    for target in (
        Target("answers", _answer, _answer_seeds),
        Target("callbacks", _callback, _callback_seeds),
        Target("profiles", _profile, _profile_seeds),
        Target("wire", check_wire, _wire_seeds),
    )
}

# --- the dictionary ---------------------------------------------------------------------------------------------------

_ODD_WORDS = (
    "access_token", "expires_in", "error", "null", "true", "false", "NaN", "Infinity", "-1", "0", "1e400", "1.5",
    "3600", str(NOW + 60), str((NOW + 60) * 1000), "2026-11-22T11:00:00Z", "2026-11-22 11:00", "9" * 30, "\\ud800",
    "\\u0000", "\\r\\n", '""', '" "', "[]", "{}", '["a","b"]', '{"', '":', "%00", "%ff", "&", "=", "+", "200", "204",
    "302", "400", "401", "429", "500", "503", "Retry-After: ", "Date: ", _FORM, _JSON, "content-encoding: gzip",
    "deflate", "x-gzip, identity",
    "transfer-encoding: chunked", "content-length: ", "Sun, 22 Nov 2026 10:02:00 GMT", "\ufeff", "{{", "}}", "{", "}",
    "{client_id}", "{client_secret}", "{access_token}", "[[", "]]", '"""', "'''", "a.eyJleHAiOjE3OTUzNDUyMDB9.c",
    "https://", "(?:", "[a-z]+", "{1,9}",
)  # fmt: skip


@cache
def words() -> list[bytes]:
    """What a mutation may put in: the names and codes that profiles speak of, and what has been absurd before."""
    found = {*_ODD_WORDS, *STANDARD_CODES, *_NAMES}
    for profile in load_built_in().values():
        spec = profile.response
        paths = [
            *spec.access_token,
            *spec.refresh_token,
            *spec.token_type,
            *spec.scope,
            *spec.error,
            *spec.error_description,
        ]
        paths += [*spec.capture.values(), *(rule.path or "" for rule in (*spec.expires, *spec.refresh_expires))]
        found |= {step for path in paths for step in path.split(".")}
        found |= {text for rule in profile.errors for text in (rule.code, rule.description) if text}
        found |= {profile.callback.code, profile.callback.error, *profile.callback.capture.values()}
        found |= set(profile.__struct_fields__)
    return sorted(word.encode() for word in found if word)
