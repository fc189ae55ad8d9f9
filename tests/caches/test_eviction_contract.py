"""One contract over every registered eviction policy, for single ids and for blocks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import load_config, run
from sim.caches.access import AccessCache
from sim.caches.block import BlockCache, BlockTable
from sim.caches.eviction import POLICIES, Eviction, PolicySetting
from sim.caches.ids import IdsConfig
from sim.caches.replay import BlockConfig
from sim.caches.runs import Run
from tests.caches.cases import QUICK, blocks_of, request_lists, trace_of
from tests.oracles.naive_vllm import NaiveRequest
from workloads.checking import check
from workloads.errors import InputError
from workloads.trace import Trace

BLOCK = 512
FEW = settings(QUICK, max_examples=40)
every_policy = pytest.mark.parametrize("policy", POLICIES)
ONLINE = [name for name, policy in POLICIES.items() if not policy.needs_future]
online_policy = pytest.mark.parametrize("policy", ONLINE)
Prompts = Sequence[Sequence[int]]
"""The ids of each prompt; an id stands for a block and all before it."""


def id_trace(prompts: Prompts, times: Sequence[float] = (), last_tokens: int = BLOCK) -> Trace:
    """A trace of whole blocks of 512 tokens, but for the last one of each prompt."""
    trace = Trace(named_blocks=[], block_id_tokens=BLOCK)
    assert trace.named_blocks is not None
    for number, ids in enumerate(prompts):
        fills = [BLOCK] * (len(ids) - 1) + [last_tokens]
        prompt = trace.content.insert(list(zip(ids, fills, strict=True)))
        at = times[number] if times else float(number)
        trace.add(prompt=prompt, output_tokens=1, arrival_s=at)
        trace.named_blocks.append(len(ids))
    check(trace)
    return trace


def options(policy: str) -> dict[str, Any]:
    """What a configuration needs besides the policy's name."""
    return {"eviction": policy, "ttl_s": 3.0} if policy == "ttl" else {"eviction": policy}


def access_cache(trace: Trace, capacity: int | None, policy: str, count: str = "access") -> AccessCache:
    """The cache of single accesses as a configuration makes it."""
    config = {"kind": "ids", "capacity_blocks": capacity, "count": count, **options(policy)}
    cache = IdsConfig.model_validate(config).replay(trace, "cache")
    assert isinstance(cache, AccessCache)
    return cache


def access_hits(trace: Trace, capacity: int | None, policy: str, count: str = "access") -> list[int]:
    """Hits of every request; what must hold always is checked after each."""
    cache = access_cache(trace, capacity, policy, count)
    hits, queries = [], 0
    for at, request in trace.instant_order():
        served = cache.serve(request, at)
        cache.check()
        queries += served.query_blocks
        hits.append(served.hit_blocks)
        assert 0 <= served.hit_tokens <= trace.input_tokens[request]
        assert capacity is None or len(cache.cached_ids) <= capacity
        if count == "access":  # what was inserted is there or was evicted
            assert queries - sum(hits) == len(cache.cached_ids) + cache.evicted_blocks
    return hits


def block_hits(trace: Trace, block_size: int, capacity: int | None, policy: str) -> list[int]:
    """Hits of every request in replay; the cache's and the policy's invariants are checked after each."""
    config = {"kind": "block", "block_size": block_size, "capacity_blocks": capacity, **options(policy)}
    replay = BlockConfig.model_validate(config).replay(trace, "cache")
    hits = []
    for at, request in trace.instant_order():
        hits.append(replay.serve(request, at).hit_blocks)
        replay.check()
        assert replay.cache.cached_blocks <= replay.cache.capacity_blocks
    return hits


@st.composite
def id_prompts(draw: Any, most: int = 12) -> list[list[int]]:
    """Prompts that share prefixes; some end in a partial block, which has an id of its own."""
    ids: dict[tuple[int, ...], int] = {}
    prompts = []
    for prompt in draw(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=5), max_size=most)):
        chain = [*prompt[:-1], prompt[-1] + draw(st.sampled_from([0, 0, 2]))]
        prefixes = [tuple(chain[: i + 1]) for i in range(len(chain))]
        prompts.append([ids.setdefault(prefix, len(ids)) for prefix in prefixes])
    return prompts


