"""One trace through several systems, each beside its twin without a cache."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib import metadata
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sim import examples
from sim.config import Config
from sim.providers import bills
from sim.results import early, intervals, metrics, owning_or_renting, repetitions, steady, validity
from sim.results.claims import Claim, weigh
from sim.results.comparison import compare
from sim.results.intervals import Repetitions
from sim.results.pricing import Price
from sim.results.records import Records
from sim.results.sample import DRAWN, sampled
from sim.results.steady import Measured
from sim.results.summary import MeasuredWindow, Summary, SystemEntry, Timing, WeighedClaim
from sim.results.summary_cost import Regret
from sim.results.tables import RequestColumns
from sim.results.tally import summarise
from sim.results.window import Window
from sim.systems.base import System
from sim.systems.provider import ProviderSystem
from workloads.base import Workload
from workloads.errors import InputError
from workloads.trace import Trace

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
Progress = Callable[[str, int, int | None], None]
"""Called with (part of the run, requests done, requests in all)."""


@dataclass(slots=True)
class SystemRun:
    """What one system did with the trace, and what it would have done without its cache."""

    records: Records
    twin: Records
    price: Price | None
    calibrated: bool | None
    """Whether times come from a measurement; None where there are no times."""
    notes: list[str]
    simulation_s: float
    twin_simulation_s: float
    compare: Regret | None = None
    """The strategies of a provider's client side by side, where they were tried."""


@dataclass(frozen=True, slots=True)
class Added:
    """What is known of an experiment whose runs are in memory a piece at a time."""

    entries: dict[str, tuple[SystemEntry, SystemEntry]]
    """Of each system and its twin."""
    repetitions: Repetitions | None
    outside: int
    """Requests of all systems that do not arrive in the measured window."""
    input_tokens: int
    blocks: Callable[[], Iterator[RequestColumns]]
    """The request table."""


