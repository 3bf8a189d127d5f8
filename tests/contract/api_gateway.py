"""API Gateway without AWS: an HTTP API that hands each request to a function as an event (payload format 2.0)."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.contract.contract import event
from tests.contract.emulated_lambda import EmulatedLambda

HOST = "evergrant.example"
REDIRECT_URI = f"https://{HOST}/callback/keap"


class ApiGateway(httpx.BaseTransport):
    """Sends what is for :data:`HOST` to a function, and everything else to the network."""

    def __init__(self, function: EmulatedLambda) -> None:
        self._function = function
        self._network = httpx.HTTPTransport()
        #: The URLs that were asked for, of any host.
        self.urls: list[httpx.URL] = []
        #: The answers' Set-Cookie headers.
        self.cookies: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.urls.append(request.url)
        if request.url.host != HOST:
            return self._network.handle_request(request)
        answer = self._function.invoke(_build_event(request))
        assert "errorType" not in answer, json.dumps(answer)
        self.cookies += answer["cookies"]
        headers = [*answer["headers"].items(), *(("set-cookie", cookie) for cookie in answer["cookies"])]
        return httpx.Response(answer["statusCode"], headers=headers, content=answer["body"].encode(), request=request)

    def close(self) -> None:
        self._network.close()


def _build_event(request: httpx.Request) -> dict[str, Any]:
    """Build the event of a request, from the sample of its page."""
    path = request.url.path
    built = event("callback-return" if path.startswith("/callback") else f"callback-connect-{request.method.lower()}")
    headers = {name: value for name, value in request.headers.items() if name != "cookie"}
    cookies = request.headers.get("cookie")
    built |= {"rawPath": path, "rawQueryString": request.url.query.decode(), "headers": headers}
    built |= {"cookies": cookies.split("; ") if cookies else []}
    if path.startswith("/connect/"):
        built["pathParameters"] = {"ticket": path.removeprefix("/connect/")}
    if path.startswith("/callback/"):
        built["pathParameters"] = {"provider": path.removeprefix("/callback/")}
    return built
