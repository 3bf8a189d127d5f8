"""A simulated provider over HTTP: its own endpoints, and the control interface under `/_control`."""

import json
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.providers.messages import Answer, TokenRequest, answer_json
from local.providers.provider import Provider
from local.providers.settings import SettingError
from local.providers.state import Client

_Endpoint = Callable[[Request], Awaitable[Response]]
_Command = Callable[[Mapping[str, object]], object]


class _BadCommandError(ValueError):
    """An invalid control request; the message says why."""


def create_app(provider: Provider) -> Starlette:
    """Create the ASGI application of one provider."""
    dialect = provider.dialect

    async def token(request: Request) -> Response:
        body = await request.body()
        return _respond(provider.token(TokenRequest(_read_headers(request), body, request.url.query, request.url.path)))

    async def consent(request: Request) -> Response:
        return _respond(provider.consent(request.url.query))

    async def decide(request: Request) -> Response:
        form = parse_qs((await request.body()).decode(errors="replace"))
        return _respond(provider.decide(request.url.query, form.get("decision", [None])[0]))

    async def api(request: Request) -> Response:
        return _respond(provider.api(_read_headers(request)))

    async def userinfo(request: Request) -> Response:
        return _respond(provider.userinfo(_read_headers(request)))

    async def revoke(request: Request) -> Response:
        body = await request.body()
        return _respond(
            provider.revoke_token(TokenRequest(_read_headers(request), body, request.url.query, request.url.path))
        )

    routes = [
        *(Route(path, token, methods=["POST"]) for path in sorted(dialect.list_token_paths())),
        Route(dialect.api.path, api, methods=["GET"]),
        *_create_control_routes(provider),
    ]
    if dialect.userinfo_path is not None:
        routes.append(Route(dialect.userinfo_path, userinfo, methods=["GET"]))
    if dialect.revoke_path is not None:
        routes.append(Route(dialect.revoke_path, revoke, methods=["POST"]))
    if dialect.authorize_path is not None:
        routes.append(Route(dialect.authorize_path, consent, methods=["GET"]))
        routes.append(Route(dialect.authorize_path, decide, methods=["POST"]))
    app = Starlette(routes=routes)
    # An address with a slash more or less is another address: no real provider documents a redirect.
    app.router.redirect_slashes = False
    return app


def _create_control_routes(provider: Provider) -> list[Route]:
    async def requests(request: Request) -> Response:
        last = request.query_params.get("last", "200")
        if not last.isdecimal():
            return _respond(answer_json(400, {"error": "last must be a whole number"}))
        return _respond(answer_json(200, {"requests": provider.requests(int(last))}))

    def register(command: Mapping[str, object]) -> object:
        client = parse_client(command)
        provider.register(client)
        return {"client_id": client.client_id}

    def reset(command: Mapping[str, object]) -> object:
        provider.reset()
        return {}

    return [
        Route("/_control/stats", _create_query(provider.stats), methods=["GET"]),
        Route("/_control/grants", _create_query(lambda: {"grants": provider.grants()}), methods=["GET"]),
        Route("/_control/requests", requests, methods=["GET"]),
        Route("/_control/revocations", _create_query(lambda: {"revocations": provider.revocations()}), methods=["GET"]),
        Route("/_control/settings", _create_query(provider.settings), methods=["GET"]),
        Route("/_control/settings", _create_command(provider.change_settings), methods=["POST"]),
        Route("/_control/clients", _create_command(register), methods=["POST"]),
        Route("/_control/revoke", _create_command(lambda command: _revoke(provider, command)), methods=["POST"]),
        Route("/_control/replay-all", _create_command(lambda command: provider.replay_all()), methods=["POST"]),
        Route("/_control/reset", _create_command(reset), methods=["POST"]),
    ]


def parse_client(described: Mapping[str, object]) -> Client:
    """Return the client that a JSON object describes.

    Raises
    ------
    ValueError
        A member is missing, unknown or of the wrong type. The message holds no values, which may be secret.
    """
    texts = {"client_id", "client_secret", "name", "audience", "username", "password"}
    if unknown := described.keys() - texts - {"redirect_uris"}:
        raise _BadCommandError(f"unknown: {', '.join(sorted(unknown))}")
    values = {name: described[name] for name in texts & described.keys()}
    redirect_uris = described.get("redirect_uris", [])
    if not {"client_id", "client_secret"} <= values.keys():
        raise _BadCommandError("a client needs client_id and client_secret")
    if ("username" in values) != ("password" in values):
        raise _BadCommandError("username and password belong together")
    if not all(isinstance(value, str) and value for value in values.values()):
        raise _BadCommandError(f"{', '.join(sorted(texts))} must be texts")
    if not isinstance(redirect_uris, list) or not all(isinstance(uri, str) for uri in redirect_uris):
        raise _BadCommandError("redirect_uris must be a list of texts")
    strings = {name: str(value) for name, value in values.items()}
    return Client(redirect_uris=tuple(redirect_uris), **strings)


def _revoke(provider: Provider, command: Mapping[str, object]) -> object:
    # An empty or mistyped command revokes nothing: a command for all grants has to name `all`.
    match dict(command):
        case {"all": True, **rest} if not rest:
            return {"revoked": provider.revoke()}
        case {"grant": str(grant), **rest} if not rest:
            return {"revoked": provider.revoke(grant=grant)}
        case {"client_id": str(client_id), **rest} if not rest:
            return {"revoked": provider.revoke(client_id=client_id)}
        case {"access_token": str(token_fingerprint), **rest} if not rest:
            return {"killed": provider.kill_access_token(token_fingerprint)}
    raise _BadCommandError('one of "grant", "client_id", "access_token" (a fingerprint), or "all": true')


def _create_query(read: Callable[[], object]) -> _Endpoint:
    async def endpoint(request: Request) -> Response:
        return _respond(answer_json(200, read()))

    return endpoint


def _create_command(command: _Command) -> _Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            said = _read_command(request, await request.body())
            return _respond(answer_json(200, await run_in_threadpool(command, said)))
        except (_BadCommandError, SettingError) as error:
            return _respond(answer_json(400, {"error": str(error)}))

    return endpoint


def _read_command(request: Request, body: bytes) -> Mapping[str, object]:
    # In the developer's browser a page of another origin can post forms here, but not JSON.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise _BadCommandError("the content type must be application/json")
    try:
        command: object = json.loads(body or b"{}")
    except ValueError:
        raise _BadCommandError("the body is not JSON") from None
    if not isinstance(command, dict):
        raise _BadCommandError("the body must be a JSON object")
    return command


def _read_headers(request: Request) -> dict[str, str]:
    # RFC 9110, section 5.3: a repeated header is one header with both values.
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
    return headers


def _respond(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))
