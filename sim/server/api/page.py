"""GET /: a page with live figures, and the figures themselves for it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from sim.server.api.desk import Desk

PAGE = Path(__file__).with_name("page.html")


def routes(desk: Desk) -> list[Route]:
    html = PAGE.read_text("utf-8")

    async def page(request: Request) -> Response:
        return HTMLResponse(html)

    async def state(request: Request) -> Response:
        about = desk.live.about
        figures = asdict(desk.live.state()) | {"at_work": desk.at_work}
        return JSONResponse(
            figures
            | {
                "system": about.system,
                "kind": about.kind,
                "model": desk.model,
                "replicas": about.replicas,
                "kv_tokens": about.kv_blocks * about.block_size,
                "tokens_note": desk.tokens.note,
            }
        )

    return [Route("/", page, methods=["GET"]), Route("/admin/state", state)]
