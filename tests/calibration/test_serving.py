"""The real engine: its blocks hold what they should, and it schedules as the simulator does."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed (it comes with the test extra)")


from calibration.model import Work
from calibration.runner import Runner
from calibration.serving import PagedCache, Serving, Texts
from sim.caches.block import BlockTable
from sim.engine.latency import IterationTime
from sim.engine.vllm.batch import Batch
from sim.engine.vllm.config import SchedulerOptions
from sim.fleet.fleet import Fleet
from sim.fleet.plan import ReplicaPlan
from sim.fleet.routers.round_robin import RoundRobin
from sim.hardware import catalogue
from sim.hardware.coefficients import Coefficients
from sim.results.records import Records
from tests.engine.driving import check_always
from workloads.content import ROOT
from workloads.generators.chat import ChatWorkload
from workloads.trace import Trace

SPEED = Coefficients(step=1e-3, token=1e-5, decode_kv=1e-7)


class TimedAsPredicted(Serving):
    """Computes every step, and lets simulated time pass as if it had taken what was predicted."""

    def __call__(self, batch: Batch, memory: PagedCache, predicted_s: float) -> float:
        super().__call__(batch, memory, predicted_s)
        return predicted_s


@pytest.fixture(scope="module")
def runner() -> Runner:
    """A small model in double precision: sampled tokens do not depend on how a batch is cut."""
    return Runner(catalogue.dense("tiny-1m", Path()), "cpu", "float64", 16 * 300, 1600)


def _trace(seed: int) -> Trace:
    config = {
        "kind": "chat",
        "sessions": 8,
        "arrival": {"process": "poisson", "rate_per_s": 300.0},
        "turns": {"distribution": "geometric", "mean": 3},
        "think_time_s": {"distribution": "exponential", "mean": 0.02},
        "system_prompt": {"tokens": 70},
        "user_tokens": {"distribution": "lognormal", "mean": 25, "sigma": 0.8},
        "reply_tokens": {"distribution": "lognormal", "mean": 30, "sigma": 0.7},
    }
    trace = ChatWorkload.model_validate(config).build(seed, Path())
    # Two identical prompts in one step, their length a multiple of the block size: copies of a block.
    twin = trace.content.append(trace.content.append(0, 70), 26)
    for _ in range(3):
        trace.add(prompt=twin, output_tokens=3, arrival_s=0.01)
    return trace


def _least_blocks(trace: Trace) -> int:
    """What the largest request needs."""
    return -(-max(trace.content.end[reply] for reply in trace.reply) // 16)


def _fleet(trace: Trace, blocks: int, caching: bool, compute: Serving | None) -> Fleet:
    plan = ReplicaPlan(
        memory=lambda _: PagedCache(trace.content, 16, blocks, caching=caching),
        latency=IterationTime(SPEED),
        options=SchedulerOptions(max_num_batched_tokens=48, max_num_seqs=8, async_scheduling=False),
        compute=compute,
    )
    return Fleet(trace, [plan], RoundRobin)


def _serve(runner: Runner, trace: Trace, blocks: int, caching: bool) -> tuple[Records, Serving]:
    serving = TimedAsPredicted(runner, Texts(trace.content, runner.model.vocab_size, seed=3))
    return check_always(_fleet(trace, blocks, caching, serving)).run(), serving


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_reused_blocks_change_no_token(runner: Runner, seed: int) -> None:
    """What is sampled from shared, evicted and recomputed blocks is what is sampled without any cache.

    And each request's tokens are those of its whole text computed alone.
    """
    trace = _trace(seed)
    without, plain = _serve(runner, trace, 280, caching=False)
    assert without.cache_read_input_tokens.sum() == 0
    for blocks in (280, _least_blocks(trace) + 2):
        runner.decoder.pool.data.normal_()  # what a block held before must not matter
        records, replica = _serve(runner, trace, blocks, caching=True)
        assert records.cache_read_input_tokens.sum() > 500
        if blocks < 280:
            assert records.evicted_blocks and records.preemptions.sum() > 0, "memory is tight"
        assert replica.sampled == plain.sampled
    texts = Texts(trace.content, runner.model.vocab_size, seed=3)
    for index in (0, len(trace) - 1):
        path = trace.content.path(trace.reply[index])
        for i, token in enumerate(plain.sampled[index]):
            known = texts.tokens(path, 0, trace.input_tokens[index] + i)
            alone = runner.step([Work(0, len(known), range(100))], known)
            assert alone.sampled.tolist() == [token]


@pytest.mark.parametrize("caching", [True, False])
@pytest.mark.parametrize("tight", [True, False])
def test_it_schedules_as_the_simulator(runner: Runner, caching: bool, tight: bool) -> None:
    """Given the same step times the real engine's records are the simulator's, under pressure too."""
    trace = _trace(4)
    blocks = _least_blocks(trace) + 2 if tight else 280
    real, _ = _serve(runner, trace, blocks, caching)
    simulated = _fleet(trace, blocks, caching, None).run()
    for name in ("cache_read_input_tokens", "preemptions"):
        assert (getattr(real, name) == getattr(simulated, name)).all(), name
    for name in ("arrival_s", "scheduled_s", "first_token_s", "finished_s"):
        assert getattr(real, name) == pytest.approx(getattr(simulated, name), abs=1e-9), name
    assert real.evicted_blocks == simulated.evicted_blocks
    assert real.engine is not None and simulated.engine is not None
    assert real.engine.iterations == simulated.engine.iterations


def test_time_is_what_steps_took(runner: Runner) -> None:
    """Without predictions in between: a request alone takes the sum of its steps' measured times."""
    trace = Trace()
    trace.add(prompt=trace.content.append(0, 100), output_tokens=5, arrival_s=2.0)
    texts = Texts(trace.content, runner.model.vocab_size, seed=3)
    serving = Serving(runner, texts)
    records = _fleet(trace, 30, True, serving).run()
    assert [step.sequences for step in serving.computed] == [
        [(0, 48)], [(48, 48)], [(96, 4)], [(100, 1)], [(101, 1)], [(102, 1)], [(103, 1)],
    ]  # fmt: skip
    took = sum(step.measured_s for step in serving.computed)
    assert records.finished_s[0] - 2.0 == pytest.approx(took) and took > 0


