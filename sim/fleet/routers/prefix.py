"""SGLang's cache_aware router: an approximate tree of what was sent where."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.fleet.routers.base import RouterSetting, least_loaded

if TYPE_CHECKING:
    from sim.engine.interface import AnyReplica

CACHE_THRESHOLD = 0.3
BALANCE_ABS = 64
BALANCE_REL = 1.5
MAX_TREE_TOKENS = 2**24
"""sglang-router's bound is 2^26 characters per worker; taken as four characters a token."""


class Prefix:
    """Rules and thresholds of sglang-router 0.3.2 (``router_args.py``), in tokens for characters.

    If the loads differ by more than 64 requests and by a factor of 1.5, the least loaded replica.
    Otherwise the replica with the longest prefix in the router's own tree if that covers more than 30 %
    of the prompt, else the least loaded one. The tree is filled when routing and knows nothing of what
    the engines evict; it is trimmed (least recently sent first) when it grows too large, here at once
    and not every 60 s.
    """

    def __init__(self, setting: RouterSetting) -> None:
        self._trace = setting.trace
        self._sent: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(setting.replicas)]
        self._tokens = [0] * setting.replicas

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        """O(replicas x segments matched)."""
        path = self._trace.content.path(self._trace.prompt[request])
        loads = [replica.load for replica in replicas]
        imbalanced = max(loads) - min(loads) > BALANCE_ABS and max(loads) > BALANCE_REL * min(loads)
        number = least_loaded(replicas).number if imbalanced else self._match(path, replicas)
        self._note(number, path)
        return number

    def _match(self, path: list[int], replicas: Sequence[AnyReplica]) -> int:
        end = self._trace.content.end
        best, matched = -1, 0
        for replica in replicas:
            sent, tokens = self._sent[replica.number], 0
            for segment in path:
                if segment not in sent:
                    break
                tokens = end[segment]
            if tokens > matched:
                best, matched = replica.number, tokens
        if matched > CACHE_THRESHOLD * end[path[-1]]:
            return best
        return least_loaded(replicas).number

    def _note(self, number: int, path: list[int]) -> None:
        content, sent = self._trace.content, self._sent[number]
        for segment in reversed(path):
            if segment not in sent:
                sent[segment] = None
                self._tokens[number] += content.end[segment] - content.end[content.parent[segment]]
            sent.move_to_end(segment)
        while self._tokens[number] > MAX_TREE_TOKENS:
            segment, _ = sent.popitem(last=False)
            self._tokens[number] -= content.end[segment] - content.end[content.parent[segment]]
