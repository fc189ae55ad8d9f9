"""The same trace through the real engine and through the simulator, under the same scheduler."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.fit import errors, seconds
from calibration.measure import Bench
from calibration.plan import GRIDS, sentinels
from calibration.runner import Runner
from calibration.serving import PagedCache, Serving, Texts
from sim.engine.interface import Compute
from sim.engine.latency import IterationTime
from sim.engine.vllm.config import SchedulerOptions
from sim.fleet.fleet import Fleet
from sim.fleet.plan import ReplicaPlan
from sim.fleet.routers.round_robin import RoundRobin
from sim.hardware.evidence import Errors
from sim.hardware.profile import Profile
from sim.results import metrics
from sim.results.records import Floats, Records
from workloads.errors import InputError
from workloads.generators.chat import ChatWorkload
from workloads.trace import Trace

Say = Callable[[str, int, int], None]
BISECTIONS = 14
LOG_SCALES = (-9.0, 9.0)
"""Within these powers of e the scale of arrivals and think times is sought, in s."""
SENTINELS = 5


@dataclass(frozen=True, slots=True)
class Chat:
    """The trace that is served: conversations under one system prompt, and the engine's limits.

    The system prompt is no longer than a step's budget, so that a request which arrives while the first
    one computes it finds all of it: hits then do not depend on how long steps take.
    """

    sessions: int
    turns: int
    system_tokens: int
    user_tokens: float
    reply_tokens: float
    max_num_batched_tokens: int
    max_num_seqs: int

    def trace(self, seed: int, scale: float) -> Trace:
        """Arrivals and think times of a second, times ``scale``; lengths do not depend on it."""
        config = {
            "kind": "chat",
            "sessions": self.sessions,
            "arrival": {"process": "poisson", "rate_per_s": 1 / scale},
            "turns": self.turns,
            "think_time_s": {"distribution": "exponential", "mean": scale},
            "system_prompt": {"tokens": self.system_tokens},
            "user_tokens": {"distribution": "lognormal", "mean": self.user_tokens, "sigma": 0.8},
            "reply_tokens": {"distribution": "lognormal", "mean": self.reply_tokens, "sigma": 0.6},
        }
        trace = ChatWorkload.model_validate(config).build(seed, Path())
        trace.seed = seed
        return trace


CHATS = {
    "gpu": Chat(12, 4, 1024, 400, 40, 8192, 256),
    "cpu": Chat(6, 5, 256, 60, 30, 256, 16),
    "tiny": Chat(3, 3, 32, 12, 6, 64, 4),
}


@dataclass(slots=True)
class Comparison:
    """One run of the real engine beside its simulation."""

    seed: int
    load: float
    cache: bool
    busy_share: float
    """Of the real run: time in steps over its duration."""
    requests: int
    hits_equal: int
    """Requests with the same number of hit tokens in both."""
    real_hits: int
    simulated_hits: int
    real_s: dict[str, float]
    """TTFT, TPOT, E2E (mean, p50, p99) and the sum of all steps of the real run, in s."""
    simulated_s: dict[str, float]
    steps: Errors
    """Predictions of the real run's single steps."""
    drift: tuple[float, float]
    """Sentinels right before and right after, against the profile's prediction, relative."""

    def error(self, name: str) -> float:
        """Simulated against real, relative."""
        return self.simulated_s[name] / self.real_s[name] - 1