@dataclass(slots=True)
class Result:
    """The outcome of an experiment: records per system, from which everything else follows."""

    config: Config
    trace: Trace
    runs: dict[str, SystemRun]
    measure: Measured
    """Which part of each run its figures are about."""
    load_s: float
    seeds: Repetitions | None = None
    """The figures under this seed and others, where there are others: figures are then their means."""
    unsteady_seeds: int = 0
    """How many of them have no steady part: their figures are of whole runs."""
    added: Added | None = None
    """The figures where they were added up over parts: ``runs`` then have what a report draws only."""

    @classmethod
    def of(cls, config: Config, trace: Trace, runs: dict[str, SystemRun], load_s: float) -> Result:
        """The result of ``runs``, measured in the part of them that is asked for or found."""
        both = {name: (run.records, run.twin) for name, run in runs.items()}
        return cls(config, trace, runs, steady.measure(trace, config.asked, both), load_s)

    def figures(self) -> Summary:
        """The content of summary.json, of this run alone and without intervals."""
        systems: dict[str, SystemEntry] = {}
        twins: dict[str, SystemEntry] = {}
        for name, run in self.runs.items():
            if self.added is not None:
                systems[name], twins[name] = deepcopy(self.added.entries[name])
            else:
                window, of_twin = self.measure.windows[name]
                systems[name] = self._entry(name, run, run.records, window)
                twins[name] = self._entry(name, run, run.twin, of_twin)
            if systems[name]["cost"]["pricing"] in ("gpu_hours", "provider"):
                cost = systems[name]["cost"]
                before = twins[name]["cost"]["cost_usd_total"]
                after = cost["cost_usd_total"]
                if before is not None and after is not None:
                    cost["saved_usd_by_cache"] = before - after
            if run.compare is not None:
                systems[name]["regret"] = run.compare
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.config.name,
            "seed": self.config.seed,
            "version": metadata.version("prefixsim"),
            "requests": self.trace.requests,
            "window": self._window(),
            "warnings": validity.of_experiment(self.measure),
            "systems": systems,
            "no_cache": twins,
            "savings": {},
            "intervals": None,
            "comparison": None,
            "claims": [_weigh(claim, self.runs[claim.system]) for claim in self.config.claims],
        }

    def summary(self) -> Summary:
        """The content of summary.json."""
        summary, repeated = self.figures(), self.repetitions()
        if self.seeds is not None:
            intervals.average(summary, self.seeds)
            if self.unsteady_seeds:
                summary["warnings"].append(
                    f"{self.unsteady_seeds} of {self.seeds.count} seeds have no steady part: what they "
                    "add to the means is of whole runs, start and drain included"
                )
        systems, twins = summary["systems"], summary["no_cache"]
        summary["savings"] = {name: metrics.savings(twins[name], systems[name]) for name in systems}
        if repeated is not None:
            summary["intervals"] = intervals.of_summary(summary, repeated)
        if len(systems) > 1:
            summary["comparison"] = compare(summary, self.config.compare, repeated)
        if any(run.records.hosted is not None for run in self.runs.values()):
            summary["side_by_side"] = owning_or_renting.rows(summary)
            summary["crossovers"] = owning_or_renting.crossovers(summary)
        return summary

    def timing(self) -> Timing:
        """The content of timing.json."""
        requests = self.trace.requests
        return {
            "python": platform.python_version(),
            "load_s": self.load_s,
            "systems": {
                name: {
                    "simulation_s": run.simulation_s,
                    "no_cache_simulation_s": run.twin_simulation_s,
                    "simulated_requests_per_s": requests / run.simulation_s,
                }
                for name, run in self.runs.items()
            },
        }

    def repetitions(self) -> Repetitions | None:
        """What tells how far the figures may be off; None for a run too small for that."""
        if self.seeds is not None:
            return self.seeds
        if self.added is not None:
            return self.added.repetitions
        runs = {name: (run.records, run.twin, run.price) for name, run in self.runs.items()}
        return repetitions.of_one_run(self.trace, self.measure, runs, self.config.slo, self.config.seed)

    def measured(self) -> dict[str, SystemRun]:
        """The measured part of the runs, of requests that completed: what figures are made of."""
        out = {}
        for name, run in self.runs.items():
            window, of_twin = self.measure.windows[name]
            records, twin = run.records.measured(window), run.twin.measured(of_twin)
            out[name] = replace(run, records=records, twin=twin)
        return out

    def drawn(self) -> Result:
        """What a report draws: all of it, or of a large one requests of some sessions (``sample.py``).

        A large one comes without its trace.
        """
        if self.trace.requests <= DRAWN:
            return self if self.added is None else replace(self, trace=self.whole_trace())
        runs = {}
        for name, run in self.runs.items():
            both = (sampled(records, self.trace.requests) for records in (run.records, run.twin))
            records, twin = (replace(one, steps=[], work=[]) for one in both)
            runs[name] = replace(run, records=records, twin=twin)
        return replace(self, runs=runs)

    def whole_trace(self) -> Trace:
        """The trace with all its requests."""
        return self.trace if self.trace.part is None else load_trace(self.config)

    @property
    def input_tokens(self) -> int:
        """Prompt tokens of all requests."""
        return sum(self.trace.input_tokens) if self.added is None else self.added.input_tokens

    def blocks(self) -> Iterator[RequestColumns]:
        """The request table a block at a time."""
        from sim.results.request_table import blocks

        return blocks(self) if self.added is None else self.added.blocks()

    def requests(self) -> pd.DataFrame:
        """The request table as a data frame: one row per request and system, twins included."""
        import pandas as pd

        from sim.results.request_table import columns

        return pd.DataFrame(columns(self.blocks()))

    def _window(self) -> MeasuredWindow:
        """The window of the first system; all have the same but in closed loop."""
        window, _ = next(iter(self.measure.windows.values()))
        outside = 0 if self.added is None else self.added.outside
        for name, run in self.runs.items() if self.added is None else ():
            outside += len(run.records) - int(run.records.arrived(self.measure.windows[name][0]).sum())
        return {
            "chosen": self.measure.chosen,
            "start_s": window.start_s,
            "end_s": None if window.end_s == inf else window.end_s,
            "outside_ratio": outside / (self.trace.requests * len(self.runs)),
        }

    def _entry(self, name: str, run: SystemRun, records: Records, window: Window) -> SystemEntry:
        figures = summarise(records, run.price, window, self.config.slo)
        if self.trace.lengths_only:
            cache = figures["cache"]
            cache["prefix_cache_hit_rate"] = cache["prefix_cache_hit_rate_blocks"] = None
            cache["request_hit_rate"] = None
        full_s = self.measure.full_s.get(name) if records is run.records else None
        load_end_s, is_steady = steady.load_end_s(self.trace, records), not self.measure.needed_s
        last_s = float(records.arrival_s.max())
        watch = validity.Watch(window, load_end_s, last_s, steady=is_steady)
        watch.add(records)
        entry = {
            "calibrated": run.calibrated,
            "notes": [*run.notes, *early.note(self.trace, records), *extrapolation(records)],
            "warnings": watch.warnings(records, full_s),
            **figures,
        }
        return cast(SystemEntry, entry)


