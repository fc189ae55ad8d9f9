"""How much load a system bears: the highest arrival rate at which enough requests meet ``slo``.

The same sessions at every rate, only closer together: the seed fixes turns, lengths, think times and the
pattern of arrivals, so that two rates, or a system and its twin without a cache, differ in nothing else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib import metadata
from typing import cast

from sim.config import Config
from sim.experiment import SCHEMA_VERSION, Progress, load_trace
from sim.results import metrics
from sim.results.pricing import Price
from sim.results.records import Records
from sim.results.slo import Slo
from sim.results.summary_cost import Pricing
from sim.results.window import Window
from sim.studies.outputs import CapacityEntry, CapacitySummary, FoundRate, SampleEntry
from sim.studies.search import COARSEST, FINEST, Search, search
from sim.systems.engine import EngineSystem
from workloads.errors import InputError
from workloads.registry import WithArrivals
from workloads.schema import Schema
from workloads.trace import Trace

SIDES = ("without_cache", "with_cache")
UNITS = {"rate_per_s": "sessions/s", "speed": "x recorded speed", "scale": "x the profile"}
"""What a rate is, by the field that sets it."""


@dataclass(frozen=True, slots=True)
class RateSample:
    """One side of a system at one rate; what the fields mean is said in `SampleEntry`."""

    rate: float
    good_share: float
    late_share: float
    requests_per_s: float | None
    requests_per_s_per_gpu: float | None
    cost_usd_per_1m_tokens: float | None
    pricing: Pricing | None

    def entry(self) -> SampleEntry:
        """This run in capacity.json."""
        return cast(SampleEntry, asdict(self))


@dataclass(frozen=True, slots=True)
class Side:
    """What the search found for a system, with its cache or without."""

    search: Search
    samples: dict[float, RateSample]

    @property
    def best(self) -> RateSample | None:
        """The run at the highest sustainable rate, if there is one."""
        return None if self.search.rate is None else self.samples[self.search.rate]

    def entry(self) -> FoundRate:
        """This side in capacity.json."""
        best, rise = self.best, self.search.largest_rise
        above = [rate for rate in self.samples if best is not None and rate > best.rate]
        return {
            "outcome": self.search.outcome.value,
            "max_rate": None if best is None else best.rate,
            "next_rate_tried": min(above, default=None),
            "at_max_rate": None if best is None else best.entry(),
            "monotone": rise is None,
            "largest_rise_between": rise,
            "contradicting_rates": self.search.contradictions,
            "samples": [self.samples[rate].entry() for rate in self.search.shares],
        }


@dataclass(frozen=True, slots=True)
class SystemCapacity:
    """A system with its cache and its twin without."""

    without_cache: Side
    with_cache: Side
    calibrated: bool | None
    notes: list[str]

    @property
    def ratio(self) -> float | None:
        """How many times the rate that the cache allows; None unless both rates were found."""
        before, after = self.without_cache.best, self.with_cache.best
        return None if before is None or after is None else after.rate / before.rate


@dataclass(frozen=True, slots=True)
class CapacityStudy:
    """The capacity of every engine of an experiment."""

    config: Config
    slo: Slo
    rate_key: str
    """The key of the configuration that sets the rate; the same run again is ``--set KEY=RATE``."""
    configured_rate: float
    precision: float
    requests: int
    systems: dict[str, SystemCapacity]

    @property
    def unit(self) -> str:
        """What a rate is."""
        return UNITS[self.rate_key.rpartition(".")[2]]

    def summary(self) -> CapacitySummary:
        """The content of capacity.json; no wall-clock times: same configuration and seed, same content."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.config.name,
            "seed": self.config.seed,
            "version": metadata.version("prefixsim"),
            "requests": self.requests,
            "slo_ms": self.slo.limits_ms,
            "slo_share": self.slo.share,
            "precision": self.precision,
            "rate_key": self.rate_key,
            "rate_unit": self.unit,
            "configured_rate": self.configured_rate,
            "systems": {name: self._entry(system) for name, system in self.systems.items()},
        }

    def _entry(self, system: SystemCapacity) -> CapacityEntry:
        return {
            "calibrated": system.calibrated,
            "notes": system.notes,
            "ratio": system.ratio,
            "without_cache": system.without_cache.entry(),
            "with_cache": system.with_cache.entry(),
        }


