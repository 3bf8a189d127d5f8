"""Answer the browser's requests: choose the step of the flow for each, and the page for its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..adapters.observability import MetricUnit, logger, metrics
from ..errors import EvergrantError
from ..link_errors import LinkError, LinkInvalid, WrongMethod
from ..oauth.redirect_uris import PATHS
from ..ports import PortUnavailable
from . import http_api, pages
from .authorization_flow import AuthorizationFlow
from .state_cookie import build_cookie, read_cookie

#: The methods of each page. HEAD is for scanners of links: like GET, without its body (RFC 9110 section 9.3.2). The
#: callback has none, as it would have to exchange the code.
_METHODS = {"/connect/{ticket}": ("GET", "HEAD", "POST"), **dict.fromkeys(PATHS, ("GET",))}


def respond(flow: AuthorizationFlow, event: Mapping[str, Any], contact: str = "") -> dict[str, Any]:
    """Answer one HTTP API event. Never raises: a person always gets a page, with ``contact`` as whom to ask."""
    method, path = http_api.read_method(event), http_api.read_path(event)
    try:
        answer = _answer(flow, event, method, path, contact)
    except LinkError as error:
        failure = error.failure.as_dict() if error.failure else {}
        at_provider = {f"provider_{name}": value for name, value in failure.items()}
        logger.info("connect refused", code=error.code, route=path, connection=error.authorizing, **at_provider)
        allow = {"allow": ", ".join(_METHODS[path])} if isinstance(error, WrongMethod) else {}
        answer = http_api.build_page(
            error.status, pages.render_refused(error, contact), {**pages.build_headers(), **allow}
        )
    except (EvergrantError, PortUnavailable) as error:
        known = error if isinstance(error, EvergrantError) else EvergrantError("A service of AWS does not answer.")
        # For the operator, who has to act. The exception's own text may name a service, never a secret.
        logger.error("connect failed", code=known.code, reason=str(error), route=path, connection=known.authorizing)
        answer = http_api.build_page(503, pages.render_refused(known, contact), pages.build_headers())
    return {**answer, "body": ""} if method == "HEAD" else answer


def _answer(flow: AuthorizationFlow, event: Mapping[str, Any], method: str, path: str, contact: str) -> dict[str, Any]:
    if path not in _METHODS:
        raise LinkInvalid("There is no such page.")
    if method not in _METHODS[path]:
        raise WrongMethod("This page does not take this method.")
    if path in PATHS:
        return _handle_callback(flow, event, contact)
    return _start_authorization(flow, event, contact) if method == "POST" else _landing(flow, event, contact)


def _landing(flow: AuthorizationFlow, event: Mapping[str, Any], contact: str) -> dict[str, Any]:
    sent = read_cookie(event)
    view = flow.describe_landing(http_api.read_ticket(event), sent)
    host = view.origin.partition("://")[2]
    html = pages.render_landing(view.provider, view.account, view.scopes, host, contact, view.changes)
    cookies = () if sent else (build_cookie(view.cookie),)
    return http_api.build_page(200, html, pages.build_headers(form=True), cookies)


def _start_authorization(flow: AuthorizationFlow, event: Mapping[str, Any], contact: str) -> dict[str, Any]:
    """Answer with a page that opens the provider's. A redirect would fail where the provider redirects again.

    Chromium applies the ``form-action`` of the page with the button to every redirect of the submission, and a
    provider's consent address may redirect to any origin.
    """
    http_api.require_same_origin(event)
    http_api.require_form(event)
    started = flow.start_authorization(http_api.read_ticket(event), read_cookie(event))
    html = pages.render_opening(started.provider, started.url, contact)
    return http_api.build_page(200, html, pages.build_headers())


def _handle_callback(flow: AuthorizationFlow, event: Mapping[str, Any], contact: str) -> dict[str, Any]:
    view = flow.handle_callback(http_api.parse_query(event), read_cookie(event), http_api.read_provider(event))
    if view.unchecked_issuer:
        # RFC 9207: the profile should say which issuer its provider has.
        logger.info("issuer not checked", provider=view.provider, account=view.account, issuer=view.unchecked_issuer)
    metrics.add_metric("ConnectionsAuthorized", MetricUnit.Count, 1)
    html = pages.render_connected(view.provider, view.account, view.scopes, contact, view.missing)
    return http_api.build_page(200, html, pages.build_headers())
