"""SGLang's cache_aware router: an approximate tree of what was sent where."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sim.fleet.routers.base import RouterSetting
from sim.fleet.routers.order import Order, lowest
from workloads.schema import MOST, Schema

if TYPE_CHECKING:
    from sim.engine.interface import AnyReplica


class PrefixConfig(Schema):
    """``{kind: prefix, cache_threshold, balance_abs_threshold, balance_rel_threshold, max_tree_tokens}``.

    Named as in sglang-router, whose ``max_tree_size`` of 2^26 characters per worker is taken as four
    characters a token.
    """

    kind: Literal["prefix"] = "prefix"
    cache_threshold: float = Field(default=0.3, ge=0, le=1)
    """Share of a prompt that has to be known for it to go where it is known, 0 to 1."""
    balance_abs_threshold: int = Field(default=64, ge=0, le=MOST)
    """The fleet is out of balance if the loads of two replicas differ by more requests than this ..."""
    balance_rel_threshold: float = Field(default=1.5, ge=0, le=1e6)
    """... and by more than this factor; the least loaded replica is taken then."""
    max_tree_tokens: int = Field(default=2**24, ge=1, le=MOST)
    """Tokens of each replica that the router remembers."""

    def router(self, setting: RouterSetting) -> Prefix:
        """A fresh router for one run."""
        return Prefix(self, setting)


class Prefix:
    """Rules and thresholds of sglang-router 0.3.2 (``router_args.py``), in tokens for characters.

    If the loads differ by more than 64 requests and by a factor of 1.5, the least loaded replica.
    Otherwise the replica with the longest prefix in the router's own tree if that covers more than 30 %
    of the prompt, else the least loaded one. The tree is filled when routing and knows nothing of what
    the engines evict; it is trimmed (least recently sent first) when it grows too large, here at once
    and not every 60 s.
    """

    def __init__(self, config: PrefixConfig, setting: RouterSetting) -> None:
        self._config = config
        self._trace = setting.trace
        self._order: Order[int] = Order(lambda replica: replica.load)
        self._sent: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(setting.replicas)]
        """What each replica was sent, least recently first. The upper part of a segment that was cut since
        is not in here before it is sent again: it stands right behind its lower part."""
        self._to: dict[int, int] = {}
        """The same by segment: the set of its replicas, bit n for replica n."""
        self._tokens = [0] * setting.replicas
        setting.trace.content.watch(self._split)

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        """O(replicas changed since the last request + segments on the path)."""
        order, config = self._order, self._config
        order.update(replicas)
        path = self._trace.content.path(self._trace.prompt[request])
        least, most = order.measures[0], order.measures[-1]
        imbalanced = (
            most - least > config.balance_abs_threshold and most > config.balance_rel_threshold * least
        )
        number = order.lowest() if imbalanced else self._match(path)
        self._note(number, path)
        return number

    def _match(self, path: list[int]) -> int:
        """The replica that was sent most of ``path`` if that is enough, else the least loaded one."""
        end, longest, matched = self._trace.content.end, self._order.everyone, 0
        for segment in path:
            still = longest & self._to.get(segment, 0)
            if not still:
                break
            longest, matched = still, end[segment]
        if matched > self._config.cache_threshold * end[path[-1]]:
            return lowest(longest)
        return self._order.lowest()

    def _note(self, number: int, path: list[int]) -> None:
        sent, to, bit = self._sent[number], self._to, 1 << number
        for segment in reversed(path):
            before = to.get(segment, 0)
            if not before & bit:
                to[segment] = before | bit
                self._tokens[number] += self._length(segment)
            sent[segment] = None
            sent.move_to_end(segment)
        while self._tokens[number] > self._config.max_tree_tokens:
            segment, _ = sent.popitem(last=False)
            to[segment] ^= bit
            self._tokens[number] -= self._length(segment)
            above = self._trace.content.parent[segment]
            if above not in sent and to.get(above, 0) & bit:
                sent[above] = None
                sent.move_to_end(above, last=False)

    def _split(self, upper: int, lower: int) -> None:
        self._to[upper] = self._to.get(lower, 0)

    def _length(self, segment: int) -> int:
        content = self._trace.content
        return content.end[segment] - content.end[content.parent[segment]]
