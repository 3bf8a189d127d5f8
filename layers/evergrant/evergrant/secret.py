"""A secret value, whose repr and str show a fingerprint."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Any, NoReturn


def fingerprint(value: str) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of ``value``, which identify it without revealing it."""
    return sha256(value.encode()).hexdigest()[:16]


class Secret:
    """A token, code, verifier or client secret. Only :meth:`reveal` returns the value.

    Example
    -------
    >>> Secret("hunter2")
    Secret(f52fbd32b2b3b86f)
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself, for the code that sends or seals it."""
        return self._value

    @property
    def fingerprint(self) -> str:
        return fingerprint(self._value)

    def __repr__(self) -> str:
        return f"Secret({self.fingerprint})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")

    def __getstate__(self) -> Any:
        raise TypeError("a secret cannot be copied")
