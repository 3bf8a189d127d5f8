"""getter: a token that is fresh enough, for consumers; by direct invocation or GET /tokens/{provider}/{account}."""

from typing import Any

from evergrant.adapters.aws.token_sources import reader
from evergrant.getter.handler import answer

_reader = reader()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """A token document, or an error of stable code, in the form of whichever way it was asked."""
    return answer(_reader, event)
