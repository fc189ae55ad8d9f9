"""A chat with a live system: what it hits, what is written of it, how much is kept."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
from math import inf
from pathlib import Path

import pandas as pd
import pytest

from reports import files
from sim import load_config, run
from sim.caches.replay import BlockConfig
from sim.commands.live_run import write_run
from sim.server.live import Ask
from sim.server.opening import open_system
from sim.server.system import LiveSystem
from tests.server.live import Chats, engine, hosted, read, replay, same, serve

TURNS, SYSTEM, USER, REPLY = 10, 100, 30, 50


async def ten_turns(live: LiveSystem) -> list[int]:
    """A fixed system prompt and ten questions; the hits of each turn."""
    prompt, hits = list(range(SYSTEM)), []
    for turn in range(TURNS):
        prompt += [1000 * turn + i for i in range(USER)]
        reply = [500_000 + 1000 * turn + i for i in range(REPLY)]
        stream = live.submit(Ask(list(prompt), REPLY, reply))
        assert await read(stream) == REPLY
        assert stream.usage.prompt_tokens == len(prompt)
        hits.append(stream.usage.cached_tokens)
        prompt += reply
    return hits


@pytest.mark.parametrize("size", [1, 16])
def test_ten_turns_hit_what_the_block_cache_hits(size: int) -> None:
    """By hand: all whole blocks of the turn before, without the last token of its reply; and as a replay
    of the recorded trace through the cache alone has it."""
    found: list[int] = []

    async def clients(live: LiveSystem) -> None:
        found.extend(await ten_turns(live))

    cache = {"kind": "block", "block_size": size}
    live, records = serve(engine(cache=cache, memory={"kv_blocks": 2000}), clients)
    assert found == records.cache_read_input_tokens.tolist()
    said = [0, *(SYSTEM + turn * (USER + REPLY) - 1 for turn in range(1, TURNS))]
    assert found == [tokens // size * size for tokens in said]
    trace = live.traffic.trace
    alone = BlockConfig.model_validate(cache).replay(trace, "cache")
    assert [alone.serve(turn, float(turn)).hit_tokens for turn in range(TURNS)] == found


def test_what_is_written_is_a_run(tmp_path: Path) -> None:
    """The files of `python -m sim run`, and the traffic; a run of it gives the same table."""
    for config, name in (
        (engine(price={"gpu_hour_usd": 2.0}), "engine"),
        (hosted(provider="openai", model="gpt-5.6"), "hosted"),
    ):
        out = tmp_path / name
        live, _ = serve_and_write(config, out)
        assert {path.name for path in out.iterdir()} == {
            "config.yaml", "summary.json", "timing.json", "requests.parquet", "report.html",
            "traffic.parquet",
        }  # fmt: skip
        again = run(load_config(out / "config.yaml"))
        files.write_requests(again, tmp_path / "again.parquet")
        written, served = (
            pd.read_parquet(f) for f in (out / "requests.parquet", tmp_path / "again.parquet")
        )
        pd.testing.assert_frame_equal(written, served, rtol=1e-9, atol=1e-9)
        there, here = json.loads((out / "summary.json").read_text()), again.summary()
        costs = [each["systems"]["x"]["cost"]["cost_usd_total"] for each in (there, here)]
        assert costs[0] == pytest.approx(costs[1], rel=1e-9) and costs[0] > 0
        assert there["systems"]["x"]["cache"] == here["systems"]["x"]["cache"]
        state = live.state()
        assert there["requests"] == len(live.traffic.trace) == state.completed + state.aborted


def serve_and_write(config: object, out: Path) -> tuple[LiveSystem, object]:
    """Chats with a system that then stops and is written."""
    from sim.config import Config

    assert isinstance(config, Config)
    live = open_system(config, speed=inf)

    async def go() -> None:
        running = asyncio.create_task(live.run())
        await Chats(3)(live)
        live.stop()
        await running

    asyncio.run(go())
    return live, write_run(live, out)


def test_the_wall_clock() -> None:
    """At speed 50 a reply of 40 steps takes its time, no less; times are those of the wall clock."""

    async def clients(live: LiveSystem) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        stream = live.submit(Ask([1, 2, 3], 40))
        await read(stream)
        took_s = (loop.time() - began) * 50
        times = stream.times
        assert times.finished_s - times.arrival_s <= took_s
        await asyncio.sleep(0.02)
        late = live.submit(Ask([1, 2, 3], 1))
        await read(late)
        assert late.times.arrival_s >= times.finished_s + 0.9

    _, records = serve(engine(), clients, speed=50)
    assert records.completed.all()


def test_a_request_arrives_when_it_came() -> None:
    """What the server does with a request before it submits it passes while simulated time runs; but
    nothing arrives before what has happened."""

    async def clients(live: LiveSystem) -> None:
        await read(live.submit(Ask([9], 1)))
        came_s = live.now_s
        time.sleep(0.01)  # the server is busy: half a simulated second
        stream = live.submit(Ask([1, 2, 3], 40), came_s)
        assert stream.times.arrival_s == came_s
        await read(stream)
        finished_s = stream.times.finished_s
        late = live.submit(Ask([1, 2, 3], 1), came_s)
        assert finished_s < late.times.arrival_s < finished_s + 1e-5
        await read(late)

    _, records = serve(engine(), clients, speed=50)
    assert records.completed.all()


@pytest.mark.parametrize("system", ["vllm", "sglang", "hosted"])
def test_the_wall_clock_in_a_replay(system: str, tmp_path: Path) -> None:
    """Arrivals between any two events, as a wall clock gives them: the same hits in the same order."""
    config = {
        "vllm": engine(cache={"kind": "block", "block_size": 4}, replicas=2),
        "sglang": engine(engine={"kind": "sglang"}, memory={"kv_blocks": 240}),
        "hosted": hosted(provider="deepseek", model="deepseek-v4-flash", rules={"min_tokens": 8}),
    }[system]
    live, records = serve(config, Chats(11, chats=8), speed=100)
    assert (records.arrival_s[1:] > 0).all() and records.cache_read_input_tokens.any()
    same(records, replay(live, tmp_path)[1])


def test_memory_is_that_of_the_recorded_trace() -> None:
    """As many requests as before take no more memory: nothing else is kept of those that ended."""

    async def many(live: LiveSystem, count: int, first: int) -> None:
        for number in range(first, first + count, 50):
            asks = [Ask([*range(40), 100 + each], 3, [each] * 3) for each in range(number, number + 50)]
            streams = [live.submit(ask) for ask in asks]
            assert await asyncio.gather(*map(read, streams)) == [3] * 50

    sizes: list[int] = []

    async def clients(live: LiveSystem) -> None:
        await many(live, 500, 0)
        tracemalloc.start()
        for part in range(1, 5):
            await many(live, 500, 500 * part)
            live.iterations()
            sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert not live.backend.streams.open

    serve(engine(memory={"kv_blocks": 300}), clients)
    grown = [after - before for before, after in zip([0, *sizes], sizes, strict=False)]
    assert max(grown) < 500 * 2000, "bytes a request, of which most are rows, segments and tokens"
    assert grown[-1] < 1.5 * max(grown[0], grown[1])


@pytest.mark.slow
def test_a_thousand_streams_for_ten_minutes() -> None:
    """1,000 clients one reply after the other, 10 simulated minutes: all complete, nothing piles up."""
    clients_count, until_s = 1000, 600.0
    kept: list[int] = []

    async def client(live: LiveSystem, number: int) -> int:
        asked, prompt = 0, [number, *range(60)]
        while live.state().now_s < until_s:
            prompt = [*prompt[:200], asked, number]
            stream = live.submit(Ask(list(prompt), 300, session=str(number)))
            assert await read(stream) == 300
            asked += 1
            if number == 0:
                kept.append(len(live.backend.streams.open))
        return asked

    async def clients(live: LiveSystem) -> None:
        asked = await asyncio.gather(*(client(live, number) for number in range(clients_count)))
        assert sum(asked) == live.state().completed == len(live.traffic.trace)

    config = engine(replicas=4, router="least_loaded", memory={"kv_blocks": 8000})
    live, records = serve(config, clients)
    assert records.completed.all() and len(records) > 20 * clients_count
    assert max(kept) <= clients_count and not live.backend.streams.open
    assert live.state().running == live.state().waiting == 0
