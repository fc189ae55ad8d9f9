"""A yardstick: our caches beside libcachesim's LRU on the same ids: ``python -m benchmarks.plain_lru``.

libcachesim (C, its Python binding is GPL and no dependency of ours) counts single accesses to objects.
Install it by hand to see its row; everything else runs without it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sim.caches.access import IdNumbers
from sim.caches.ids import IdsConfig
from workloads.formats.mooncake import MooncakeTrace

MOONCAKE = Path(__file__).parents[2] / "shared/data/mooncake/conversation_trace.jsonl"
CAPACITY = 30_000


def timed(name: str, work: Callable[[], int], accesses: int, runs: int = 3) -> None:
    """Print hits and the median time of ``runs`` runs."""
    times, hits = [], 0
    for _ in range(runs):
        start = time.perf_counter()
        hits = work()
        times.append(time.perf_counter() - start)
    median = statistics.median(times)
    print(f"{name:44}{hits:>10,} hits{median:>9.3f} s{accesses / median / 1e6:>9.2f} M accesses/s")


def main() -> None:
    """The conversation trace's 288,500 ids through an LRU of 30,000."""
    trace = MooncakeTrace(kind="trace", format="mooncake", path=MOONCAKE).build(0, Path())
    assert trace.named_blocks is not None
    numbers = IdNumbers(trace)

    def ids() -> Iterator[int]:
        for request in range(len(trace)):
            yield from numbers.of(request)

    accesses = sum(trace.named_blocks)
    flat = list(ids())

    def ours(**config: object) -> Callable[[], int]:
        def work() -> int:
            cache = IdsConfig.model_validate({"kind": "ids", "capacity_blocks": CAPACITY} | config)
            replay = cache.replay(trace, "cache")
            return sum(replay.serve(request, at).hit_blocks for at, request in trace.instant_order())

        return work

    timed("ours, per segment (ids, lru)", ours(), accesses)
    timed("ours, per access (ids, lru, count: access)", ours(count="access"), accesses)
    try:
        import libcachesim
    except ImportError:
        print("libcachesim: not installed, left out")
        return

    def theirs() -> int:
        cache = libcachesim.LRU(cache_size=CAPACITY)
        request = libcachesim.Request()
        request.obj_size = 1
        hits = 0
        for block in flat:
            request.obj_id = block
            hits += cache.get(request)
        return hits

    timed("libcachesim LRU, called one by one", theirs, accesses)


if __name__ == "__main__":
    main()
