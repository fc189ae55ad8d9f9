"""Dynamo's KV router: a cost over true residency and load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sim.fleet.routers.base import RouterSetting
from sim.fleet.routers.order import Order, members
from sim.fleet.routers.sent import Sent
from workloads.content import ROOT, Route
from workloads.schema import Schema

if TYPE_CHECKING:
    from sim.engine.interface import AnyReplica

ROUNDING = 1 + 1e-9
"""What is larger than a cost by this factor is so however its parts are rounded."""
Load = tuple[float, int, int]
"""A replica's load: its part of the cost, in blocks; the tokens queued; the blocks held."""


class KvAwareConfig(Schema):
    """``{kind: kv_aware, prefill_load_scale, overlap_score_credit}``, named as in Dynamo.

    ``prefill_load_scale`` weighs prompts against blocks held (``overlap_score_weight`` in older
    releases); ``overlap_score_credit`` is the part of a cached token that counts as saved.
    """

    kind: Literal["kv_aware"] = "kv_aware"
    prefill_load_scale: float = Field(default=1.0, ge=0, le=1e6)
    """Weight of prompt blocks to compute against blocks held."""
    overlap_score_credit: float = Field(default=1.0, ge=0, le=1)
    """Part of a cached token that counts as saved, 0 to 1."""

    def router(self, setting: RouterSetting) -> KvAware:
        """A fresh router for one run."""
        return KvAware(self, setting)


class KvAware:
    """cost = scale x prefill blocks + decode blocks, smallest first (Dynamo's ``lib/kv-router``).

    Prefill blocks are the prompt's blocks that the replica would have to compute, its queue's
    included; decode blocks are the blocks that its requests hold, this one's included. The residency is
    the replica's own at this moment (Dynamo's index follows the engines' events with a small delay).
    Ties go to the lowest number, where Dynamo draws.

    Asking every replica would take too long, so costs are bounded from below: by the load when something
    last happened at a replica, and by the part of the prompt that was ever sent there. Replicas are
    asked in order of that bound until no bound is below the smallest cost. All have one block size.
    """

    def __init__(self, config: KvAwareConfig, setting: RouterSetting) -> None:
        self._scale, self._credit = config.prefill_load_scale, config.overlap_score_credit
        self._trace = setting.trace
        self._sent = Sent(setting.trace.content, setting.replicas)
        self._order: Order[Load] = Order(self._load)
        self._size = 1

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        """O(replicas changed since the last request + segments new in this one), if bounds are tight."""
        memory = self._memory = replicas[0].memory
        self._size = memory.block_size
        self._order.update(replicas)
        self._sent.grow()
        number = self._cheapest(self._trace.prompt[request])
        if memory.caching:
            self._sent.add(number, self._trace.reply[request])
        return number

    def check(self) -> None:
        """Assert, right after a choice, that loads are as filed or have grown since. O(replicas)."""
        self._order.check()
        for number, replica in self._order.replica.items():
            _, queued, held = self._order.measure_of(number)
            assert queued == replica.queued_tokens and held <= replica.held_blocks

    def _cheapest(self, prompt: int) -> int:
        """First those that may hold all of the prompt, at last those that were sent nothing of it."""
        content, order = self._trace.content, self._order
        tokens, route = content.end[prompt], self._memory.content.route(prompt)
        best, number = math.inf, -1
        unseen, segment = order.everyone, prompt
        while unseen:
            upto = content.end[segment]
            if self._bound(order.measures[0], tokens, upto) > best * ROUNDING:
                break
            here = unseen & self._sent.to(segment) if segment != ROOT else unseen
            for load, group in order.ascending(here):
                bound = self._bound(load, tokens, upto)
                if bound > best * ROUNDING:
                    break
                for candidate in members(group):
                    if (bound, candidate) > (best, number):
                        break
                    cost = self._ask(candidate, load, prompt, route, upto)
                    best, number = min((best, number), (cost, candidate))
            unseen ^= here
            segment = content.parent[segment]
        return number

    def _ask(self, number: int, load: Load, prompt: int, route: Route, upto: int) -> float:
        """The cost at replica ``number``, which holds at most ``upto`` tokens of the prompt."""
        replica, tokens = self._order.replica[number], self._trace.content.end[prompt]
        held, cached = replica.held_blocks, replica.cached_tokens(route, tokens)
        if held != load[2]:
            self._order.look_again(number)
        if not replica.load and cached < self._whole(tokens, upto):
            self._sent.found(number, prompt, cached, self._size)
        return self._cost(load[1], held, tokens, cached)

    def _load(self, replica: AnyReplica) -> Load:
        queued, held = replica.queued_tokens, replica.held_blocks
        return self._cost(queued, held, 0, 0), queued, held

    def _bound(self, load: Load, tokens: int, upto: int) -> float:
        """The least cost at a replica with ``load`` that holds at most ``upto`` tokens of the prompt."""
        return self._cost(load[1], load[2], tokens, self._whole(tokens, upto))

    def _whole(self, tokens: int, upto: int) -> int:
        """What a lookup can find of ``upto`` tokens: whole blocks, and the last token is computed."""
        return min(upto, tokens - 1) // self._size * self._size

    def _cost(self, queued_tokens: int, held_blocks: int, tokens: int, cached: int) -> float:
        size = self._size
        prefill = (queued_tokens + tokens - self._credit * cached) / size
        return self._scale * prefill + (held_blocks + tokens / size)
