"""getter: give consumers a token that is fresh enough, by direct invocation or GET /tokens/{provider}/{account}."""

from typing import Any

from evergrant.getter.handler import handle_event
from evergrant.wiring.getter import build_reader

_reader = build_reader()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Return a token document, or an error with a stable code, in the form of the request."""
    return handle_event(_reader, event)
