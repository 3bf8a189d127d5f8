"""The browser's three requests, answered: which step of the flow each is, and which page its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import pages, web
from .authorization import Flow
from .errors import EvergrantError, LinkError, LinkInvalid
from .observability import MetricUnit, logger, metrics
from .ports import PortUnavailable


def respond(flow: Flow, event: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one HTTP API event. Never raises: a person always gets a page."""
    route = event.get("routeKey", "")
    try:
        if route == "GET /connect/{ticket}":
            return _landing(flow, event["pathParameters"]["ticket"])
        if route == "POST /connect/{ticket}":
            return _depart(flow, event)
        if route == "GET /callback":
            return _arrive(flow, event)
        raise LinkInvalid("There is no such page.")
    except LinkError as error:
        logger.info("connect refused", code=error.code, route=route)
        return web.page(error.status, pages.refused(error), pages.headers())
    except (EvergrantError, PortUnavailable) as error:
        known = error if isinstance(error, EvergrantError) else EvergrantError("A service of AWS does not answer.")
        # Our fault, and the operator's to see; the exception's own text may name a service, never a secret.
        logger.error("connect failed", code=known.code, reason=str(error), route=route)
        return web.page(503, pages.refused(known), pages.headers())


def _landing(flow: Flow, ticket: str) -> dict[str, Any]:
    view = flow.landing(ticket)
    return web.page(200, pages.landing(view.provider, view.account), pages.headers(view.origin))


def _depart(flow: Flow, event: Mapping[str, Any]) -> dict[str, Any]:
    web.demand_same_origin(event)
    departure = flow.depart(event["pathParameters"]["ticket"], web.cookie_of(event))
    headers = {**pages.headers(), "location": departure.url}
    return web.page(303, "", headers, (web.set_cookie(departure.cookie),))


def _arrive(flow: Flow, event: Mapping[str, Any]) -> dict[str, Any]:
    view = flow.arrive(web.query_of(event), web.cookie_of(event))
    metrics.add_metric("ConnectionsAuthorized", MetricUnit.Count, 1)
    return web.page(200, pages.connected(view.provider, view.account), pages.headers())
