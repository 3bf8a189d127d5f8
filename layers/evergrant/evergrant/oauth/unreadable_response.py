"""An unreadable response, which is kept sealed until a corrected profile can parse it. Pure."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass

from ..http_messages import HttpResponse

#: The headers that parsing a response uses.
_KEPT_HEADERS = ("content-type", "date", "retry-after")


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A response, and the epoch second at which its request was sent, from which the tokens' lifetimes count."""

    sent_at: int
    response: HttpResponse

    def encode(self) -> bytes:
        """Encode the plaintext to seal."""
        headers = {name: value for name, value in self.response.headers.items() if name in _KEPT_HEADERS}
        kept = {
            "sent_at": self.sent_at,
            "status": self.response.status,
            "headers": headers,
            "body": b64encode(self.response.body).decode(),
        }
        return json.dumps(kept, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def decode(cls, plain: bytes) -> KeptResponse:
        """Decode a plaintext of :meth:`encode`."""
        kept = json.loads(plain)
        return cls(kept["sent_at"], HttpResponse(kept["status"], kept["headers"], b64decode(kept["body"])))
