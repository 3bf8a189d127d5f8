"""The browser's requests, answered: which step of the flow each is, and which page its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..adapters.observability import MetricUnit, logger, metrics
from ..errors import EvergrantError, LinkError, LinkInvalid, WrongMethod
from ..ports import PortUnavailable
from . import http_api, pages
from .authorization_flow import Flow

#: What each page takes. HEAD is for scanners of links, and like GET without its body (RFC 9110 section 9.3.2); a HEAD
#: of the callback would have to exchange the code, so there is none.
_METHODS = {"/connect/{ticket}": ("GET", "HEAD", "POST"), "/callback": ("GET",)}


def respond(flow: Flow, event: Mapping[str, Any], contact: str = "") -> dict[str, Any]:
    """Answer one HTTP API event. Never raises: a person always gets a page, which names ``contact`` as whom to ask."""
    method, path = http_api.method_of(event), http_api.path_of(event)
    try:
        answer = _answer(flow, event, method, path, contact)
    except LinkError as error:
        logger.info("connect refused", code=error.code, route=path)
        allow = {"allow": ", ".join(_METHODS[path])} if isinstance(error, WrongMethod) else {}
        answer = http_api.page(error.status, pages.refused(error, contact), {**pages.headers(), **allow})
    except (EvergrantError, PortUnavailable) as error:
        known = error if isinstance(error, EvergrantError) else EvergrantError("A service of AWS does not answer.")
        # Our fault, and the operator's to see; the exception's own text may name a service, never a secret.
        logger.error("connect failed", code=known.code, reason=str(error), route=path)
        answer = http_api.page(503, pages.refused(known, contact), pages.headers())
    return {**answer, "body": ""} if method == "HEAD" else answer


def _answer(flow: Flow, event: Mapping[str, Any], method: str, path: str, contact: str) -> dict[str, Any]:
    if path not in _METHODS:
        raise LinkInvalid("There is no such page.")
    if method not in _METHODS[path]:
        raise WrongMethod("This page is not reached so.")
    if path == "/callback":
        return _arrive(flow, event, contact)
    return _depart(flow, event, contact) if method == "POST" else _landing(flow, event, contact)


def _landing(flow: Flow, event: Mapping[str, Any], contact: str) -> dict[str, Any]:
    view = flow.landing(http_api.ticket_of(event), http_api.cookie_of(event))
    host = view.origin.partition("://")[2]
    html = pages.landing(view.provider, view.account, view.scopes, host, contact, view.again)
    return http_api.page(200, html, pages.headers(form=True), (http_api.set_cookie(view.cookie),))


def _depart(flow: Flow, event: Mapping[str, Any], contact: str) -> dict[str, Any]:
    """A page that leads on, and no redirect: Chromium applies the ``form-action`` of the page with the button to every
    redirect of the submission, and a provider's consent address may redirect to any origin.
    """
    http_api.demand_same_origin(event)
    http_api.demand_form(event)
    departure = flow.depart(http_api.ticket_of(event), http_api.cookie_of(event))
    html = pages.departing(departure.provider, departure.url, contact)
    return http_api.page(200, html, pages.headers(), (http_api.set_cookie(departure.cookie),))


def _arrive(flow: Flow, event: Mapping[str, Any], contact: str) -> dict[str, Any]:
    view = flow.arrive(http_api.query_of(event), http_api.cookie_of(event))
    metrics.add_metric("ConnectionsAuthorized", MetricUnit.Count, 1)
    html = pages.connected(view.provider, view.account, view.scopes, contact, view.missing)
    return http_api.page(200, html, pages.headers())
