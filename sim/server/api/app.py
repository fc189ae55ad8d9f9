"""The web application: which path leads where, who is let in, and how errors leave."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from uuid import uuid4

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sim.server.api import about, admin, page, texts
from sim.server.api.base import Api
from sim.server.api.bodies import Gone
from sim.server.api.chat import ChatCompletions
from sim.server.api.completions import Completions
from sim.server.api.desk import Desk
from sim.server.api.errors import ApiError, Cut, Shape
from sim.server.api.messages import Messages
from sim.server.api.responses import Responses

OPEN_PATHS = ("/", "/health")
"""Served without a key: the page holds no figures, and health checks have none."""
Endpoint = Callable[[Request], Awaitable[Response]]
log = logging.getLogger("prefixsim.server")


def apis() -> list[Api]:
    """Every API that generates, a line each."""
    return [ChatCompletions(), Completions(), Responses(), Messages()]


def shape_of(path: str) -> Shape:
    return "anthropic" if path.startswith("/v1/messages") else "openai"


def make(desk: Desk, api_key: str | None = None) -> ASGIApp:
    """The application in front of ``desk``. With ``api_key`` only who sends it is served."""
    routes = [Route(api.path, _generating(desk, api), methods=["POST"]) for api in apis()]
    for part in (about, texts, admin, page):
        routes += part.routes(desk)
    app = Starlette(
        routes=routes,
        exception_handlers={
            ApiError: _api_error,
            HTTPException: _http_error,
            RecursionError: _too_deep,
            Exception: _unexpected,
        },
    )
    return Door(app, api_key)


def _generating(desk: Desk, api: Api) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            return await desk.serve(api, request)
        except Cut:
            return Dropped()
        except Gone:
            return Response(status_code=499)  # nobody reads it

    return endpoint


class Dropped(Response):
    """A reply that breaks off before its body: the server closes the connection of what is not whole."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


class Door:
    """Asks for the key, names each request, and drops the connection where that is what shall happen."""

    def __init__(self, app: ASGIApp, api_key: str | None) -> None:
        self._app, self._key = app, api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = headers.get("x-request-id") or f"req_{uuid4().hex}"
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                out["x-request-id"] = out["request-id"] = request_id
            await send(message)

        try:
            if (
                self._key is not None
                and scope["path"] not in OPEN_PATHS
                and not _has_key(headers, self._key)
            ):
                error = ApiError(401, "Incorrect or missing API key.")
                await _answer(error, scope["path"], request_id)(scope, receive, named)
            else:
                await self._app(scope, receive, named)
        except (Cut, Gone):
            log.info("request %s: connection dropped", request_id)


def _has_key(headers: Headers, key: str) -> bool:
    sent = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
    return hmac.compare_digest(sent.encode(), key.encode())


def _answer(error: ApiError, path: str, request_id: str) -> Response:
    shape = shape_of(path)
    return JSONResponse(error.body(shape, request_id), status_code=error.status, headers=error.headers)


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return _answer(error, request.url.path, request.state.request_id)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    found = ApiError(error.status_code, f"{request.method} {request.url.path}: {error.detail}")
    return _answer(found, request.url.path, request.state.request_id)


async def _too_deep(request: Request, error: Exception) -> Response:
    """JSON that could be read, but is too deep for what is done with it: checked, copied, written again."""
    found = ApiError(400, "The body is nested too deeply")
    return _answer(found, request.url.path, request.state.request_id)


async def _unexpected(request: Request, error: Exception) -> Response:
    return _answer(ApiError(500, "Internal server error"), request.url.path, request.state.request_id)
