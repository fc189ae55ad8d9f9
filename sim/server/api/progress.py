"""The tokens of several replies as they come, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from sim.server.live import Reply


async def progress(replies: Sequence[Reply]) -> AsyncIterator[tuple[int, int]]:
    """(choice, tokens that have come) until all replies have ended."""
    if len(replies) == 1:
        async for count in replies[0]:
            yield 0, count
        return
    news: asyncio.Queue[tuple[int, int] | Exception | None] = asyncio.Queue()

    async def follow(choice: int) -> None:
        try:
            async for count in replies[choice]:
                news.put_nowait((choice, count))
            news.put_nowait(None)
        except Exception as error:
            news.put_nowait(error)

    tasks = [asyncio.create_task(follow(choice)) for choice in range(len(replies))]
    try:
        running = len(tasks)
        while running:
            new = await news.get()
            if isinstance(new, Exception):
                raise new
            if new is None:
                running -= 1
            else:
                yield new
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
