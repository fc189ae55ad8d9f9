"""Naive routers: every replica is asked for every request, and what was sent is kept as it is."""

from __future__ import annotations

from collections.abc import Sequence

from sim.engine.interface import AnyReplica
from workloads.trace import Trace


class NaiveLeastLoaded:
    """The fewest requests, then the lowest number."""

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        return min((replica.load, replica.number) for replica in replicas)[1]


class NaiveKvAware:
    """The smallest cost, then the lowest number."""

    def __init__(self, trace: Trace, prefill_load_scale: float, overlap_score_credit: float) -> None:
        self.trace = trace
        self.scale = prefill_load_scale
        self.credit = overlap_score_credit

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        content, prompt = self.trace.content, self.trace.prompt[request]
        tokens = content.end[prompt]
        costs = []
        for replica in replicas:
            size, route = replica.memory.block_size, replica.memory.content.route(prompt)
            overlap = self.credit * replica.cached_tokens(route, tokens)
            prefill = (replica.queued_tokens + tokens - overlap) / size
            decode = replica.held_blocks + tokens / size
            costs.append((self.scale * prefill + decode, replica.number))
        return min(costs)[1]


class NaivePrefix:
    """Per replica a list of the segments that it was sent, the least recently sent one first."""

    def __init__(self, trace: Trace, threshold: float, most_apart: int, factor: float, tokens: int) -> None:
        self.trace = trace
        self.threshold, self.most_apart, self.factor, self.tokens = threshold, most_apart, factor, tokens
        self.sent: dict[int, list[int]] = {}

    def choose(self, request: int, replicas: Sequence[AnyReplica]) -> int:
        content, prompt = self.trace.content, self.trace.prompt[request]
        path = content.path(prompt)
        loads = [replica.load for replica in replicas]
        matches = []
        for replica in replicas:
            sent, matched = self.sent.get(replica.number, []), 0
            for segment in path:
                if segment not in sent:
                    break
                matched = content.end[segment]
            matches.append((-matched, replica.number))
        longest, number = min(matches)
        apart = max(loads) - min(loads) > self.most_apart and max(loads) > self.factor * min(loads)
        if apart or -longest <= self.threshold * content.end[prompt]:
            number = NaiveLeastLoaded().choose(request, replicas)
        sent = [segment for segment in self.sent.get(number, []) if segment not in path] + path[::-1]
        while sum(content.end[s] - content.end[content.parent[s]] for s in sent) > self.tokens:
            del sent[0]
        self.sent[number] = sent
        return number
