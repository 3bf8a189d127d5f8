"""Deliver events to EventBridge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from ...ports import PortUnavailable
from ...record.alerts import describe_event
from .sdk import client, unavailable

#: PutEvents takes at most 10 entries a call (API_PutEvents).
_MAX_BATCH = 10
SOURCE = "evergrant"


@dataclass(frozen=True, slots=True)
class EventBus:
    """:class:`evergrant.ports.Bus` over EventBridge; the detail of each event holds its id."""

    name: str

    def put(self, events: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
        delivered: set[str] = set()
        waiting = iter(events.items())
        while batch := list(islice(waiting, _MAX_BATCH)):
            entries = [
                {
                    "EventBusName": self.name,
                    "Source": SOURCE,
                    "DetailType": body["type"],
                    "Time": datetime.fromtimestamp(body["at"], UTC),
                    "Detail": json.dumps({"id": key, **describe_event(body)}),
                }
                for key, body in batch
            ]
            try:
                with unavailable("putting events"):
                    answer = client("events").put_events(Entries=entries)
            except PortUnavailable:
                if not delivered:
                    raise
                break  # the earlier batches are delivered, and must not be sent again
            results = answer["Entries"]
            delivered |= {key for (key, _), result in zip(batch, results, strict=True) if "EventId" in result}
        return frozenset(delivered)
