"""What may befall a live request: deadlines, failures, full queues, clients and servers that go."""

from __future__ import annotations

import asyncio
from math import inf, isnan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.server.fleet import LiveFleet
from sim.server.live import Ask, Refused
from sim.server.opening import open_system
from sim.server.system import LiveSystem
from tests.server.live import Chats, engine, hosted, read, serve
from tests.server.test_live_replay import SEEDS, SGLANG, live_is_replay, quickly
from workloads.errors import InputError

BLOCKS = {"kind": "block", "block_size": 4}
HARDSHIPS: dict[str, dict[str, Any]] = {
    "deadlines": {"deadline_s": {"distribution": "uniform", "low": 0.05, "high": 0.4}},
    "deadlines of two kinds": {
        "deadline_s": {
            "distribution": "mixture",
            "parts": [0.1, {"distribution": "exponential", "mean": 0.3}],
            "weights": [1, 1],
        },
    },
    "a short queue": {"max_queued_requests": 1, "engine": {"kind": "vllm", "max_num_seqs": 2}},
    "failures": {
        "replicas": 2,
        "failures": [
            {"replica": 0, "at_s": 0.15013, "back_s": 0.30017},
            {"replica": 1, "at_s": 0.25019, "back_s": 0.50023},
            {"replica": 0, "at_s": 9.0},
        ],
    },
    "all dead for a while": {"failures": [{"replica": 0, "at_s": 0.10013, "back_s": 0.20017}]},
    "too long": {"engine": {"kind": "vllm", "max_model_len": 110}},
    "priorities": {"engine": {"kind": "vllm", "policy": "priority"}},
    "prefill and decode apart": {
        "model": "llama-3-8b",
        "kv_link": {"gb_per_s": 10.0},
        "pools": [{"role": "prefill"}, {"role": "decode", "replicas": 2}],
    },
    "deadlines on sglang": {**SGLANG, "memory": {"kv_blocks": 240}, "deadline_s": 0.25},
    "failures on sglang": {
        **SGLANG,
        "memory": {"kv_blocks": 240},
        "failures": [{"replica": 0, "at_s": 0.15013, "back_s": 0.30017}],
    },
}  # fmt: skip


def vllm(**parts: Any) -> Any:
    """One replica with small blocks, or SGLang where ``parts`` say so."""
    return engine(**({} if parts.get("engine") == SGLANG["engine"] else {"cache": BLOCKS}) | parts)


@pytest.mark.parametrize("hardship", HARDSHIPS)
@given(seed=SEEDS)
@quickly
def test_every_hardship_befalls_the_replay_too(hardship: str, seed: int) -> None:
    """Deadlines are drawn alike, failures and rejections come in the same order."""
    live_is_replay(vllm(**HARDSHIPS[hardship]), seed)


@given(seed=SEEDS)
@quickly
def test_deadlines_of_a_hosted_api(seed: int) -> None:
    """Calls that are given up are billed alike."""
    deadline = {"distribution": "uniform", "low": 0.3, "high": 2.0}
    config = hosted(provider="openai", model="gpt-5.6", deadline_s=deadline, rules={"min_tokens": 8})
    live_is_replay(config, seed)


def test_what_is_refused_says_why() -> None:
    """A queue that is full, a prompt that never fits."""
    config = vllm(max_queued_requests=1, engine={"kind": "vllm", "max_num_seqs": 1, "max_model_len": 200})

    async def clients(live: LiveSystem) -> None:
        first = live.submit(Ask([1] * 50, 20))
        await anext(aiter(first))
        second = live.submit(Ask([2] * 50, 20))
        with pytest.raises(Refused, match="longer than the engine serves") as refused:
            live.submit(Ask([3] * 190, 20))
        assert refused.value.kind == "too_long"
        with pytest.raises(Refused, match="queue is full") as refused:
            live.submit(Ask([4] * 50, 20))
        assert refused.value.kind == "queue_full"
        assert await read(first) == 19 and await read(second) == 20

    live, records = serve(config, clients)
    assert records.status.tolist() == ["completed", "completed", "rejected", "rejected"]
    assert live.state().completed == 2
    with pytest.raises(Refused, match="has stopped"):
        live.submit(Ask([1], 1))


async def leaving(live: LiveSystem, when: int, others: int = 3) -> None:
    """One client leaves after ``when`` tokens of 60, others stay."""
    stay = [asyncio.ensure_future(read(live.submit(Ask([i] * 30, 40, [9] * 40)))) for i in range(others)]
    gone = live.submit(Ask([7] * 30, 60, [8] * 60))
    if when:
        seen = 0
        async for new in gone:
            seen += new
            if seen >= when:
                break
    gone.cancel()
    with pytest.raises(Refused, match="given up by its client"):
        await read(gone)
    assert await asyncio.gather(*stay) == [40] * others
    gone.cancel()  # once more: nothing


