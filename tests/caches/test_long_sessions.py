"""A turn costs what is new in it: counted in lines of code that run, not in seconds."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from sim.caches.partitioned import partitioned
from sim.caches.radix_replay import RadixConfig
from sim.caches.replay import BlockConfig
from tests.chats import workload
from workloads.tenants import salted
from workloads.trace import Trace

CACHES: dict[str, dict[str, Any]] = {
    "block": {"kind": "block"},
    "ttl": {"kind": "block", "eviction": "ttl", "ttl_s": 1e9},
    "radix": {"kind": "radix"},
    "tight": {"kind": "block", "capacity_blocks": 4000},
}
HABITS: dict[str, dict[str, Any]] = {
    "plain": {},
    "fields that are dropped": {"dynamic_fields": "user"},
    "the first message edited": {"history": "edit"},
    "a clock": {"system_prompt": "clock"},
}


def _chat(turns: int, habits: dict[str, Any], **changes: Any) -> Trace:
    shape = {"turns": turns, "sessions": 2, "think_time_s": 5, "user_tokens": 20, "reply_tokens": 30}
    return workload(habits, **(shape | changes)).build(1, Path())


def _lines(call: Any) -> int:
    """How many lines of Python run in ``call``."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def _config(cache: dict[str, Any]) -> BlockConfig | RadixConfig:
    kind = RadixConfig if cache["kind"] == "radix" else BlockConfig
    return kind.model_validate(cache)


@pytest.mark.parametrize("habits", HABITS)
@pytest.mark.parametrize("cache", CACHES)
def test_the_last_turn_costs_no_more_than_an_early_one(cache: str, habits: str) -> None:
    """Ten turns at the end of 400 run about as many lines as ten turns at the end of 50."""
    work = []
    for turns in (50, 400):
        trace = _chat(turns, HABITS[habits])
        replay = _config(CACHES[cache]).replay(trace, "cache")
        order = trace.instant_order()
        for at, request in order[:-10]:
            replay.serve(request, at)
        last = order[-10:]
        work.append(_lines(lambda r=replay, last=last: [r.serve(i, at) for at, i in last]))
        replay.check()
    assert work[1] < 1.5 * work[0]


@pytest.mark.parametrize("habits", ["plain", "fields that are dropped"])
def test_a_chat_stays_in_few_runs(habits: str) -> None:
    """However many turns: the blocks of two chats are a handful of runs."""
    for turns in (10, 300):
        trace = _chat(turns, HABITS[habits])
        replay = BlockConfig(kind="block").replay(trace, "cache")
        for at, request in trace.instant_order():
            replay.serve(request, at)
        pieces = replay.cache.runs
        assert pieces <= 4 + (0 if habits == "plain" else 2 * len(trace))
        if habits == "plain":
            assert replay.cache.cached_blocks > 2 * turns


@pytest.mark.parametrize("habits", HABITS)
def test_generating_a_chat_is_linear(habits: str) -> None:
    """Four times the turns are about four times the lines and the segments, whatever the habit."""
    few, many = (_lines(lambda n=n: _chat(n, HABITS[habits])) for n in (100, 400))
    assert many < 5 * few
    sizes = [len(_chat(n, HABITS[habits]).content) for n in (100, 400)]
    assert sizes[1] < 4.5 * sizes[0]


@pytest.mark.parametrize("cache", [{"kind": "block", "capacity_blocks": 10**6},
                                   {"kind": "radix", "capacity_tokens": 10**7}])  # fmt: skip
def test_a_cache_per_tenant_does_no_work_over_the_trace(cache: dict[str, Any]) -> None:
    """Five times the tenants and requests are about five times the lines, salted and partitioned."""

    def replayed(tenants: int) -> None:
        trace = salted(_chat(2, {}, sessions=tenants, tenants=tenants))
        part = partitioned(_config(cache), trace, "cache")
        for at, request in trace.instant_order():
            part.serve(request, at)

    few, many = _lines(lambda: replayed(40)), _lines(lambda: replayed(200))
    assert many < 6.5 * few
