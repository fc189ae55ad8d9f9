"""Traces served by transformers against their simulation, with times fitted to the engine's own steps."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from calibration import fit
from calibration.fit import Measured, errors
from calibration.plan import MIXED, Configuration
from calibration.third_party import AfterCompute, EngineRun, Limits, Transformers, simulated
from calibration.validate import Chat, Say, duration_s, paced
from sim.engine.latency import IterationTime
from sim.engine.vllm.config import SchedulerOptions
from sim.fleet.fleet import Fleet
from sim.fleet.plan import ReplicaPlan
from sim.fleet.routers.round_robin import RoundRobin
from sim.hardware.coefficients import Coefficients
from sim.hardware.dense import DenseDecoder
from sim.hardware.evidence import Errors
from sim.results.records import Floats, Records
from workloads.trace import Trace


@dataclass(slots=True)
class EngineComparison:
    """A served trace and what the simulator makes of it."""

    seed: int
    sharing: bool
    real_hits: list[int]
    simulated_hits: list[int]
    steps: Errors
    """Predictions of the served run's single steps."""
    real_s: dict[str, float]
    simulated_s: dict[str, float]

    def error(self, name: str) -> float:
        """Simulated against real, relative."""
        return self.simulated_s[name] / self.real_s[name] - 1


def study(
    model: DenseDecoder, chat: Chat, *, block_size: int, seeds: int, load: float, say: Say
) -> list[EngineComparison]:
    """Serve chats of ``seeds`` seeds with transformers, sharing on and off, and simulate each run.

    Times come from a run of seed 0 in the same engine, which is another one than profiles describe.
    Think times are scaled until the simulated engine is busy for the share ``load``.
    """
    longest = max(max(chat.trace(seed, 1.0).content.end) for seed in range(seeds + 1))
    blocks = 2 * chat.max_num_seqs * -(-longest // block_size)
    limits = Limits(block_size, blocks, chat.max_num_batched_tokens, chat.max_num_seqs)
    engine = Transformers(model, limits)
    out = []
    cases = list(itertools.product((True, False), range(seeds + 1)))
    times = Coefficients()
    for i, (sharing, seed) in enumerate(cases):
        say(f"transformers, seed {seed}, sharing {'on' if sharing else 'off'}", i, len(cases))
        if seed == 0:
            times = fitted(engine.serve(chat.trace(0, 1.0), sharing=sharing))
            continue
        trace = trace_at(chat, seed, load, times, limits, sharing)
        out.append(compare(trace, engine.serve(trace, sharing=sharing), times, limits, sharing))
    say("served", len(cases), len(cases))
    return out


def trace_at(
    chat: Chat, seed: int, load: float, times: Coefficients, limits: Limits, sharing: bool
) -> Trace:
    """The chats at the pace at which the simulated engine is busy for the share ``load``."""

    def busy(trace: Trace) -> float:
        records = simulate(trace, times, limits, sharing)
        assert records.engine is not None
        return records.engine.busy_s / duration_s(records)

    return paced(lambda scale: chat.trace(seed, scale), busy, load)


def compare(
    trace: Trace, served: EngineRun, times: Coefficients, limits: Limits, sharing: bool = True
) -> EngineComparison:
    """Simulate ``trace`` with ``times`` and set it beside what was ``served``."""
    records = simulate(trace, times, limits, sharing)
    measured = _measured(served)
    assert records.engine is not None
    return EngineComparison(
        seed=trace.seed,
        sharing=sharing,
        real_hits=served.hit_tokens,
        simulated_hits=records.cache_read_input_tokens.tolist(),
        steps=errors(fit.seconds(times, measured.steps), measured.median_s),
        real_s=_figures(
            np.array(served.arrival_s),
            np.array(served.first_token_s),
            np.array(served.finished_s),
            served.busy_s,
        ),
        simulated_s=_figures(
            records.arrival_s, records.first_token_s, records.finished_s, records.engine.busy_s
        ),
    )


def fitted(served: EngineRun) -> Coefficients:
    """The usual form, fitted to single samples of the steps that were served."""
    return fit.fit(_measured(served), hinged=True, seed=0).coefficients()


def simulate(trace: Trace, times: Coefficients, limits: Limits, sharing: bool = True) -> Records:
    """The trace under the simulator's scheduler and transformers' cache rules."""
    plan = ReplicaPlan(
        memory=lambda _: AfterCompute(trace.content, limits.block_size, limits.blocks, caching=sharing),
        latency=IterationTime(times),
        options=SchedulerOptions(limits.max_batch_tokens, limits.max_requests, async_scheduling=False),
        compute=simulated,
    )
    return Fleet(trace, [plan], RoundRobin).run()


def _measured(served: EngineRun) -> Measured:
    steps = [Configuration(MIXED, "fit", tuple(sequences)) for sequences, _ in served.steps]
    return Measured(steps, np.array([[t_s] for _, t_s in served.steps]))


def _figures(arrival: Floats, first: Floats, finished: Floats, busy_s: float) -> dict[str, float]:
    out = {"steps, sum": busy_s}
    for name, values in (("TTFT", first - arrival), ("E2E", finished - arrival)):
        out[f"{name} mean"] = float(values.mean())
        out[f"{name} p50"], out[f"{name} p99"] = np.percentile(values, (50, 99)).tolist()
    return out
