"""Each eviction policy against lists and linear scans, against worked examples and published counts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.caches.ids import IdsConfig
from sim.caches.replay import BlockConfig
from tests.caches.cases import QUICK, THOROUGH, blocks_of, request_lists, trace_of
from tests.caches.test_eviction_contract import (
    BLOCK,
    Prompts,
    access_cache,
    access_hits,
    every_policy,
    id_prompts,
    id_trace,
    options,
)
from tests.oracles.naive_policies import NAIVE, Item, Naive
from tests.oracles.naive_vllm import NaiveRequest
from workloads.formats.mooncake import MooncakeTrace
from workloads.trace import Trace

SOME = settings(QUICK, max_examples=120)
MORE = settings(THOROUGH, max_examples=2000)
NEVER = float("inf")


# -- single ids ------------------------------------------------------------------------------------


def naive_access_hits(policy: Naive, trace: Trace, prompts: Prompts) -> list[int]:
    """The ids one by one: hits of each request, without any prefix condition."""
    flat = [name for ids in prompts for name in ids]
    cached: dict[int, Item] = {}
    hits: list[int] = []
    position = 0

    def next_use(item: Item) -> float:
        return next((i for i in range(position + 1, len(flat)) if flat[i] == item.name), NEVER)

    policy.next_use = next_use
    policy.block_tokens = BLOCK
    for request, ids in enumerate(prompts):
        policy.now_s, policy.turn = float(trace.arrival_s[request] or 0), trace.turn[request]
        for name, item in list(cached.items()):
            if policy.now_s - policy.used_s[item] > policy.ttl_s:
                policy.evict(cached.pop(name))
        hits.append(0)
        for depth, name in enumerate(ids):
            if name in cached:
                hits[-1] += 1
                policy.take(cached[name])
                policy.hit(cached[name])
            else:
                policy.miss(name)
                if len(cached) == policy.capacity:
                    victim = policy.victim(list(cached.values()))
                    policy.evict(victim)
                    del cached[victim.name]  # type: ignore[arg-type]
                cached[name] = Item(name, depth, copy=position)
                policy.insert(cached[name])
            position += 1
    return hits


def _naive(policy: str, capacity: int) -> Naive:
    naive = NAIVE[policy](capacity)
    naive.ttl_s = options(policy).get("ttl_s", NEVER)
    return naive


def _agree_on_ids(policy: str, prompts: Prompts, capacity: int, data: st.DataObject) -> None:
    n = len(prompts)
    times = sorted(data.draw(st.lists(st.integers(0, 12), min_size=n, max_size=n)))
    trace = id_trace(prompts, times)
    trace.turn = data.draw(st.lists(st.integers(1, 3), min_size=n, max_size=n))
    want = naive_access_hits(_naive(policy, capacity), trace, prompts)
    assert access_hits(trace, capacity, policy) == want


@every_policy
@SOME
@given(prompts=id_prompts(), capacity=st.integers(1, 8), data=st.data())
def test_ids(policy: str, prompts: list[list[int]], capacity: int, data: st.DataObject) -> None:
    """Hits of every request are those of the naive policy."""
    _agree_on_ids(policy, prompts, capacity, data)


@every_policy
@SOME
@given(accesses=st.lists(st.integers(0, 6), max_size=40), capacity=st.integers(1, 5), data=st.data())
def test_single_ids(policy: str, accesses: list[int], capacity: int, data: st.DataObject) -> None:
    """The same with one id per request: long histories of few ids, so ghosts return."""
    _agree_on_ids(policy, [[access] for access in accesses], capacity, data)


@pytest.mark.slow
@every_policy
@MORE
@given(accesses=st.lists(st.integers(0, 15), max_size=150), capacity=st.integers(1, 12), data=st.data())
def test_single_ids_thoroughly(
    policy: str, accesses: list[int], capacity: int, data: st.DataObject
) -> None:
    """The same on longer histories and larger caches."""
    _agree_on_ids(policy, [[access] for access in accesses], capacity, data)


# -- blocks ----------------------------------------------------------------------------------------


def naive_block_hits(policy: Naive, trace: Trace, requests: Sequence[NaiveRequest], size: int) -> list[int]:
    """One request at a time on single blocks: find, make room, publish, release from deep to shallow."""
    cached: list[Item] = []  # in order of publication
    hits: list[int] = []

    def next_use(item: Item) -> float:
        """The next request, this one included, whose prompt contains the block."""
        assert isinstance(item.name, tuple)
        later = range(len(hits) - 1, len(requests))
        return next((i for i in later if tuple(requests[i].prompt[: len(item.name)]) == item.name), NEVER)

    policy.next_use = next_use
    policy.block_tokens = size
    for number, request in enumerate(requests):
        policy.now_s, policy.turn = float(request.arrival), trace.turn[number]
        tokens = [*request.prompt, *request.output[:-1]]
        most = (len(request.prompt) - 1) // size
        if most:
            for item in [item for item in cached if policy.now_s - policy.used_s[item] > policy.ttl_s]:
                cached.remove(item)
                policy.evict(item)
        held: list[Item] = []
        for end in range(size, most * size + 1, size):
            found = [item for item in cached if item.name == tuple(tokens[:end])]
            if not found:
                break
            held.append(found[0])
        old = set(held)
        hits.append(len(held))
        for item in held:
            policy.take(item)
        for upto in (len(request.prompt), len(tokens)):
            unpublished = -(-upto // size) - len(held)
            while len(cached) + unpublished > policy.capacity:
                victim = policy.victim([item for item in cached if item not in held])
                policy.evict(victim)
                cached.remove(victim)
            for index in range(len(held), upto // size):
                item = Item(tuple(tokens[: (index + 1) * size]), index, copy=number)
                cached.append(item)
                held.append(item)
        for item in reversed(held):
            policy.hit(item) if item in old else policy.insert(item)
    return hits


def _single_block_segments(requests: Sequence[NaiveRequest]) -> Trace:
    """The trace of ``requests`` with every token a segment of its own."""
    trace = Trace()
    for request in requests:
        units = [(token, 1) for token in (*request.prompt, *request.output)]
        for end in range(1, len(units) + 1):
            whole = trace.content.insert(units[:end])
            if end == len(request.prompt):
                prompt = whole
        trace.add(
            prompt=prompt, reply=whole, output_tokens=len(request.output), arrival_s=float(request.arrival)
        )
    return trace


def _agree_on_blocks(
    policy: str, trace: Trace, requests: list[NaiveRequest], size: int, spare: int, turns: list[int]
) -> None:
    capacity = blocks_of(requests, size) + spare
    trace.turn = [turns[i % len(turns)] for i in range(len(trace))]
    config = {"kind": "block", "block_size": size, "capacity_blocks": capacity, **options(policy)}
    replay = BlockConfig.model_validate(config).replay(trace, "cache")
    got = []
    for request in range(len(trace)):
        got.append(replay.serve(request, float(requests[request].arrival)).hit_blocks)
        replay.check()
    assert got == naive_block_hits(_naive(policy, capacity), trace, requests, size)


blocks = given(
    requests=request_lists(most=9, arrivals=st.integers(0, 12)),
    size=st.integers(1, 3),
    spare=st.integers(0, 6),
    turns=st.lists(st.integers(1, 3), min_size=1, max_size=4),
)


@pytest.mark.parametrize("policy", ["lru", "ttl", "fifo", "lfu", "belady"])
@SOME
@blocks
def test_runs_of_blocks(
    policy: str, requests: list[NaiveRequest], size: int, spare: int, turns: list[int]
) -> None:
    """Policies that order blocks as they order runs: that runs are cut and shrink changes nothing."""
    _agree_on_blocks(policy, trace_of(requests), requests, size, spare, turns)


@every_policy
@SOME
@blocks
def test_single_blocks(
    policy: str, requests: list[NaiveRequest], size: int, spare: int, turns: list[int]
) -> None:
    """Every policy where each run is one block: history, held blocks and ghosts."""
    _agree_on_blocks(policy, _single_block_segments(requests), requests, 1, spare, turns)


@pytest.mark.slow
@every_policy
@MORE
@blocks
def test_single_blocks_thoroughly(
    policy: str, requests: list[NaiveRequest], size: int, spare: int, turns: list[int]
) -> None:
    """The same on thousands of new examples."""
    _agree_on_blocks(policy, _single_block_segments(requests), requests, 1, spare, turns)


# -- worked examples -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "capacity", "accesses", "hits"),
    [
        # c takes the place of b, used longest ago.
        ("lru", 2, "abacb", "--H--"),
        # c takes the place of a, which came first; its hit does not count.
        ("fifo", 2, "abaca", "--H--"),
        # c takes the place of b, used once; a was used twice.
        ("lfu", 2, "aabcab", "-H--H-"),
        # Equal counts: a was used longest ago.
        ("lfu", 2, "abcb", "---H"),
        # c takes the place of b, which is used after a.
        ("belady", 2, "abcab", "---H-"),
        # b, never used again, goes before a.
        ("belady", 2, "abcaca", "---HHH"),
        # d: the hand spares a and takes b. e: it goes on, spares c and takes d. LRU would take a.
        ("sieve", 3, "abcadcea", "---H-H-H"),
        # ... f: the hand starts again at the old end, where a was not used since.
        ("sieve", 3, "abcadcefca", "---H-H--H-"),
        # e: a, hit twice, moves to the main queue and b goes. b returns to the main queue, as a ghost.
        # f, g, h pass through the small queue; a and b stay.
        ("s3-fifo", 4, "abcdaaebfghab", "----HH-----HH"),
        # One hit is not enough: e takes the place of a.
        ("s3-fifo", 4, "abcdaea", "----H--"),
        # c takes the place of b, used once. b returns: T1 may have 1, so a of T2 goes. a returns: T1 may
        # have none, so c goes; then b and a are both in T2.
        ("arc", 2, "abacbaba", "--H---HH"),
        # c takes the place of b (1 use); the clock is 1, so c counts as much as a with 2 uses. d takes the
        # place of a, of the two the one used longest ago. LFU would keep a.
        ("gdsf", 2, "aabcda", "-H----"),
    ],
)  # fmt: skip
def test_worked_example(policy: str, capacity: int, accesses: str, hits: str) -> None:
    """Single ids, one letter each."""
    trace = id_trace([[ord(letter)] for letter in accesses])
    assert "".join("-H"[hit] for hit in access_hits(trace, capacity, policy)) == hits


@pytest.mark.parametrize(
    ("policy", "accesses", "times", "hits"),
    [
        # Found 3 s after its last use, not 4 s after it.
        ("ttl", "aaa", [0, 3, 7], "-H-"),
        # The one gap was 10 s. At 21 s a is expected at 20 s and b at 20 + 10 / (1/2) = 40 s: b goes.
        ("session-aware", "aabca", [0, 10, 20, 21, 22], "-H--H"),
        # At 60 s a is unused for 50 s, more than 3 gaps: it goes first.
        ("session-aware", "aabca", [0, 10, 20, 60, 61], "-H---"),
    ],
)
def test_worked_example_in_time(policy: str, accesses: str, times: list[float], hits: str) -> None:
    """Two ids fit; arrival times in s."""
    trace = id_trace([[ord(letter)] for letter in accesses], times)
    assert "".join("-H"[hit] for hit in access_hits(trace, 2, policy)) == hits


def test_gdsf_keeps_what_is_dear() -> None:
    """Of two ids used once the deeper goes last: behind 512 tokens a block costs more to compute."""
    cache = access_cache(id_trace([[1, 2], [3]]), 2, "gdsf")
    cache.serve(0, 0.0)
    assert cache.cached_ids == {0, 1}
    cache.serve(1, 0.0)
    assert cache.cached_ids == {1, 2}


# -- laws ------------------------------------------------------------------------------------------


@SOME
@given(prompts=id_prompts(), capacity=st.integers(1, 8), more=st.integers(1, 4))
def test_inclusion(prompts: list[list[int]], capacity: int, more: int) -> None:
    """What an LRU cache holds, a larger one holds too."""
    trace = id_trace(prompts)
    small, large = access_cache(trace, capacity, "lru"), access_cache(trace, capacity + more, "lru")
    for request in range(len(trace)):
        small.serve(request, 0.0)
        large.serve(request, 0.0)
        assert small.cached_ids <= large.cached_ids


@pytest.mark.parametrize("policy", ["lru", "belady"])
@SOME
@given(prompts=id_prompts(), capacity=st.integers(1, 8), more=st.integers(1, 4))
def test_more_capacity_never_hurts(policy: str, prompts: list[list[int]], capacity: int, more: int) -> None:
    """In all; request by request this holds for lru only."""
    trace = id_trace(prompts)
    small, large = access_hits(trace, capacity, policy), access_hits(trace, capacity + more, policy)
    assert sum(small) <= sum(large)
    if policy == "lru":
        assert all(few <= many for few, many in zip(small, large, strict=True))


# -- published counts ------------------------------------------------------------------------------

SMALL = [[1, 2, 3], [1, 2, 4], [5, 6], [1, 2, 3], [1, 7], [5, 6], [1, 2, 4]]
SMALL_TOKENS = [1400, 1536, 900, 1400, 1000, 900, 1536]


def _total(trace: Trace, capacity: int | None, eviction: str, count: str | None = None) -> tuple[int, int]:
    config = {"kind": "ids", "capacity_blocks": capacity, "eviction": eviction, "count": count}
    cache = IdsConfig.model_validate(config).replay(trace, "cache")
    served = [cache.serve(request, at) for at, request in trace.instant_order()]
    cache.check()
    return sum(s.hit_blocks for s in served), sum(s.hit_tokens for s in served)


@pytest.mark.parametrize(
    ("capacity", "counts"),
    [
        (3, [(5, 2560), (3, 1536), 3, 7, 7]),
        (4, [(6, 3072), (4, 2048), 3, 7, 9]),
        (5, [(8, 4096), (6, 3072), 3, 7, 10]),
        (None, [(11, 5372), (11, 5372), 11, 11, 11]),
    ],
)
def test_small_check(capacity: int | None, counts: list[object]) -> None:
    """The table that comes with the Mooncake trace's expected hits: LRU with tokens, others blocks."""
    trace = Trace(named_blocks=[], block_id_tokens=BLOCK)
    assert trace.named_blocks is not None
    for ids, tokens in zip(SMALL, SMALL_TOKENS, strict=True):
        fills = [BLOCK] * (len(ids) - 1) + [tokens - BLOCK * (len(ids) - 1)]
        prompt = trace.content.insert(list(zip(ids, fills, strict=True)))
        trace.add(prompt=prompt, output_tokens=1, arrival_s=0.0)
        trace.named_blocks.append(len(ids))
    got = [_total(trace, capacity, name) for name in ("lru_tail_first", "lru_head_first")]
    assert [*got, *(_total(trace, capacity, name)[0] for name in ("fifo", "lfu", "belady"))] == counts
    assert _total(trace, capacity, "lru", "access") == counts[1]