@pytest.mark.parametrize("parts", [{}, {**SGLANG, "memory": {"kv_blocks": 300}}], ids=["vllm", "sglang"])
@given(when=st.integers(0, 59))
@quickly
def test_clients_that_leave_free_their_blocks(parts: dict[str, Any], when: int) -> None:
    """At the next boundary; the tokens computed for them are counted apart (`Records.check`)."""
    live, records = serve(vllm(**parts), lambda live: leaving(live, when))
    assert records.status.tolist() == ["completed"] * 3 + ["aborted"]
    assert isnan(records.finished_s[3]) and (when == 0) == isnan(records.first_token_s[3])
    assert records.engine is not None
    lost = records.engine.abandoned_tokens + records.engine.recomputed_tokens  # it may leave preempted
    assert lost > 0
    state = live.state()
    assert (state.completed, state.aborted, state.running, state.waiting) == (3, 1, 0, 0)
    assert state.kv_usage == 0 and isinstance(live.backend, LiveFleet)
    live.backend.fleet.replicas[0].check()


@given(when=st.integers(0, 59))
@quickly
def test_clients_that_leave_a_hosted_api_pay_for_what_came(when: int) -> None:
    """The tokens until then are on the bill."""
    config = hosted(provider="openai", model="gpt-5.6")
    live, records = serve(config, lambda live: leaving(live, when))
    assert records.status.tolist() == ["completed"] * 3 + ["aborted"]
    assert records.hosted is not None
    calls = records.hosted.calls
    assert calls.output_tokens[calls.given_up].tolist() == [when]
    from sim.providers import bills

    assert live.state().cost_usd == pytest.approx(float(bills.exact(records).total_usd), rel=1e-12)


def test_a_server_that_stops_loses_what_is_not_complete() -> None:
    """Readers learn of it; the records count it as aborted."""
    lost = []

    async def reader(live: LiveSystem) -> None:
        try:
            await read(live.submit(Ask([1] * 30, 500)))
        except Refused as refused:
            lost.append(refused.kind)

    async def clients(live: LiveSystem) -> None:
        readers = [asyncio.ensure_future(reader(live)) for _ in range(2)]
        await read(live.submit(Ask([2] * 30, 5)))
        live.stop()
        await asyncio.gather(*readers)

    _, records = serve(engine(memory={"kv_blocks": 200}), clients)
    assert lost == ["stopped", "stopped"]
    assert sorted(records.status.tolist()) == ["aborted", "aborted", "completed"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "parts", [{"cache": BLOCKS}, {**SGLANG, "memory": {"kv_blocks": 240}}], ids=["vllm", "sglang"]
)
def test_every_token_comes_when_it_is_computed(parts: dict[str, Any], seed: int) -> None:
    """The first and the last one at the recorded times, each in between with a step of its replica."""
    seen: dict[int, list[float]] = {}

    class Watched(Chats):
        async def read(self, live: LiveSystem, stream: Any) -> int:
            async for new in stream:
                seen.setdefault(stream.number, []).extend([live.state().now_s] * new)
            return len(seen[stream.number])

    _, records = serve(engine(**parts), Watched(seed))
    ends = [end for log in records.steps for end in log.end_s]
    for number, times in seen.items():
        assert len(times) == len(set(times)) == records.output_tokens[number]
        assert (times[0], times[-1]) == approx((records.first_token_s[number], records.finished_s[number]))
        assert all(any(at == approx(end) for end in ends) for at in times)


def approx(expected: Any) -> Any:
    """Steps take 10 ms; others may have asked something in the microseconds since a token came."""
    return pytest.approx(expected, abs=2e-5, rel=0)


def test_systems_that_cannot_serve_live() -> None:
    """One message, with what is allowed."""
    for parts, words in (
        ({"cache": {"kind": "block", "eviction": "lfu"}}, "eviction: lru or ttl"),
        ({"cache": {"kind": "ids"}}, "allowed: block"),
    ):
        with pytest.raises(InputError, match=words):
            open_system(engine(**parts))
    with pytest.raises(InputError, match="--system y; allowed: x"):
        open_system(engine(), "y")
    for speed in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="--speed"):
            open_system(engine(), speed=speed)


def test_nothing_is_written_of_nothing(tmp_path: Path) -> None:
    """A server that nobody asked has no run."""
    from sim.commands.live_run import write_run

    live = open_system(engine(), speed=inf)
    live.stop()
    with pytest.raises(InputError, match="no request came"):
        write_run(live, tmp_path / "out")
    assert not (tmp_path / "out").exists()
