"""The server itself: a socket, uvicorn, and the simulated system, in one event loop."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from sim.server.api import app
from sim.server.api.desk import Desk
from sim.server.api.diagnostics import Earlier
from sim.server.api.faults import Misfortune
from sim.server.api.limits import RateLimits
from sim.server.api.metrics import Metrics
from sim.server.api.replies import Speaker
from sim.server.api.tokens import Tokens
from sim.server.live import Live
from sim.server.options import ServerOptions
from workloads.errors import InputError

GRACE_S = 3.0
"""How long streams may go on once the server is told to stop."""
BACKLOG = 4096


def slug(name: str) -> str:
    """A name as clients write it: "Llama 3.1 8B" is llama-3.1-8b."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; InputError if the address cannot be had. Port 0: any that is free."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio turns Nagle's algorithm off only where the protocol is named: tokens would wait 40 ms
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise InputError(f"--host {host}: {error}; allowed: an address of this machine") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        raise InputError(f"--port {port} on {host}: {error}; allowed: a free port, or 0 for any") from None
    return listening


def application(
    live: Live,
    options: ServerOptions,
    tokens: Tokens,
    *,
    seed: int = 0,
    folder: Path | None = None,
    api_key: str | None = None,
    pace: Callable[[float], None] = lambda factor: None,
) -> ASGIApp:
    """The web application in front of a system that runs live."""
    model = options.model or slug(live.about.model) or live.about.system
    desk = Desk(
        live=live,
        tokens=tokens,
        speaker=Speaker(options.replies, tokens, seed, folder or Path.cwd()),
        metrics=Metrics(live, model),
        limits=RateLimits(options.limits),
        misfortune=Misfortune(seed),
        earlier=Earlier(live.shared_tokens),
        options=options,
        model=model,
        started_s=time.monotonic(),
        pace=pace,
    )
    pace(options.latency_factor)
    return app.make(desk, api_key)


class Server(uvicorn.Server):
    """Uvicorn that leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server(web: ASGIApp) -> Server:
    """A server for that application; it stops when its ``should_exit`` is set."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # dropped connections are on purpose
    config = uvicorn.Config(
        web,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=round(GRACE_S),
        timeout_keep_alive=60,
        server_header=False,
        backlog=BACKLOG,
    )
    return Server(config)


async def serve(live: Live, web: Server, listening: socket.socket) -> None:
    """Serve until ``web.should_exit``, or until the system fails."""
    gc.freeze()  # a full collection of all that was imported would hold every stream up for 60 ms
    usual = gc.get_threshold()
    gc.set_threshold(700, 3, 30)  # often, and so little at a time: 2 ms for the middle generation
    time_passes = asyncio.create_task(live.run())
    time_passes.add_done_callback(lambda task: setattr(web, "should_exit", True))
    try:
        await web.serve(sockets=[listening])
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
        live.stop()
        await time_passes
