"""How much load does a system bear: the highest arrival rate at which enough requests meet ``slo``.

The same draws at every rate: the seed fixes turns, lengths, think times and the pattern of arrivals, so
that two rates, or a system and its twin without a cache, differ in nothing else. Every rate that is given
was measured in a steady state, in a run that is as long as that takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import metadata

from sim.config import Config
from sim.experiment import Progress
from sim.result import SCHEMA_VERSION
from sim.results.slo import Slo
from sim.studies.load import Load
from sim.studies.outputs import CapacityEntry, CapacitySummary, FoundRate
from sim.studies.rate_sample import RateSample
from sim.studies.rate_verdict import requests_needed
from sim.studies.search import COARSEST, FINEST, Judged, Outcome, Search, Verdict, search
from sim.systems.engine import EngineSystem
from workloads.errors import InputError
from workloads.registry import WithArrivals

SIDES = ("without_cache", "with_cache")
UNITS = {"rate_per_s": "sessions/s", "speed": "x recorded speed", "scale": "x the profile"}
"""What a rate is, by the field that sets it."""
Between = tuple[float | None, float | None]
"""Two bounds; None where nothing that was tried is one."""


@dataclass(frozen=True, slots=True)
class Side:
    """What the search found for a system, with its cache or without."""

    search: Search
    samples: dict[float, RateSample]
    wanted: float
    """The share of good requests that makes a rate a good one."""
    reason: str | None = None
    """Why no rate is given, where it is refused without a run."""

    @property
    def best(self) -> RateSample | None:
        """The run at the highest sustainable rate, if there is one."""
        return None if self.search.rate is None else self.samples[self.search.rate]

    @property
    def refused(self) -> str | None:
        """Why no rate is given, if it is refused."""
        if self.search.outcome is not Outcome.REFUSED or self.search.above is None:
            return self.reason
        return self.samples[self.search.above].reason

    @property
    def between(self) -> Between:
        """The rates between which the limit of these draws lies, by the intervals of the share."""
        if self.best is None:
            return None, None
        samples, rate = [self.samples[tried] for tried in self.search.tried], self.best.rate
        below = [sample for sample in samples if sample.rate <= rate]
        above = [sample for sample in samples if sample.rate >= rate]
        return self._sure(below[::-1], Verdict.GOOD), self._sure(above, Verdict.BAD)

    def _sure(self, outward: list[RateSample], verdict: Verdict) -> float | None:
        """The first rate ``outward`` from the best one that has this verdict without a doubt."""
        for i, sample in enumerate(outward):
            if sample.surely(verdict, self.wanted):
                return sample.crossing(outward[max(0, i - 1)], verdict, self.wanted)
        return None

    @property
    def interval(self) -> Between:
        """The same for any draws: wider by how far the load of these may lie from that of others."""
        (low, high), error = self.between, self.best.load_error if self.best else 0.0
        return low and low * max(0.0, 1 - error), high and high * (1 + error)

    def entry(self) -> FoundRate:
        """This side in capacity.json."""
        best, rise = self.best, self.search.largest_rise
        return {
            "outcome": self.search.outcome.value,
            "reason": self.refused,
            "max_rate": None if best is None else best.rate,
            "max_rate_interval": self.interval,
            "next_rate_tried": None if best is None else self.search.above,
            "at_max_rate": None if best is None else best.entry(),
            "monotone": rise is None,
            "largest_rise_between": rise,
            "contradicting_rates": self.search.contradictions,
            "samples": [self.samples[rate].entry() for rate in self.search.tried],
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

    @property
    def ratio_interval(self) -> Between:
        """Its interval; both sides have the same draws."""
        (low, high), (lowest, highest) = self.with_cache.between, self.without_cache.between
        return low and highest and low / highest, high and lowest and high / lowest


@dataclass(frozen=True, slots=True)
class CapacityStudy:
    """The capacity of every engine of an experiment."""

    config: Config
    slo: Slo
    rate_key: str
    """The key of the configuration that sets the rate; the same run again is ``--set KEY=RATE``."""
    configured_rate: float
    configured_duration_s: float | None
    """For how long sessions start as configured; None for a recorded trace."""
    precision: float
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
            "configured_duration_s": self.configured_duration_s,
            "requests_needed": requests_needed(self.slo.share),
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
            "ratio_interval": system.ratio_interval,
            "without_cache": system.without_cache.entry(),
            "with_cache": system.with_cache.entry(),
        }


@dataclass(slots=True)
class Exploration:
    """One side of a system and its runs so far."""

    load: Load
    name: str
    system: EngineSystem
    cached: bool
    samples: dict[float, RateSample] = field(default_factory=dict)
    seen_longer: set[float] = field(default_factory=set)
    """Rates that were bad, and that were run once more at greater length."""

    def judged_at(self, rate: float) -> Judged:
        """Whether ``rate`` is good; every rate is run once."""
        if rate not in self.samples:
            self.samples[rate] = self.load.sample(self.name, self.system, rate, cached=self.cached)
        return self.samples[rate].judged

    def searched(self, precision: float) -> Side:
        """The highest sustainable rate.

        A run that is bad before it is steady is not lengthened: rates far above the limit cost little. The
        one just above the rate found is, once: its cache may have been cold.
        """
        wanted, trace = self.load.slo.share, self.load.configured
        if self.load.configured_s is None and len(trace) < requests_needed(wanted):
            few = f"the trace has {len(trace):,} requests; a share of {wanted:.4g} needs "
            few += f"{requests_needed(wanted):,} (slo.share)"
            return Side(Search(Outcome.REFUSED, None, {}), {}, wanted, few)
        while True:
            found = search(self.judged_at, self.load.rate, precision)
            above = self.samples[found.above] if found.above is not None else None
            if found.outcome is not Outcome.FOUND or above is None or not above.needed_s:
                return Side(found, self.samples, wanted)
            if above.rate in self.seen_longer or self.load.lengthen(above) is not None:
                return Side(found, self.samples, wanted)
            self.seen_longer.add(above.rate)
            del self.samples[above.rate]

    def forget_shorter(self) -> bool:
        """Drop the runs at rates at which another side needed a longer one; whether there were any."""
        durations_s = self.load.durations_s
        shorter = [
            s for s in self.samples.values() if s.steady and s.duration_s < durations_s.get(s.rate, 0)
        ]
        for sample in shorter:
            del self.samples[sample.rate]
        return bool(shorter)


def study(config: Config, precision: float, progress: Progress) -> CapacityStudy:
    """Search the rate of every engine with and without its cache, to a relative ``precision``.

    InputError if there is no ``slo``, no engine, or no rate to change.
    """
    config.require_one_seed()
    load = _load(config, precision, progress)
    progress("loading the workload", 0, None)
    engines = {name: s for name, s in config.systems.items() if isinstance(s, EngineSystem)}
    sides = {
        (name, cached): Exploration(load, name, system, cached)
        for name, system in engines.items()
        for cached in (True, False)
    }
    while True:
        found = {key: side.searched(precision) for key, side in sides.items()}
        if not sum(side.forget_shorter() for side in sides.values()):
            break
    systems = {
        name: SystemCapacity(
            with_cache=found[name, True],
            without_cache=found[name, False],
            calibrated=system.calibrated(config.folder),
            notes=[*load.configured.notes, *system.notes(load.configured, config.folder)],
        )
        for name, system in engines.items()
    }
    return CapacityStudy(
        config,
        load.slo,
        f"workload.arrival.{load.key}",
        load.rate,
        load.configured_s,
        precision,
        systems,
    )


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
