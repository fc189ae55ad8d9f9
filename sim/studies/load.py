"""An experiment under any arrival rate, its runs as long as each rate needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from sim.config import Config
from sim.experiment import Progress, load_trace
from sim.results.slo import Slo
from sim.studies.rate_sample import RateSample, sample_of
from sim.studies.rate_verdict import requests_needed
from sim.studies.search import Verdict
from sim.systems.engine import EngineSystem
from workloads.generators.generated import Generated
from workloads.registry import WithArrivals
from workloads.schema import MOST_S, Schema
from workloads.trace import Trace

MOST_REQUESTS = 500_000
"""A run is not made longer than about so many requests, unless the configured one is."""
STRETCHED = 1.25
"""Turns come later with the length of the run if they do by at least this factor."""
SPARE = 1.25
"""So many times the requests that its window needs a run has at first."""


@dataclass
class Load:
    """An experiment whose arrivals can be made denser, and for how long its sessions start.

    A generated run starts as long as it is configured to at every rate, or longer where that shows no
    steady state or holds too few requests: the same sessions, then further ones. A rate has one length,
    whichever system is sampled at it. A recorded trace is as long as it is.
    """

    config: Config
    workload: WithArrivals
    arrival: Schema
    """Of the workload."""
    slo: Slo
    key: str
    """Of ``arrival``: what makes sessions begin closer together."""
    rate: float
    """As configured."""
    progress: Progress
    durations_s: dict[float, float] = field(default_factory=dict)
    """By rate: for how long sessions start at it."""
    enough_s: float = 0.0
    """The longest run that showed a steady state after a shorter one had not: others need the like."""

    @cached_property
    def configured(self) -> Trace:
        """The trace as configured."""
        return load_trace(self.config)

    @cached_property
    def configured_s(self) -> float | None:
        """For how long sessions start as configured; None for a recorded trace."""
        if not isinstance(self.workload, Generated):
            return None
        by_sessions = (self.workload.sessions or float("inf")) / self.rate
        return min(by_sessions, self.workload.duration_s or float("inf"))

    @property
    def _turns(self) -> float:
        """Requests per session."""
        return len(self.configured) / len(self.configured.starts())

    def _most_s(self, rate: float) -> float:
        """How long a run at ``rate`` may be."""
        most = max(MOST_REQUESTS, len(self.configured))
        return min(most / (self._turns * rate), MOST_S / 10)

    def duration_s(self, rate: float) -> float | None:
        """For how long sessions start at ``rate``, to begin with; None for a recorded trace."""
        if self.configured_s is None:
            return None
        if rate not in self.durations_s:
            few_s = requests_needed(self.slo.share) * SPARE / self._turns / rate
            until_s = self.config.until_s
            given_s = until_s if isinstance(until_s, float) else 0.0
            wanted_s = max(self.configured_s, self.enough_s, few_s, given_s)
            self.durations_s[rate] = min(wanted_s, self._most_s(rate))
        return self.durations_s[rate]

    def trace_at(self, rate: float, duration_s: float | None) -> Trace:
        """The same sessions, arriving at ``rate``, and as many as start within ``duration_s``."""
        changes: dict[str, object] = {"arrival": self.arrival.model_copy(update={self.key: rate})}
        if duration_s is not None:
            changes |= {"sessions": None, "duration_s": duration_s}
        return load_trace(self.config.with_workload(self.workload.model_copy(update=changes)))

    def sample(self, name: str, system: EngineSystem, rate: float, *, cached: bool) -> RateSample:
        """A run at ``rate`` that is long enough to judge by, if there may be one."""
        before: RateSample | None = None
        while True:
            sample = self._run(name, system, rate, cached=cached)
            if before is not None and not sample.steady and _grows(before, sample):
                sample = replace(sample, verdict=Verdict.BAD, reason="overloaded: its queue only grows")
            if sample.verdict is not Verdict.UNKNOWN:
                if before is not None and not before.steady and sample.steady:
                    self.enough_s = max(self.enough_s, sample.duration_s)
                return sample
            why_not = self.lengthen(sample)
            if why_not is not None:
                return replace(sample, reason=f"{sample.reason}; {why_not}")
            before = sample

    def lengthen(self, sample: RateSample) -> str | None:
        """Make the runs at the rate of ``sample`` as long as it needs, or say why they cannot be."""
        until_s, longest_s = self.config.until_s, self._most_s(sample.rate)
        if self.configured_s is None:
            return "a recorded trace cannot be lengthened"
        if isinstance(until_s, float) and until_s <= sample.duration_s:
            return f"until_s = {until_s:g} ends the window"
        if sample.duration_s >= longest_s:
            most = max(MOST_REQUESTS, len(self.configured))
            return f"a longer run would have more than {most:,} requests (workload.duration_s allows more)"
        self.durations_s[sample.rate] = min(sample.needed_s, longest_s)
        return None

    def _run(self, name: str, system: EngineSystem, rate: float, *, cached: bool) -> RateSample:
        serve = system.run if cached else system.run_without_cache
        label = name if cached else f"{name} without cache"
        duration_s = self.duration_s(rate)
        trace = self.trace_at(rate, duration_s)
        records = serve(
            trace,
            f"systems.{name}",
            self.config.folder,
            lambda done: self.progress(label, done, len(trace)),
        )
        lasts_s = trace.last_start_s if duration_s is None else duration_s
        asked = self.config.asked
        return sample_of(rate, trace, records, asked, self.slo, system.price, duration_s=lasts_s)


def _grows(shorter: RateSample, longer: RateSample) -> bool:
    """Whether both runs are overloaded and turns come ever later: none is long enough for these."""
    both = shorter.overloaded and longer.overloaded
    return both and longer.ramp_s > STRETCHED * shorter.ramp_s