def _weigh(claim: Claim, run: SystemRun) -> WeighedClaim:
    """Claims are about requests, not about a load: they are weighed over the whole run."""
    return weigh(claim, run.records.measured(), run.twin.measured(), run.price)


def extrapolation(records: Records) -> list[str]:
    """What share of the busy time was predicted outside of what the latency profile measured."""
    engine = records.engine
    if engine is None or not engine.extrapolated_s:
        return []
    share = engine.extrapolated_s / engine.busy_s
    return [f"extrapolated: {share:.1%} of the busy time lies outside of the profile's measured domain"]


def build_trace(config: Config) -> Trace:
    """Build the workload's trace; InputError if its times or lengths are beyond what counts exactly."""
    workload: Workload = config.workload
    examples.require_trace(workload, config.folder)
    trace = workload.build(config.seed, config.folder)
    if config.clients is not None:
        config.clients.apply(trace)
    trace.seed = config.seed
    trace.checkpoints_s = steady.checkpoint_times_s(trace, config.asked)
    trace.require_countable()
    return trace


def load_trace(config: Config) -> Trace:
    """Build the workload's trace and make sure that every system can take it (InputError)."""
    trace = build_trace(config)
    for name, system in config.systems.items():
        system.check_trace(trace, f"systems.{name}", config.folder)
    return trace


def run(config: Config, progress: Progress | None = None, strategies: bool = True) -> Result:
    """Run the experiment. Writes nothing; ``progress`` hears of each part of it.

    ``strategies``: whether providers' other placements of marks may be tried (their ``regret``).
    """
    say = progress or (lambda part, done, total: None)
    say("loading the workload", 0, None)
    start = time.perf_counter()
    trace = load_trace(config)
    load_s = time.perf_counter() - start
    runs = {}
    for name, system in config.systems.items():
        runs[name] = _run_system(name, system, trace, config.folder, say, strategies)
    return Result.of(config, trace, runs, load_s)


@contextmanager
def named(key: str) -> Iterator[None]:
    """InputError of a part that does not know in which system it is, with the name of that."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error) if key in str(error) else f"{key}: {error}") from None


def _run_system(
    name: str, system: System, trace: Trace, folder: Path, say: Progress, strategies: bool
) -> SystemRun:
    """One system and its twin."""
    key = f"systems.{name}"

    def told(part: str) -> Callable[[int], None]:
        return lambda done: say(part, done, len(trace))

    start = time.perf_counter()
    with named(key):
        records = system.run(trace, key, folder, told(name))
        middle = time.perf_counter()
        twin = system.run_without_cache(trace, key, folder, told(f"{name} without cache"))
        end = time.perf_counter()
    if strategies and isinstance(system, ProviderSystem):
        say(f"{name}: other strategies", 0, None)
    return described(system, trace, folder, (records, middle - start), (twin, end - middle), strategies)


def described(
    system: System,
    trace: Trace,
    folder: Path,
    run: tuple[Records, float],
    twin: tuple[Records, float],
    strategies: bool,
) -> SystemRun:
    """What a reader has to know of a system beside the records of its run and twin.

    ``run`` and ``twin`` are records and the seconds that simulating them took.
    """
    compare = None
    if strategies and isinstance(system, ProviderSystem):
        costs = (float(bills.exact(table).total_usd) for table in (run[0], twin[0]))
        compare = system.compare(trace, *costs)
    return SystemRun(
        records=run[0],
        twin=twin[0],
        price=system.price if isinstance(system.price, Price) else None,
        calibrated=system.calibrated(folder),
        notes=[*trace.notes, *system.notes(trace, folder)],
        simulation_s=run[1],
        twin_simulation_s=twin[1],
        compare=compare,
    )


__all__ = ["InputError", "Result", "SystemRun", "build_trace", "load_trace", "run"]
