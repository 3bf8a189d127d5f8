"""A success that could not be read, as it is kept under seal until a mended profile reads it. Pure."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass

from ..http_messages import HttpResponse

#: All that reading an answer looks at.
_HEADERS = ("content-type", "date", "retry-after")


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """An answer and the epoch second at which its request was sent, from which its tokens' lives count."""

    sent_at: int
    response: HttpResponse

    def encode(self) -> bytes:
        """The plaintext to seal."""
        headers = {name: value for name, value in self.response.headers.items() if name in _HEADERS}
        kept = {
            "sent_at": self.sent_at,
            "status": self.response.status,
            "headers": headers,
            "body": b64encode(self.response.body).decode(),
        }
        return json.dumps(kept, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def decode(cls, plain: bytes) -> KeptResponse:
        """The inverse of :meth:`encode`."""
        kept = json.loads(plain)
        return cls(kept["sent_at"], HttpResponse(kept["status"], kept["headers"], b64decode(kept["body"])))