@dataclass(frozen=True, slots=True)
class Setup:
    """What runs are compared: a profile, the runner that it is of, and the chats that are served.

    ``kv_blocks`` is the KV memory; by default the whole trace fits, or as much as the runner has.
    """

    profile: Profile
    runner: Runner
    chat: Chat
    grid: str
    kv_blocks: int | None = None

    def validate(
        self,
        *,
        seeds: int,
        loads: tuple[float, ...],
        say: Say = lambda part, done, total: None,
    ) -> list[Comparison]:
        """Serve the chats of ``seeds`` seeds at each load, cache on and off, and simulate each run.

        A load is the share of time that the engine is busy, as simulated: think times are scaled to it.
        """
        cases = list(itertools.product(range(1, seeds + 1), loads, (True, False)))
        out = []
        for i, (seed, load, cache) in enumerate(cases):
            say(f"seed {seed}, load {load:.0%}, cache {'on' if cache else 'off'}", i, len(cases))
            out.append(self.compare(self.trace_at(seed, load, cache), load, cache))
        say("served", len(cases), len(cases))
        return out

    def compare(self, trace: Trace, load: float, cache: bool) -> Comparison:
        """One trace through both."""
        before = self.drift()
        texts = Texts(trace.content, self.runner.model.vocab_size, trace.seed)
        serving = Serving(self.runner, texts)
        real = self._fleet(trace, cache, serving).run()
        simulated = self.simulate(trace, cache)
        assert real.engine is not None
        equal = real.cache_read_input_tokens == simulated.cache_read_input_tokens
        return Comparison(
            seed=trace.seed,
            load=load,
            cache=cache,
            busy_share=real.engine.busy_s / duration_s(real),
            requests=len(real),
            hits_equal=int(equal.sum()),
            real_hits=int(real.cache_read_input_tokens.sum()),
            simulated_hits=int(simulated.cache_read_input_tokens.sum()),
            real_s=figures(real),
            simulated_s=figures(simulated),
            steps=errors(
                np.array([step.predicted_s for step in serving.computed]),
                np.array([step.measured_s for step in serving.computed]),
            ),
            drift=(before, self.drift()),
        )

    def simulate(self, trace: Trace, cache: bool) -> Records:
        """The trace through the simulator alone."""
        return self._fleet(trace, cache, None).run()

    def trace_at(self, seed: int, load: float, cache: bool) -> Trace:
        """The chats with think times at which the simulated engine is busy for the share ``load``."""

        def busy(trace: Trace) -> float:
            records = self.simulate(trace, cache)
            assert records.engine is not None
            return records.engine.busy_s / duration_s(records)

        return paced(lambda scale: self.chat.trace(seed, scale), busy, load)

    def drift(self) -> float:
        """How much longer the model's sentinels take now than the profile says, relative."""
        guards = sentinels(GRIDS[self.grid])
        bench = Bench(self.runner, seed=0)
        said = seconds(self.profile.coefficients, guards)
        took = [np.median([bench.time(guard)[0] for _ in range(SENTINELS)]) for guard in guards]
        return float(np.mean(np.array(took) / said) - 1)

    def _fleet(self, trace: Trace, cache: bool, compute: Compute | None) -> Fleet:
        """One replica of the engine; without ``compute`` the profile says how long a step takes."""
        pool = self.runner.decoder.pool
        blocks = self.kv_blocks
        if blocks is None:
            whole = sum(-(-trace.content.end[reply] // pool.block_size) for reply in trace.reply)
            blocks = min(whole, pool.blocks)
        needed = -(-trace.largest_tokens // pool.block_size)
        if needed > blocks:
            raise InputError(
                f"a request of the trace needs {needed:,} KV blocks of {pool.block_size} tokens; allowed: "
                f"at most the {blocks:,} of the KV pool"
            )
        longest = max(trace.content.end[reply] for reply in trace.reply)
        if longest > self.runner.longest:
            raise InputError(
                f"a request of the trace reaches {longest:,} tokens; allowed: at most "
                f"{self.runner.longest:,}, the profile's longest sequence"
            )
        plan = ReplicaPlan(
            memory=lambda _: PagedCache(trace.content, pool.block_size, blocks, caching=cache),
            latency=IterationTime(self.profile.coefficients, self.profile.domain),
            options=SchedulerOptions(
                self.chat.max_num_batched_tokens, self.chat.max_num_seqs, async_scheduling=False
            ),
            compute=compute,
        )
        return Fleet(trace, [plan], RoundRobin)


def figures(records: Records) -> dict[str, float]:
    """What is compared, in s."""
    assert records.engine is not None
    out = {"steps, sum": records.engine.busy_s}
    for name, values in (
        ("TTFT", metrics.ttft_s(records)),
        ("TPOT", metrics.tpot_s(records)),
        ("E2E", metrics.e2el_s(records)),
    ):
        known: Floats = values[~np.isnan(values)]
        out[f"{name} mean"] = float(known.mean())
        out[f"{name} p50"], out[f"{name} p99"] = np.percentile(known, (50, 99)).tolist()
    return out


def paced(make: Callable[[float], Trace], busy: Callable[[Trace], float], load: float) -> Trace:
    """The trace that ``make`` makes at the scale at which its ``busy`` share is ``load``."""
    low, high = LOG_SCALES
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if busy(make(math.exp(middle))) > load:
            low = middle
        else:
            high = middle
    return make(math.exp(high))


def duration_s(records: Records) -> float:
    """First arrival to last token, s."""
    return float(records.finished_s.max() - records.arrival_s.min())
