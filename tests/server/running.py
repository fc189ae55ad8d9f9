"""A server on a loopback socket, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx

from sim.server.api import serving
from sim.server.api.tokens import FourCharacters, Tokens
from sim.server.live import Live
from sim.server.options import ServerOptions

Kind = TypeVar("Kind", bound=Live)


@dataclass
class Up(Generic[Kind]):
    """A server that runs."""

    port: int
    live: Kind
    tokens: Tokens
    paces: list[float] = field(default_factory=list)
    client: httpx.Client = field(init=False)
    """For requests that no SDK makes."""

    def __post_init__(self) -> None:
        self.client = httpx.Client(
            base_url=self.url, verify=False, timeout=20
        )  # there is nothing to verify

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def up(
    make: Callable[[], Kind], options: dict[str, Any] | None = None, api_key: str | None = None
) -> Iterator[Up[Kind]]:
    """Serve what ``make`` makes (called in the server's loop) until the block ends."""
    listening = serving.listen("127.0.0.1", 0)
    ready = threading.Event()
    found: dict[str, Any] = {}
    failures: list[BaseException] = []

    async def run() -> None:
        live, tokens = make(), FourCharacters()
        paces: list[float] = []
        chosen = ServerOptions.model_validate({"replies": {"tokens": 10}, **(options or {})})
        web = serving.server(serving.application(live, chosen, tokens, api_key=api_key, pace=paces.append))
        found.update(up=Up(listening.getsockname()[1], live, tokens, paces), web=web)
        ready.set()
        await serving.serve(live, web, listening)

    def thread() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    running = threading.Thread(target=thread)
    running.start()
    ready.wait()
    try:
        if "up" in found:
            with found["up"].client:
                yield found["up"]
    finally:
        if "web" in found:
            found["web"].should_exit = True
        running.join(timeout=30)
        listening.close()
        if failures:
            raise failures[0]
        assert not running.is_alive(), "the server did not stop"