@every_policy
@FEW
@given(prompts=id_prompts(), capacity=st.integers(1, 8))
def test_ids(policy: str, prompts: list[list[int]], capacity: int) -> None:
    """No more hits than an endless cache or the offline optimum; the same every time."""
    trace = id_trace(prompts)
    hits = access_hits(trace, capacity, policy)
    assert hits == access_hits(trace, capacity, policy)
    endless = access_hits(trace, None, "lru")
    assert all(mine <= most for mine, most in zip(hits, endless, strict=True))
    assert sum(hits) <= sum(access_hits(trace, capacity, "belady"))


@every_policy
@FEW
@given(prompts=id_prompts(), capacity=st.integers(1, 8))
def test_counting_prefixes(policy: str, prompts: list[list[int]], capacity: int) -> None:
    """Prefix counting counts no more, and equals access counting where ids stand alone."""
    trace = id_trace(prompts, last_tokens=100)
    prefix = access_hits(trace, capacity, policy, "prefix")
    every = access_hits(trace, capacity, policy)
    assert all(few <= many for few, many in zip(prefix, every, strict=True))
    alone = id_trace([[block] for ids in prompts for block in ids])
    assert access_hits(alone, capacity, policy, "prefix") == access_hits(alone, capacity, policy)


@every_policy
@FEW
@given(
    requests=request_lists(most=8, arrivals=st.integers(0, 9)),
    block_size=st.integers(1, 3),
    spare=st.integers(0, 5),
)
def test_blocks(policy: str, requests: list[NaiveRequest], block_size: int, spare: int) -> None:
    """No request hits more than in endless memory; the same every time."""
    trace = trace_of(requests)
    capacity = blocks_of(requests, block_size) + spare
    hits = block_hits(trace, block_size, capacity, policy)
    assert hits == block_hits(trace, block_size, capacity, policy)
    endless = block_hits(trace, block_size, None, "lru")
    assert all(mine <= most for mine, most in zip(hits, endless, strict=True))


