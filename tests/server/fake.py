"""A live system of a few lines: a fixed time per token, a cache that remembers all prompts and replies."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from sim.server.live import About, Ask, Refused, State, Times, Usage

Node = dict[int, Any]


class FakeLive:
    """Implements `sim.server.live.Live`. ``token_s`` 0: replies come at once, token by token."""

    def __init__(
        self,
        token_s: float = 0.0,
        kind: Any = "engine",
        max_model_len: int | None = None,
        most_at_once: int | None = None,
        fails_after: int | None = None,
    ) -> None:
        self.token_s, self.most_at_once, self.fails_after = token_s, most_at_once, fails_after
        self.about = About(
            kind=kind,
            system="fake",
            model="fake-model",
            block_size=1,
            kv_blocks=1000,
            max_model_len=max_model_len,
        )
        self.rows: list[FakeReply] = []
        self.paces: list[float] = []
        self._known: Node = {}
        self._stopped = asyncio.Event()
        self._steps: list[int] = []

    def forget(self) -> None:
        """As if nothing had been asked."""
        self.rows, self._known = [], {}

    @property
    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def submit(self, ask: Ask, came_s: float | None = None) -> FakeReply:
        if not ask.prompt or ask.output_tokens != len(ask.reply):
            raise AssertionError("an ask that makes no sense")
        running = sum(not reply.is_over for reply in self.rows)
        if self.most_at_once is not None and running >= self.most_at_once:
            raise Refused("queue_full", "the queue is full", retry_after_s=2.0)
        known, node = 0, self._known
        for token in ask.prompt:
            if token not in node:
                break
            node, known = node[token], known + 1
        cached = min(known, len(ask.prompt) - 1)
        reply = FakeReply(self, ask, len(self.rows), cached)
        self.rows.append(reply)
        return reply

    def remember(self, ask: Ask) -> None:
        node = self._known
        for token in (*ask.prompt, *ask.reply):
            node = node.setdefault(token, {})
        self._steps.append(len(ask.prompt))

    def shared_tokens(self, one: int, other: int) -> int:
        prompts = self.rows[one].ask.prompt, self.rows[other].ask.prompt
        shared = 0
        for a, b in zip(*prompts, strict=False):
            if a != b:
                break
            shared += 1
        return shared

    def iterations(self) -> list[int]:
        steps, self._steps = self._steps, []
        return steps

    def state(self) -> State:
        running = sum(not reply.is_over for reply in self.rows)
        return State(
            now_s=self.now_s,
            running=running,
            waiting=0,
            kv_usage=min(1.0, running / 10),
            prompt_tokens=sum(reply.usage.prompt_tokens for reply in self.rows),
            hit_tokens=sum(reply.usage.cached_tokens for reply in self.rows),
            output_tokens=sum(reply.said for reply in self.rows),
            completed=sum(reply.is_over and not reply.cancelled for reply in self.rows),
            aborted=sum(reply.cancelled for reply in self.rows),
            preemptions=0,
            cost_usd=0.001 * len(self.rows),
        )

    async def run(self) -> None:
        await self._stopped.wait()

    def stop(self) -> None:
        self._stopped.set()


@dataclass
class FakeReply:
    live: FakeLive
    ask: Ask
    number: int
    cached: int
    said: int = 0
    cancelled: bool = False
    is_over: bool = False
    arrival_s: float = field(init=False)
    first_s: float = math.nan
    end_s: float = math.nan

    def __post_init__(self) -> None:
        self.arrival_s = self.live.now_s

    @property
    def times(self) -> Times:
        return Times(self.arrival_s, self.arrival_s, self.first_s, self.end_s)

    @property
    def usage(self) -> Usage:
        length = len(self.ask.prompt)
        written = {300.0: length - self.cached} if self.live.about.kind == "provider" else {}
        return Usage(length, self.cached, written, self.said)

    async def __aiter__(self) -> AsyncIterator[int]:
        while self.said < self.ask.output_tokens and not self.cancelled:
            await asyncio.sleep(self.live.token_s)
            if self.said == self.live.fails_after:
                self.is_over = True
                raise Refused("stopped", "the replica failed")
            if not self.said:
                self.first_s = self.live.now_s
                self.live.remember(self.ask)
            self.said += 1
            yield 1
        self.is_over, self.end_s = True, self.live.now_s

    def cancel(self) -> None:
        self.cancelled = self.is_over = True
