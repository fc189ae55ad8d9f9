"""Naive tiers: sets of single blocks under the naive pool of vLLM's blocks."""

from __future__ import annotations

from tests.oracles.naive_vllm import NaiveBlockPool, NaiveRequest, serve_sequential
from workloads.trace import Trace


class NaiveStore:
    """Single blocks by (segment, number) with the time of the segment's last use."""

    def __init__(self, capacity: int | None) -> None:
        self.capacity = capacity
        self.blocks: set[tuple[int, int]] = set()
        self.used: dict[int, int] = {}
        self.clock = 0

    def touch(self, segment: int) -> None:
        self.clock += 1
        self.used[segment] = self.clock

    def put(self, segment: int, blocks: range) -> None:
        self.blocks.update((segment, block) for block in blocks)
        self.touch(segment)

    def evict(self) -> list[tuple[int, int]]:
        gone = []
        while self.capacity is not None and len(self.blocks) > self.capacity:
            oldest = min({segment for segment, _ in self.blocks}, key=lambda segment: self.used[segment])
            gone.append((oldest, max(block for segment, block in self.blocks if segment == oldest)))
            self.blocks.remove(gone[-1])
        return gone


def serve_naively(
    trace: Trace, gpu: int, lower: dict[str, int | None], size: int, write: str
) -> list[dict[str, int]]:
    """The same rules block by block; the GPU is the naive pool of vLLM's blocks."""
    content = trace.content
    pool = NaiveBlockPool(gpu, size)
    stores = {name: NaiveStore(capacity) for name, capacity in lower.items()}
    uses: dict[int, int] = {}
    found = []

    def home(request: int, block: int) -> int:
        path = content.path(trace.reply[request])
        return next(node for node in path if content.end[node] // size > block)

    def positions(node: int) -> list[int]:
        return [node * 1000 + i for i in range(content.end[content.parent[node]], content.end[node])]

    for _, request in trace.instant_order():
        prompt = [token for node in content.path(trace.prompt[request]) for token in positions(node)]
        reply = positions(trace.reply[request])
        naive = NaiveRequest(id=str(request), prompt=prompt, output=reply)
        pos = len(pool.lookup_request(naive))
        hits = {"gpu": pos}
        while pos < (len(prompt) - 1) // size:
            key = (home(request, pos), pos)
            name = next((name for name, store in stores.items() if key in store.blocks), None)
            if name is None:
                break
            stores[name].touch(key[0])
            hits[name] = hits.get(name, 0) + 1
            pos += 1
        found.append({name: blocks * size for name, blocks in hits.items() if blocks})
        before = len(pool.evictions)
        serve_sequential(pool, naive)
        if write == "write_back":
            moving = [(home(int(owner), block), block) for owner, block in pool.evictions[before:]]
            for store in stores.values():
                for segment, block in moving:
                    store.put(segment, range(block, block + 1))
                moving = store.evict()
        else:
            total = (len(prompt) + len(reply) - 1) // size
            for node in reversed(content.path(trace.reply[request])):
                uses[node] = uses.get(node, 0) + 1
                blocks = range(
                    content.end[content.parent[node]] // size, min(content.end[node] // size, total)
                )
                if blocks and (write == "write_through" or uses[node] >= 2):
                    for store in stores.values():
                        store.put(node, blocks)
            for store in stores.values():
                store.evict()
    return found
