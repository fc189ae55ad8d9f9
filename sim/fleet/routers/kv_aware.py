"""Dynamo's KV router: a cost over true residency and load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.fleet.routers.base import RouterSetting
from workloads.content import Route, Tree

if TYPE_CHECKING:
    from sim.engine.interface import AnyReplica

PREFILL_LOAD_SCALE = 1.0


class KvAware:
    """cost = scale x prefill blocks + decode blocks, smallest first (Dynamo's ``lib/kv-router``).

    Prefill blocks are the prompt's blocks that the replica would have to compute, its queue's
    included; decode blocks are the blocks that its requests hold, this one's included. The residency is
    the replica's own at this moment (Dynamo's index follows the engines' events with a small delay).
    Ties go to the lowest number, where Dynamo draws.
    """

    def __init__(self, setting: RouterSetting) -> None:
        self._trace = setting.trace

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        """O(replicas x segments on the path)."""
        trace = self._trace
        prompt = trace.prompt[request]
        tokens = trace.content.end[prompt]
        routes: dict[Tree, Route] = {}

        def cost(replica: AnyReplica) -> tuple[float, int]:
            size = replica.memory.block_size
            content = replica.memory.content
            if content not in routes:
                routes[content] = content.route(prompt)
            uncached = tokens - replica.cached_tokens(routes[content], tokens)
            prefill = (replica.queued_tokens + uncached) / size
            decode = replica.held_blocks + tokens / size
            return PREFILL_LOAD_SCALE * prefill + decode, replica.number

        return min(replicas, key=cost).number
