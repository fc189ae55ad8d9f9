"""The LRU curve at every capacity, its sampled version, and Figure 9 of the Mooncake paper."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.caches.ids import IdsCache
from sim.caches.mooncake_estimate import Unit, figure_9, hit_tokens
from sim.studies.curve import Curve, blocks_of, exact
from sim.studies.curve_sampled import _hashed, difference, sampled
from tests.sim.small import write_seven, write_small_mooncake
from workloads.checking import check
from workloads.errors import InputError
from workloads.formats.mooncake import MooncakeTrace
from workloads.trace import Trace

INFINITE = 1 << 60
SIZE = 4
"""Tokens per block in the random traces."""


@pytest.fixture(scope="module")
def expected(shared_data: Path) -> dict[str, Any]:
    """Published integers of the conversation trace."""
    loaded: dict[str, Any] = json.loads((shared_data / "mooncake" / "expected_hits.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def mooncake(mooncake_file: Path) -> Trace:
    return _read(mooncake_file)


def _read(path: Path) -> Trace:
    return MooncakeTrace(kind="trace", format="mooncake", path=path).build(0, path.parent)


def _at(curve: Curve, capacity: int) -> tuple[int, int]:
    return int(curve.hit_blocks([capacity])[0]), int(curve.hit_tokens([capacity])[0])


def test_published_hits(mooncake: Trace, expected: dict[str, Any]) -> None:
    """Hits and hit tokens at every published capacity, from one pass, are the published integers."""
    curve = exact(blocks_of(mooncake))
    curve.check()
    assert curve.blocks.references == expected["block_references"]
    assert curve.blocks.working_set_blocks == expected["unique_blocks"]
    assert curve.blocks.input_tokens == expected["input_tokens"]
    for key, hits in expected["capacity_blocks"].items():
        capacity = INFINITE if key == "infinite" else int(key)
        tokens = expected["hit_tokens_by_capacity_blocks"][key]["lru_tail_first"]
        assert _at(curve, capacity) == (hits["lru_tail_first"], tokens)


def test_published_figure_9(mooncake: Trace, expected: dict[str, Any]) -> None:
    """Both estimates are met to the token, and lie just below the published curve."""
    vertices = figure_9(mooncake)
    for vertex, row in zip(vertices, expected["figure_9"], strict=True):
        assert (vertex.capacity_tokens, vertex.published) == (row["capacity_tokens"], row["published"])
        assert vertex.block == row["estimate_hit_tokens_block_capacity"]
        assert vertex.token == row["estimate_hit_tokens_token_capacity"]
        assert round(vertex.ratio("block"), 4) == row["estimate_block_capacity"]
        assert round(vertex.ratio("token"), 4) == row["estimate_token_capacity"]
    assert all(vertex.agrees() for vertex in vertices)
    for vertex in vertices[1:]:
        assert 0 <= vertex.published - vertex.ratio("block") <= 0.010
        assert 0 <= vertex.published - vertex.ratio("token") <= 0.007


@pytest.fixture
def seven(tmp_path: Path) -> Trace:
    """Seven requests whose hits can be counted by hand."""
    write_seven(tmp_path / "seven.jsonl")
    return _read(tmp_path / "seven.jsonl")


def test_seven_requests(seven: Trace) -> None:
    """The worked example that comes with the published integers."""
    curve = exact(blocks_of(seven))
    curve.check()
    assert [_at(curve, capacity) for capacity in (3, 4, 5, INFINITE)] == [
        (5, 2560), (6, 3072), (8, 4096), (11, 5372),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("unit", "capacity", "tokens"),
    [
        # Room for one id: [1,2,4] and [1,7] find the 1 that was just used.
        ("block", 512, 870 + 870),
        # Three ids: [1,2,4] finds two, then three requests find the 1.
        ("block", 2000, 1280 + 870 + 870 + 870),
        # In tokens 2,000 hold four ids after [5,6]: the second [1,2,3] finds two.
        ("token", 2000, 1280 + 1280 + 870 + 870),
        ("token", INFINITE, 1280 + 1400 + 870 + 900 + 1536),
        ("block", INFINITE, 1280 + 1400 + 870 + 900 + 1536),
    ],
)
def test_estimate_by_hand(seven: Trace, unit: Unit, capacity: int, tokens: int) -> None:
    """The rule of the estimate on the seven requests."""
    assert hit_tokens(seven, capacity, unit) == tokens


def _replay(trace: Trace, capacity: int) -> tuple[int, int]:
    cache = IdsCache(trace, capacity)
    served = [cache.serve(request, at) for at, request in trace.instant_order()]
    return sum(one.hit_blocks for one in served), sum(one.hit_tokens for one in served)


@st.composite
def ids_traces(draw: st.DrawFn) -> Trace:
    """Up to twelve prompts of up to five ids; the last one may be partial, or have no id."""
    trace = Trace(named_blocks=[], block_id_tokens=SIZE)
    assert trace.named_blocks is not None
    for i in range(draw(st.integers(1, 12))):
        choices = draw(st.lists(st.integers(0, 1), min_size=1, max_size=5))
        units: list[tuple[Any, int]] = [(tuple(choices[: n + 1]), SIZE) for n in range(len(choices))]
        rest = draw(st.integers(0, SIZE - 1))
        named = len(units)
        if rest:
            has_id = draw(st.booleans())
            units.append(("partial", rest) if has_id else (("unnamed", i), rest))
            named += has_id
        trace.add(prompt=trace.content.insert(units), output_tokens=1, arrival_s=float(i))
        trace.named_blocks.append(named)
    check(trace)
    return trace


@given(ids_traces())
def test_equals_the_replay_at_every_capacity(trace: Trace) -> None:
    """Blocks and tokens of one pass are those of ``IdsCache`` at each capacity."""
    curve = exact(blocks_of(trace))
    curve.check()
    for capacity in range(1, curve.blocks.working_set_blocks + 3):
        assert _at(curve, capacity) == _replay(trace, capacity)
    assert curve.full_blocks <= max(1, curve.blocks.working_set_blocks)


def test_equals_the_replay_on_chats(tmp_path: Path) -> None:
    """The same on a trace of conversations, at some capacities."""
    write_small_mooncake(tmp_path / "small.jsonl")
    trace = _read(tmp_path / "small.jsonl")
    curve = exact(blocks_of(trace))
    for capacity in (1, 2, 3, 5, 10, 30, 70, 100, 150, 200, 300, 1000):
        assert _at(curve, capacity) == _replay(trace, capacity)


@st.composite
def token_traces(draw: st.DrawFn) -> tuple[Trace, list[list[int]]]:
    """Up to ten prompts of tokens that share prefixes and may resend an earlier reply."""
    prompts: list[list[int]] = []
    replies: list[list[int]] = []
    texts = st.lists(st.integers(0, 1), min_size=1, max_size=14)
    for i in range(draw(st.integers(1, 10))):
        before = draw(st.integers(-1, i - 1))
        history = prompts[before] + replies[before] if before >= 0 else []
        prompts.append(history + draw(texts))
        replies.append(draw(texts))
    trace = Trace()
    both = [[(token, 1) for token in p + r] for p, r in zip(prompts, replies, strict=True)]
    heads = [[(token, 1) for token in p] for p in prompts]
    for units in both + heads:
        trace.content.insert(units)
    for i, (units, head) in enumerate(zip(both, heads, strict=True)):
        trace.add(
            prompt=trace.content.insert(head),
            reply=trace.content.insert(units),
            output_tokens=len(units) - len(head),
            arrival_s=float(i),
        )
    return trace, prompts


def _naive(prompts: list[list[int]], size: int, capacity: int) -> int:
    """Hit blocks of a prefix LRU over full blocks, one block at a time."""
    cache: OrderedDict[tuple[int, ...], None] = OrderedDict()
    hits = 0
    for prompt in prompts:
        names = [tuple(prompt[: n * size]) for n in range(1, len(prompt) // size + 1)]
        hits += next((i for i, name in enumerate(names) if name not in cache), len(names))
        for name in reversed(names):
            cache[name] = None
            cache.move_to_end(name)
        while len(cache) > capacity:
            cache.popitem(last=False)
    return hits


@given(token_traces(), st.integers(1, 5))
def test_equals_a_naive_lru_over_content(case: tuple[Trace, list[list[int]]], size: int) -> None:
    """Full blocks of any size over the content tree, whatever its segments."""
    trace, prompts = case
    if max(map(len, prompts)) < size:
        with pytest.raises(InputError, match=r"no prompt has a block of \d+ tokens"):
            blocks_of(trace, size)
        return
    curve = exact(blocks_of(trace, size))
    curve.check()
    for capacity in range(1, curve.blocks.working_set_blocks + 3):
        hits = _naive(prompts, size, capacity)
        assert _at(curve, capacity) == (hits, hits * size)


@given(ids_traces())
def test_a_sample_of_all_is_exact(trace: Trace) -> None:
    """At rate 1 everything is followed."""
    blocks = blocks_of(trace)
    curve, sample = sampled(blocks, 1.0)
    truth = exact(blocks)
    every = range(1, truth.full_blocks + 2)
    assert curve.hit_blocks(every).tolist() == truth.hit_blocks(every).tolist()
    assert curve.hit_tokens(every).tolist() == truth.hit_tokens(every).tolist()
    assert (sample.followed, sample.error.mean, sample.error.largest) == (sample.segments, 0, 0)


@pytest.mark.parametrize("rate", [0.2, 0.05, 0.01])
def test_error_of_a_sample(mooncake: Trace, rate: float) -> None:
    """The error shrinks with the rate, its estimate is of its size, and an infinite cache is exact."""
    blocks = blocks_of(mooncake)
    truth = exact(blocks)
    curve, sample = sampled(blocks, rate)
    error = difference(curve, truth)
    assert error.mean < 0.1 * rate**0.5
    assert error.mean / 3 < sample.error.mean < 3 * error.mean
    assert error.largest < 2 * sample.error.largest
    assert curve.hit_blocks([INFINITE]) == blocks.most_hit_blocks
    again, same = sampled(blocks, rate, truth)
    assert (again.hits == curve.hits).all() and same.followed == sample.followed
    assert same.error == error and same.truth is truth


def test_hash_is_splitmix64() -> None:
    """The published first outputs for seed 0, so the sample is the same everywhere."""
    golden = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert _hashed(np.arange(3, dtype=np.uint64)).tolist() == [value / 2**64 for value in golden]


def test_bad_rates(seven: Trace) -> None:
    """A rate is above 0, at most 1, and large enough to follow anything at all."""
    for rate in (0.0, -0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match=r"--sample .*allowed: above 0, up to 1"):
            sampled(blocks_of(seven), rate)
    with pytest.raises(InputError, match="follows none of 6 segments; allowed: a larger rate"):
        sampled(blocks_of(seven), 1e-9)


def test_bad_blocks(seven: Trace) -> None:
    """No requests, no size, no prompt of that size."""
    with pytest.raises(InputError, match="generated: no requests"):
        blocks_of(Trace())
    with pytest.raises(InputError, match="--block-size 0: allowed: at least 1"):
        blocks_of(seven, 0)
    with pytest.raises(InputError, match=r"seven\.jsonl: no prompt has a block of 1537 tokens"):
        blocks_of(seven, 1537)


def test_nothing_shared() -> None:
    """A trace without reuse has a flat curve."""
    trace = Trace()
    trace.add(prompt=trace.content.append(0, 100), output_tokens=1, arrival_s=0.0)
    curve = exact(blocks_of(trace))
    curve.check()
    assert curve.full_blocks == curve.capacity_for(1.0) == 1
    assert curve.hit_blocks([1, INFINITE]).tolist() == [0, 0]


def test_capacity_for_a_share(seven: Trace) -> None:
    """The smallest capacity with that share of the hit tokens: 5,372 in all, 4,096 with 5 blocks."""
    curve = exact(blocks_of(seven))
    assert curve.capacity_for(4096 / 5372) == 5
    assert curve.capacity_for(1.0) == curve.full_blocks
    assert _at(curve, curve.full_blocks) == (11, 5372)
    assert _at(curve, curve.full_blocks - 1) < (11, 5372)
