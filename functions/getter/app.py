"""getter: a token that is fresh enough, for consumers; by direct invocation or GET /tokens/{provider}/{account}."""

from typing import Any

from evergrant.getter.handler import handle_event
from evergrant.wiring.getter import build_reader

_reader = build_reader()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """A token document, or an error of stable code, in the form of whichever way it was asked."""
    return handle_event(_reader, event)
