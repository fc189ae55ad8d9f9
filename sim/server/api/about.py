"""What clients ask before they send anything: is it up, which version, which models; and the metrics."""

from __future__ import annotations

import time
from importlib import metadata

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sim.server.api.desk import Desk
from sim.server.api.errors import no_such_model


def routes(desk: Desk) -> list[Route]:
    async def health(request: Request) -> Response:
        up_s = time.monotonic() - desk.started_s
        return Response(status_code=200 if up_s >= desk.options.faults.slow_start_s else 503)

    async def version(request: Request) -> Response:
        return JSONResponse({"version": metadata.version("prefixsim"), "server": "prefixsim"})

    async def models(request: Request) -> Response:
        return JSONResponse(
            {
                "object": "list",
                "data": [_model(desk)],
                "first_id": desk.model,
                "last_id": desk.model,
                "has_more": False,
            }
        )

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        if name != desk.model:
            raise no_such_model(name)
        return JSONResponse(_model(desk))

    async def metrics(request: Request) -> Response:
        return Response(desk.metrics.page(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return [
        Route("/health", health),
        Route("/version", version),
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", model),
        Route("/metrics", metrics),
    ]


def _model(desk: Desk) -> dict[str, object]:
    """The model in the fields of OpenAI, vLLM and Anthropic."""
    return {
        "id": desk.model,
        "object": "model",
        "created": 0,
        "owned_by": "prefixsim",
        "root": desk.model,
        "max_model_len": desk.live.about.max_model_len,
        "type": "model",
        "display_name": desk.model,
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": desk.live.about.max_model_len,
    }
