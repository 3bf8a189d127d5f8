"""Looking for secrets where none may be: in all that hangs on an exception, and in what leaves the process."""

from __future__ import annotations

import traceback
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from urllib.parse import quote, quote_plus


def everything_in(error: BaseException) -> str:
    """All that a log, a debugger or an error reporter could print of an exception and of its causes."""
    seen = ["".join(traceback.format_exception(error))]
    waiting: list[BaseException | None] = [error]
    while waiting:
        part = waiting.pop()
        if part is not None:
            seen += [repr(part), str(part), repr(part.args)]
            seen += [repr(getattr(part, name, None)) for name in dir(part) if not name.startswith("__")]
            waiting += [part.__cause__, part.__context__]
    return "\n".join(seen)


@cache
def forms_of(secret: str) -> set[bytes]:
    """What a secret looks like once it is escaped, hexadecimal, or base64 at any alignment."""
    plain = secret.encode()
    forms = {plain, quote(secret, safe="").encode(), quote_plus(secret).encode(), plain.hex().encode()}
    for offset in range(3):
        encoded = b64encode(b"\0" * offset + plain)
        # Its first and last characters also depend on what stands around it.
        inner = encoded[4 if offset else 0 : -4]
        forms |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return forms


def find_secrets(text: str | bytes, secrets: Mapping[str, str]) -> set[str]:
    """Find the names of the secrets that a text holds, in any of their encodings."""
    data = text.encode() if isinstance(text, str) else text
    return {name for name, secret in secrets.items() if any(form in data for form in forms_of(secret))}
