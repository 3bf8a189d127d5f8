"""An unreadable response, which is kept sealed until a corrected profile can parse it. Pure."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..content_coding import NotDecodable, decode_content
from ..http_messages import HttpResponse
from .issuance import Issuance, decode_issuance, encode_issuance

#: The headers that reading a response uses, which come first: all others are kept as long as there is room.
_FIRST_HEADERS = ("content-type", "content-encoding", "date", "retry-after")
_MAX_HEADER_CHARACTERS = 16_384
#: A kept body is decoded up to this size. Its coding was not known when it came, or the body was too long.
_MAX_DECODED_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A response, and the epoch second at which its request was sent, from which the tokens' lifetimes count.

    ``issued_for`` is known of one that was sealed.
    """

    sent_at: int
    response: HttpResponse
    issued_for: Issuance | None = field(default=None, repr=False, compare=False)

    def encode(self, issued_for: Issuance) -> bytes:
        """Encode the plaintext to seal."""
        kept = {
            "issued_for": encode_issuance(issued_for),
            "sent_at": self.sent_at,
            "status": self.response.status,
            "headers": _choose_headers(self.response.headers),
            "body": b64encode(self.response.body).decode(),
        }
        return json.dumps(kept, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def decode(cls, plain: bytes) -> KeptResponse:
        """Decode a plaintext of :meth:`encode`. A coding of the body is undone, if this release has it."""
        kept = json.loads(plain)
        response = HttpResponse(kept["status"], kept["headers"], b64decode(kept["body"]))
        return cls(kept["sent_at"], _undo_coding(response), decode_issuance(kept.get("issued_for")))


def _undo_coding(response: HttpResponse) -> HttpResponse:
    headers = dict(response.headers)
    codings = headers.pop("content-encoding", None)
    if codings is None:
        return response
    try:
        content = decode_content(response.body, codings, _MAX_DECODED_BYTES)
    except NotDecodable:
        return response
    return HttpResponse(response.status, headers, content.body) if content.extent == "whole" else response


def _choose_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return all headers, but for those that exceed the bound."""
    chosen: dict[str, str] = {}
    room = _MAX_HEADER_CHARACTERS
    for name in sorted(headers, key=lambda name: name not in _FIRST_HEADERS):
        size = len(name) + len(headers[name])
        if size <= room:
            chosen[name] = headers[name]
            room -= size
    return chosen
