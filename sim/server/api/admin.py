"""/admin/config: read the options and change latency, faults, limits and replies while the server runs."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sim.server.api.base import parse
from sim.server.api.bodies import read_object
from sim.server.api.desk import Desk
from sim.server.api.errors import ApiError
from sim.server.options import ServerOptions
from workloads.errors import InputError

CHANGEABLE = ("latency_factor", "faults", "limits", "replies", "any_model")


def routes(desk: Desk) -> list[Route]:
    async def config(request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse(desk.options.model_dump(mode="json"))
        changes = await read_object(request, desk.options)
        for key in changes:
            if key not in CHANGEABLE:
                raise ApiError(400, f"{key}: allowed: {', '.join(CHANGEABLE)}", param=key)
        wanted = parse(ServerOptions, _with(desk.options.model_dump(), changes))
        try:
            desk.change(wanted)
        except InputError as error:
            raise ApiError(400, str(error)) from None
        return JSONResponse(desk.options.model_dump(mode="json"))

    return [Route("/admin/config", config, methods=["GET", "POST", "PATCH"])]


def _with(old: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``old`` with what ``changes`` says, key by key where both have groups of keys."""
    out = dict(old)
    for key, value in changes.items():
        before = out.get(key)
        both = isinstance(before, dict) and isinstance(value, dict) and "distribution" not in value
        out[key] = _with(before, value) if both and isinstance(before, dict) else value
    return out