def test_texts_are_the_contents(runner: Runner) -> None:
    """Requests that share a segment share its tokens; any slice is a slice of the whole."""
    trace = _trace(1)
    texts = Texts(trace.content, 1000, seed=1)
    path = trace.content.path(trace.reply[0])
    end = trace.content.end[path[-1]]
    whole = texts.tokens(path, 0, end)
    assert len(whole) == end and len(set(whole)) > 20
    for first, last in ((0, 1), (69, 72), (70, 70), (end - 1, end), (5, end - 3)):
        assert texts.tokens(path, first, last) == whole[first:last]
    assert Texts(trace.content, 1000, seed=2).tokens(path, 0, end) != whole


def test_copies_under_one_name() -> None:
    """A request that comes back computes its last block again while another one holds the first copy.

    Who finds the block then shares the first copy; the second one, which nobody holds, is what is evicted.
    """
    trace = Trace()
    prompt = trace.content.append(ROOT, 32)
    longer = [trace.content.append(prompt, 8) for _ in range(2)]
    cache = PagedCache(trace.content, 16, 9, caching=True)

    def admit(segment: int, tokens: int, owner: int) -> tuple[BlockTable, list[int]]:
        table = BlockTable(trace.content.route(segment), tokens, owner)
        hit = cache.lookup(table, tokens)
        cache.acquire(table, hit)
        cache.take(-(-tokens // 16) - hit.blocks)
        cache.publish(table, tokens)
        return table, list(cache.physical(table, -(-tokens // 16)))

    first, blocks = admit(prompt, 32, owner=0)
    second, shared = admit(longer[0], 40, owner=1)
    assert shared[:2] == blocks
    cache.release(first, 2)
    first, again = admit(prompt, 32, owner=0)
    assert again[0] == blocks[0] and again[1] != blocks[1]
    cache.release(first, 2)
    _, third = admit(longer[1], 40, owner=2)
    assert third[:2] == blocks
    admit(trace.content.append(ROOT, 80), 80, owner=3)  # all that is free, the second copy with it
    assert cache.evicted_blocks == 1
    cache.check()
    assert cache.physical(second, 3) == shared