@pytest.fixture(scope="module")
def conversation(mooncake_file: Path) -> Trace:
    config = MooncakeTrace(kind="trace", format="mooncake", path=mooncake_file)
    return config.build(0, mooncake_file.parent)


def _as_published(trace: Trace, folder: Path, policy: str, capacity: str) -> None:
    """The exact count; single accesses under LRU meet lru_head_first, in tokens too."""
    expected = json.loads((folder / "expected_hits.json").read_text())
    published = "lru_head_first" if policy == "lru" else policy
    blocks = None if capacity == "infinite" else int(capacity)
    hits, tokens = _total(trace, blocks, policy, "access")
    assert hits == expected["capacity_blocks"][capacity][published]
    if policy == "lru":
        assert tokens == expected["hit_tokens_by_capacity_blocks"][capacity][published]


@pytest.mark.parametrize("policy", ["fifo", "lfu", "belady", "lru"])
@pytest.mark.parametrize("capacity", ["1000"])
def test_conversation_trace(policy: str, capacity: str, conversation: Trace, mooncake_file: Path) -> None:
    """Counts published with the Mooncake trace."""
    _as_published(conversation, mooncake_file.parent, policy, capacity)


@pytest.mark.slow
@pytest.mark.parametrize("capacity", ["5859", "10000", "30000", "50000", "100000", "infinite"])
@pytest.mark.parametrize("policy", ["fifo", "lfu", "belady", "lru"])
def test_whole_table(policy: str, capacity: str, conversation: Trace, mooncake_file: Path) -> None:
    """The other capacities: up to three seconds each, and the smallest evicts most."""
    _as_published(conversation, mooncake_file.parent, policy, capacity)