@dataclass(frozen=True, slots=True)
class Load:
    """An experiment whose arrivals can be made denser."""

    config: Config
    workload: WithArrivals
    arrival: Schema
    """Of the workload."""
    slo: Slo
    field: str
    """Of ``arrival``: what makes sessions begin closer together."""
    rate: float
    """As configured."""
    progress: Progress

    def trace_at(self, rate: float) -> Trace:
        """The same sessions, arriving at ``rate``."""
        arrival = self.arrival.model_copy(update={self.field: rate})
        workload = self.workload.model_copy(update={"arrival": arrival})
        return load_trace(self.config.with_workload(workload))

    def searched(self, name: str, system: EngineSystem, precision: float, *, cached: bool) -> Side:
        """The highest sustainable rate of a system."""
        samples: dict[float, RateSample] = {}

        def share_at(rate: float) -> float:
            samples[rate] = self._sample(name, system, rate, cached=cached)
            return samples[rate].good_share

        return Side(search(share_at, self.rate, self.slo.share, precision), samples)

    def _sample(self, name: str, system: EngineSystem, rate: float, *, cached: bool) -> RateSample:
        serve = system.run if cached else system.run_without_cache
        label = name if cached else f"{name} without cache"
        trace = self.trace_at(rate)
        records = serve(
            trace,
            f"systems.{name}",
            self.config.folder,
            lambda done: self.progress(label, done, len(trace)),
        )
        # Arrivals lie closer together: so does what the warm-up leaves out.
        asked_s = self.config.warmup_s
        warmup_s = 0.0 if asked_s == "auto" else asked_s * self.rate / rate
        last_start_s = max(at for at in trace.arrival_s if at is not None)
        return sample_of(rate, records, self.slo, warmup_s, last_start_s, system.price)


def sample_of(
    rate: float, records: Records, slo: Slo, warmup_s: float, last_start_s: float, price: Price | None
) -> RateSample:
    """The figures of one run; of what arrived before ``warmup_s`` nothing is good or bad."""
    arrived = records.arrival_s[records.arrival_s >= warmup_s]
    if not len(arrived):
        raise InputError(
            f"warmup_s leaves out every request at rate {rate:.6g}; allowed: a shorter warm-up"
        )
    start_s = max(warmup_s, float(records.arrival_s.min()))
    served = (start_s < records.finished_s) & (records.finished_s <= last_start_s)
    requests, steady_s = int(served.sum()), last_start_s - start_s
    per_s = per_gpu_s = usd_per_1m = None
    if requests:
        cost = metrics.cost_figures(records.only(served), price, steady_s)
        assert cost["gpu_seconds"] is not None
        per_s, per_gpu_s = requests / steady_s, requests / cost["gpu_seconds"]
        if cost["cost_usd_total"] is not None:
            tokens = int((records.input_tokens + records.output_tokens)[served].sum())
            usd_per_1m = cost["cost_usd_total"] / tokens * 1e6
    return RateSample(
        rate=rate,
        good_share=slo.good(records.measured(Window(warmup_s))) / len(arrived),
        late_share=float((arrived > last_start_s).mean()),
        requests_per_s=per_s,
        requests_per_s_per_gpu=per_gpu_s,
        cost_usd_per_1m_tokens=usd_per_1m,
        pricing=price.pricing if price else None,
    )


def study(config: Config, precision: float, progress: Progress) -> CapacityStudy:
    """Search the rate of every engine with and without its cache, to a relative ``precision``.

    InputError if there is no ``slo``, no engine, or no rate to change.
    """
    load = _load(config, precision, progress)
    progress("loading the workload", 0, None)
    trace = load.trace_at(load.rate)
    systems = {
        name: SystemCapacity(
            with_cache=load.searched(name, system, precision, cached=True),
            without_cache=load.searched(name, system, precision, cached=False),
            calibrated=system.calibrated(config.folder),
            notes=[*trace.notes, *system.notes(trace, config.folder)],
        )
        for name, system in config.systems.items()
        if isinstance(system, EngineSystem)
    }
    key = f"workload.arrival.{load.field}"
    return CapacityStudy(config, load.slo, key, load.rate, precision, len(trace), systems)


def _load(config: Config, precision: float, progress: Progress) -> Load:
    """What can be searched in ``config``; InputError if something is missing."""
    if not FINEST <= precision <= COARSEST:
        raise InputError(f"--precision {precision:g}; allowed: {FINEST:g} to {COARSEST:g}")
    if config.slo is None:
        raise InputError("slo is missing; allowed: limits such as {ttft_ms: 500, tpot_ms: 50}")
    if not any(isinstance(system, EngineSystem) for system in config.systems.values()):
        raise InputError("systems: none is slower under load; allowed: at least one of kind engine")
    workload = config.workload
    if not isinstance(workload, WithArrivals) or workload.arrival is None:
        raise InputError(
            f"workload (kind {workload.kind}) has no arrival rate; allowed: a workload with "
            "arrival.rate_per_s or arrival.speed"
        )
    arrival = workload.arrival
    if arrival.RATE is None:
        raise InputError(
            f"workload.arrival.process = {arrival.process!r}: served as fast as the system can; allowed: "
            "poisson, uniform, profile, or recorded"
        )
    return Load(
        config, workload, arrival, config.slo, arrival.RATE, getattr(arrival, arrival.RATE), progress
    )