@online_policy
@FEW
@given(
    requests=request_lists(),
    block_size=st.integers(1, 3),
    spare=st.integers(0, 5),
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6)), max_size=60),
)
def test_held_blocks(
    policy: str, requests: list[NaiveRequest], block_size: int, spare: int, steps: list[tuple[int, int]]
) -> None:
    """Several requests at a time hold blocks, share them, grow and let go: no policy loses any."""
    trace = trace_of(requests)
    capacity = blocks_of(requests, block_size) + spare
    config = BlockConfig.model_validate({"kind": "block", "block_size": block_size, **options(policy)})
    cache = BlockCache(trace.content, block_size, capacity, queue=config.queue(trace, capacity))
    live: dict[int, tuple[BlockTable, int]] = {}
    for now, (pick, tokens) in enumerate(steps):
        cache.now_s = float(now)
        number = pick % len(requests)
        prompt = len(requests[number].prompt)
        total = prompt + len(requests[number].output) - 1
        if number in live:
            table, computed = live.pop(number)
            held = -(-computed // block_size)
        else:
            table = BlockTable(trace.content.route(trace.reply[number]), prompt, number)
            hit = cache.lookup(table, prompt)
            held, computed = hit.blocks, hit.blocks * block_size
            if hit.idle > cache.free_blocks:
                continue
            cache.acquire(table, hit)
        upto = min(computed + tokens, total)
        new_blocks = -(-upto // block_size) - held
        if computed == total or new_blocks > cache.free_blocks:
            cache.release(table, held)
        else:
            cache.take(new_blocks)
            cache.publish(table, upto)
            live[number] = table, upto
        cache.check()
    for table, computed in live.values():
        cache.release(table, -(-computed // block_size))
    cache.check()
    assert cache.free_blocks == capacity
    cache.take(capacity)  # every block that is still cached can be evicted
    assert cache.cached_blocks == 0


class LastIn(Eviction):
    """A policy of this test alone: the run released last goes first."""

    def __init__(self, setting: PolicySetting) -> None:
        super().__init__(setting)
        self._runs: list[Run] = []

    def release(self, run: Run, request: int) -> None:
        self._runs.append(run)

    def take(self, run: Run) -> None:
        self._runs.remove(run)

    def split(self, run: Run, deep: Run) -> None:
        if not run.refs:
            self._runs.insert(self._runs.index(run) + 1, deep)

    def victim(self) -> Run:
        return self._runs[-1]

    def evict(self, run: Run, blocks: int) -> None:
        if blocks == run.hi - run.lo:
            self._runs.remove(run)

    def idle(self) -> Iterator[Run]:
        return iter(self._runs)


CHAT = {
    "kind": "chat", "sessions": 6, "turns": 3, "think_time_s": 5, "user_tokens": 20, "reply_tokens": 30,
    "system_prompt": {"tokens": 40}, "arrival": {"process": "poisson", "rate_per_s": 0.5},
}  # fmt: skip
LATENCY = {"kind": "constant", "iteration_s": 0.01}
ENGINE = {"kind": "engine", "latency": LATENCY, "memory": {"kv_blocks": 40}}


def _write(folder: Path, workload: dict[str, Any] = CHAT, **systems: Any) -> Path:
    path = folder / "policies.yaml"
    path.write_text(json.dumps({"name": "policies", "workload": workload, "systems": systems}))
    return path


def test_a_new_policy_is_one_class_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registered, it runs from a configuration: ids, blocks in replay, blocks in an engine."""
    monkeypatch.setitem(POLICIES, "last-in", LastIn)
    cache = {"kind": "block", "eviction": "last-in", "capacity_blocks": 40}
    engine = {**ENGINE, "cache": {"kind": "block", "eviction": "last-in"}}
    config = load_config(_write(tmp_path, replay={"kind": "cache", "cache": cache}, engine=engine))
    runs = run(config).runs
    assert runs["replay"].records.hit_blocks
    assert runs["engine"].records.hit_blocks
    assert access_hits(id_trace([[1], [2], [3], [1], [3]]), 2, "last-in") == [0, 0, 0, 1, 1]


@every_policy
def test_from_a_configuration(policy: str, tmp_path: Path) -> None:
    """Every policy runs in replay and, unless it needs the future, in an engine."""
    systems = {"replay": {"kind": "cache", "cache": {"kind": "block", **options(policy)}}}
    if policy in ONLINE:
        systems["engine"] = {**ENGINE, "cache": {"kind": "block", **options(policy)}}
    for system in run(load_config(_write(tmp_path, **systems))).runs.values():
        assert system.records.hit_blocks


@online_policy
def test_fast_forward(policy: str, tmp_path: Path) -> None:
    """An engine that jumps over iterations evicts what one that takes each by itself evicts."""
    cache = {"kind": "block", **options(policy)}
    busy = {**CHAT, "sessions": 40, "arrival": {"process": "poisson", "rate_per_s": 20}, "think_time_s": 1}
    engines = {
        name: {**ENGINE, "cache": cache, "engine": {"fast_forward": name == "fast", "max_num_seqs": 6}}
        for name in ("fast", "steps")
    }
    runs = run(load_config(_write(tmp_path, busy, **engines))).runs
    fast, steps = runs["fast"].records, runs["steps"].records
    assert fast.evicted_blocks
    assert fast.evicted_blocks == steps.evicted_blocks
    assert (fast.cache_read_input_tokens == steps.cache_read_input_tokens).all()
    assert abs(fast.finished_s - steps.finished_s).max() < 1e-9


def test_an_engine_does_not_know_the_future(tmp_path: Path) -> None:
    """The message names the key and the policies that work there."""
    engine = {**ENGINE, "cache": {"kind": "block", "eviction": "belady"}}
    with pytest.raises(InputError, match=r"systems.a.cache.eviction = 'belady'.*allowed: lru, .*arc"):
        load_config(_write(tmp_path, a=engine))


@pytest.mark.parametrize(
    ("cache", "said"),
    [
        ({"kind": "ids", "eviction": "fifi"}, "eviction = 'fifi': did you mean 'fifo'"),
        ({"kind": "block", "eviction": "clock"}, "eviction = 'clock'.*allowed: lru, fifo"),
        ({"kind": "block", "eviction": "lru_tail_first"}, "'lru_tail_first'"),
        ({"kind": "ids", "eviction": "lru_tail_first", "count": "access"}, "count does not go with"),
        ({"kind": "ids", "eviction": "fifo", "count": "hits"}, "allowed: access, prefix"),
        ({"kind": "block", "eviction": "ttl"}, "ttl_s goes with eviction: ttl"),
        ({"kind": "ids", "eviction": "arc", "ttl_s": 3}, "ttl_s goes with eviction: ttl"),
    ],
)
def test_refused(tmp_path: Path, cache: dict[str, Any], said: str) -> None:
    """Unknown names and keys that do not go together, with what is allowed."""
    with pytest.raises(InputError, match=said):
        load_config(_write(tmp_path, a={"kind": "cache", "cache": cache}))
