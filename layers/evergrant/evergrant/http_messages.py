"""An HTTP request and an HTTP response, as values. Their repr shows nothing that may hold a secret."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:+-]{1,40})""", re.ASCII | re.IGNORECASE)
#: Codecs of Python that are no charset of a response. UTF-16 and UTF-32 are recognised by the body alone, since a
#: label of them on an ASCII body is a mistake. UTF-7 (which no browser reads either) would change a "+" of a token.
_NO_CHARSETS = frozenset(
    {"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "mbcs", "oem", "utf-7"}
    | {f"utf-{bits}{order}" for bits in (16, 32) for order in ("", "-be", "-le")}
)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to a provider. URL, headers and body may hold secrets."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete response.

    Attributes
    ----------
    headers
        With lower-case names. Repeated ones are joined by a comma (RFC 9110 section 5.3), without ``set-cookie``.
    body
        Decoded. Where ``content-encoding`` is still among the headers, it could not be.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def text(self) -> str:
        """Decode the body by its byte-order mark, else its declared charset, else as UTF-8. Never raises.

        UTF-16 and UTF-32 are recognised without a mark, as JSON is (RFC 4627 section 3). Bytes that fit neither the
        declared charset nor UTF-8 are replaced by U+FFFD.
        """
        detected = json.detect_encoding(self.body)
        declared = _find_charset(self.headers.get("content-type", ""))
        charsets = [declared, "utf-8"] if declared and detected == "utf-8" else [detected]
        for charset in charsets:
            try:
                return self.body.decode(charset)
            except ValueError:
                continue
        return self.body.decode(charsets[0], "replace")


def _find_charset(content_type: str) -> str | None:
    """Return the declared charset's codec, None where there is none that Python has."""
    declared = _CHARSET.search(content_type)
    try:
        found = codecs.lookup(declared[1]) if declared else None
        if found is None or found.name.replace("_", "-") in _NO_CHARSETS:
            return None
        b"a".decode(found.name)  # raises for a codec of bytes to bytes, as "hex" is
    except (LookupError, ValueError):
        return None
    return found.name
