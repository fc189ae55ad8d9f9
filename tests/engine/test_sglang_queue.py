"""The queue of SGLang's scheduler: who goes next by each policy, and what looking at it refreshes."""

from __future__ import annotations

from typing import Any

import pytest

from sim.engine.sglang.memory import SglangMemory
from sim.engine.sglang.queue import WaitingQueue
from tests.engine.driving_sglang import LONG, Spec, memory_with, serve, times_of


def _order(*requests: Spec, **engine: Any) -> list[int]:
    """Requests in the order of their admission, one at a time."""
    records = serve(*requests, max_running_requests=1, **engine)
    return [int(i) for i in records.scheduled_s.argsort(kind="stable")]


def test_lpm_takes_the_longest_cached_prefix_first() -> None:
    """Behind "abc" wait "xy", "ab" and "abcd"; those that find more go first."""
    waiting: tuple[Spec, ...] = (("abcd", 2), ("xy", 1, 1), ("abz", 1, 1), ("abcz", 1, 1))
    assert _order(*waiting, schedule_policy="fcfs") == [0, 1, 2, 3]
    assert _order(*waiting, schedule_policy="lpm") == [0, 3, 2, 1]


def test_lpm_holds_back_who_shares_with_another() -> None:
    """Two new prompts share 36 tokens: the second is put behind "xy", a round later it hits."""
    waiting: tuple[Spec, ...] = ((f"{LONG}1", 1), (f"{LONG}2", 1), ("xy", 1))
    assert _order(*waiting, schedule_policy="lpm") == [0, 1, 2]  # alone in the batch: it hits first
    together = serve(*waiting, schedule_policy="lpm", chunked_prefill_size=39)
    assert times_of(together)[2][0] == 0, "xy shares the first batch"
    assert together.cache_read_input_tokens.tolist()[1] == len(LONG)
    fcfs = serve(*waiting, schedule_policy="fcfs", chunked_prefill_size=39)
    assert times_of(fcfs)[2][0] > 0


@pytest.mark.parametrize(("shared", "held"), [(32, True), (31, False)])
def test_lpm_holds_back_from_32_tokens_on(shared: int, held: bool) -> None:
    """One token less in common, and both are admitted in their order."""
    common = LONG[:shared]
    records = serve((f"{common}+", 1), (f"{common}-", 1), ("=", 1), schedule_policy="lpm",
                     chunked_prefill_size=shared + 2)  # fmt: skip
    assert (times_of(records)[2][0] == 0) is held


def test_lpm_is_fcfs_above_128_waiting() -> None:
    """The 130th request finds most; with 129 behind the first nobody looks, with 128 it goes next."""
    for others, second in ((127, 128), (128, 1)):
        fillers: list[Spec] = [(chr(0x4E00 + i), 1, 1) for i in range(others)]
        order = _order(("abcd", 2), *fillers, ("abce", 1, 1), schedule_policy="lpm")
        assert order[1] == second


def test_dfs_weight_follows_the_heaviest_branch() -> None:
    """Two wait below "ab", one below "xy": the two go first, together, although it came before them."""
    waiting: tuple[Spec, ...] = (
        ("ab", 1), ("xy", 1), ("q", 3, 2), ("xyz", 1, 3), ("abz", 1, 3), ("abw", 1, 3),
    )  # fmt: skip
    assert _order(*waiting, schedule_policy="fcfs")[3:] == [3, 4, 5]
    assert _order(*waiting, schedule_policy="dfs-weight")[3:] == [4, 5, 3]


def _evict_one(memory: SglangMemory) -> int:
    leaf = memory.tree.evict()
    assert leaf is not None
    return leaf.owner


def test_every_32nd_pass_refreshes_what_waits() -> None:
    """The first pass does, and the 33rd: the waiting request's prefix is then not the next to go."""
    for passes, evicted in ((1, 1), (32, 0), (33, 1)):
        memory, (first, second) = memory_with("abc", "xyz")
        queue = WaitingQueue("fcfs", memory)
        queue.add(first)
        queue.arrange()
        if passes > 1:
            memory.match_whole(second.kv, 3)
            for _ in range(passes - 1):
                queue.arrange()
        assert _evict_one(memory) == evicted


def test_the_head_is_refreshed_last() -> None:
    """So what the second in the queue would find goes before what the first would."""
    memory, (first, second) = memory_with("abc", "xyz")
    queue = WaitingQueue("fcfs", memory)
    queue.add(first)
    queue.add(second)
    queue.arrange()
    assert _evict_one(memory) == 1


def test_only_lru_is_refreshed() -> None:
    """For mru a refreshed prefix would be the next to go; the engine leaves other policies alone."""
    memory, (first, _) = memory_with("abc", "xyz")
    memory.eviction = "mru"
    queue = WaitingQueue("fcfs", memory)
    queue.add(first)
    queue.arrange()
    assert _evict_one(memory) == 0
