"""What the tests of the deployed stack look at."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from local.browser import Form, Page
from local.consumer_stack import Consumer
from local.world import World

# Everything here happens within a second or two; this is what a busy machine is allowed.
PATIENCE_SECONDS = 45


@dataclass
class Happenings:
    """Evergrant's events, as a rule on its bus delivers them to somebody else's queue."""

    consumer: Consumer
    seen: list[dict[str, Any]] = field(default_factory=list)

    def wait_for(self, kind: str, connection: str, generation: int | None = None) -> dict[str, Any]:
        """The event of this kind, waited for with SQS's own long polling; it may have been seen before."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            for event in self.seen:
                detail = event["detail"]
                if (
                    (event["detail-type"], detail["connection"]) == (kind, connection)
                    and generation in (None, detail.get("generation"))
                ):  # fmt: skip
                    return event
            assert time.monotonic() < deadline, f"no {kind} of {connection}: {self.seen}"
            self.seen += self.consumer.events(wait_seconds=2)


def published(world: World, connection: str) -> dict[str, Any]:
    """The document in a connection's secret."""
    secret = world.aws.client("secretsmanager").get_secret_value(SecretId=f"evergrant/tokens/{connection}")
    document: dict[str, Any] = json.loads(secret["SecretString"])
    return document


def button(page: Page, decision: str) -> Form:
    """The form behind a provider's Allow or Deny."""
    return next(form for form in page.forms if form.fields.get("decision") == decision)
