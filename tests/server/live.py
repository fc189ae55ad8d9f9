"""Live systems in tests: opened from a mapping, asked by clients of our own, held against a replay."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from sim.config import Config
from sim.results.records import Records
from sim.server.live import Ask, Mark, Refused
from sim.server.opening import open_system
from sim.server.recording import served
from sim.server.streams import Stream
from sim.server.system import LiveSystem
from workloads.formats import own
from workloads.trace import Trace

LINEAR = {"kind": "linear", "step_s": 0.010139, "token_s": 1.07331e-4}
"""Iterations of about 10 ms and 0.1 ms for each token. Of rounder numbers steps of two replicas end at one
instant, which they reach with other rounding errors where steps are taken together."""
WORKLOAD = {
    "kind": "script",
    "messages": {"a": 1},
    "requests": [{"prompt": ["a"], "reply": "a", "at_s": 0}],
}
"""A configuration has a workload; a live system does not look at it."""


def config_of(system: dict[str, Any]) -> Config:
    """A configuration with one system, ``x``."""
    return Config.model_validate(
        {"name": "live", "workload": WORKLOAD, "systems": {"x": system}}
    ).resolved()


def engine(**parts: Any) -> Config:
    """One with an engine fleet: 60 blocks, iterations of about 10 ms."""
    system = {"kind": "engine", "memory": {"kv_blocks": 60}, "latency": LINEAR}
    return config_of(system | parts)


def hosted(**parts: Any) -> Config:
    """One with a hosted API that shows times."""
    return config_of({"kind": "provider", "latency": {}, "regret": False} | parts)


Clients = Callable[[LiveSystem], Awaitable[None]]


def serve(config: Config, clients: Clients, speed: float = inf) -> tuple[LiveSystem, Records]:
    """Open the system, let ``clients`` do what they do, stop; what happened."""
    live = open_system(config, None, speed)

    async def go() -> None:
        running = asyncio.create_task(live.run())
        try:
            await clients(live)
        finally:
            live.stop()
            await running

    asyncio.run(go())
    records = live.records()
    live.traffic.check()
    return live, records


async def read(stream: Stream) -> int:
    """All tokens of a reply; how many there were."""
    return sum([new async for new in stream])


async def leave(stream: Stream, tokens: int) -> None:
    """Hang up after so many tokens."""
    there = 0
    if not tokens:
        stream.cancel()
        return
    async for new in stream:
        there += new
        if there >= tokens:
            break
    stream.cancel()


def replay(live: LiveSystem, folder: Path) -> tuple[Trace, Records]:
    """The traffic, written as a file and served again by the ordinary simulation."""
    file = folder / "traffic.parquet"
    own.write(served(live), file)
    trace = own.OwnTrace(kind="trace", format="prefixsim", path=file).build(live.config.seed, folder)
    trace.seed = live.config.seed
    system = live.config.systems["x"]
    system.check_trace(trace, "systems.x", folder)
    return trace, system.run(trace, "systems.x", folder, lambda done: None)


def same(live: Records, again: Records) -> None:
    """The same hits, ends, evictions and order, at the same times but for how they are rounded."""
    names = ("status", "cache_read_input_tokens", "replica", "preemptions", "input_tokens", "output_tokens")
    for name in (*names, "session", "turn"):
        assert (getattr(live, name) == getattr(again, name)).all(), name
    for name in ("arrival_s", "scheduled_s", "first_token_s", "finished_s"):
        np.testing.assert_allclose(
            getattr(live, name), getattr(again, name), rtol=1e-9, atol=1e-9, err_msg=name
        )
    for name in ("evicted_blocks", "evicted_tokens", "query_blocks", "hit_blocks", "hit_tokens_by_tier"):
        assert getattr(live, name) == getattr(again, name), name
    if live.engine is not None and again.engine is not None:
        for name in (
            "iterations",
            "scheduled_tokens",
            "num_preemptions",
            "recomputed_tokens",
            "hits_tokens",
        ):
            assert getattr(live.engine, name) == getattr(again.engine, name), name


class Chats:
    """Chats under a few system prompts, all at once; tokens are few, so that prompts part anywhere.

    Clients may resend something else than they got, may name messages or not, and some leave before their
    reply is complete.
    """

    def __init__(
        self, seed: int, chats: int = 5, turns: int = 5, longest: int = 25, leaving: float = 0.1
    ) -> None:
        self._rng = random.Random(seed)
        self._chats, self._turns, self._longest = chats, turns, longest
        self._leaving = leaving
        self._systems = [self._text(20, 40) for _ in range(2)]
        self.refused = 0

    async def __call__(self, live: LiveSystem) -> None:
        await asyncio.gather(*[self._chat(live, number) for number in range(self._chats)])

    async def read(self, live: LiveSystem, stream: Stream) -> int:
        """All tokens of a reply."""
        return await read(stream)

    def _text(self, least: int, most: int) -> list[int]:
        return [self._rng.randrange(3) for _ in range(self._rng.randint(least, most))]

    async def _chat(self, live: LiveSystem, number: int) -> None:
        rng = self._rng
        prompt = list(rng.choice(self._systems))
        system, ends = len(prompt), [len(prompt)]
        for _ in range(rng.randint(1, self._turns)):
            prompt += self._text(1, self._longest)
            ends.append(len(prompt))
            reply = self._text(1, self._longest)
            ask = Ask(
                list(prompt),
                len(reply),
                reply if rng.random() < 0.8 else (),
                session=rng.choice(["", f"chat {number}"]),
                message_ends=ends if rng.random() < 0.7 else (),
                system_tokens=system,
                marks=[Mark(end, rng.choice([None, 300.0])) for end in sorted({ends[0], ends[-1]})],
                cache_key=rng.choice([None, "a", "b"]),
            )
            try:
                stream = live.submit(ask)
                if rng.random() < self._leaving:
                    await leave(stream, rng.randrange(len(reply)))
                    return
                assert await self.read(live, stream) == len(reply)
            except Refused:
                self.refused += 1
                return
            assert stream.usage.output_tokens == len(reply)
            prompt += reply if rng.random() < 0.8 else self._text(1, self._longest)
            ends.append(len(prompt))
