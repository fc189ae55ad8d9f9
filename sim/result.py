"""What an experiment has found: the records of its systems, from which everything else follows."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib import metadata
from math import inf
from typing import TYPE_CHECKING

from pydantic import ValidationError

from sim.config import Config
from sim.results import (
    comparison,
    early,
    frames,
    intervals,
    metrics,
    owning_or_renting,
    repetitions,
    steady,
    validity,
)
from sim.results.claims import Claim, weigh
from sim.results.comparison import Compare
from sim.results.intervals import Repetitions
from sim.results.records import Records
from sim.results.sample import DRAWN, sampled
from sim.results.steady import Measured
from sim.results.summary import MeasuredWindow, Summary, Timing, WeighedClaim
from sim.results.summary_system import OwnWindow, SystemEntry
from sim.results.system_run import SystemRun
from sim.results.tables import RequestColumns
from sim.results.tally import summarise
from sim.results.window import Window
from workloads.errors import InputError
from workloads.in_words import first_problem
from workloads.shown import nearest
from workloads.trace import Trace

if TYPE_CHECKING:
    import pandas as pd

    from reports.notebook import Drawing

SCHEMA_VERSION = 1


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


@dataclass(slots=True, repr=False)
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
            summary["comparison"] = comparison.compare(summary, self.config.compare, repeated)
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
        from sim.experiment import load_trace

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

    def table(self) -> pd.DataFrame:
        """The figures of summary.json: a row per system and per twin without a cache (`/no-cache`)."""
        return frames.systems(self.summary())

    def savings(self) -> pd.DataFrame:
        """What each cache saves: a row per system and figure, with the bounds of the share."""
        return frames.savings(self.summary())

    def compare(self, by: str | None = None, baseline: str | None = None) -> pd.DataFrame:
        """The systems ranked by a figure of summary.json, the best first, with their intervals.

        ``by`` and ``baseline`` are those of the configuration's ``compare``; InputError for an unknown one.
        """
        asked = self.config.compare
        try:
            asked = Compare(by=by or asked.by, baseline=baseline or asked.baseline)
        except ValidationError as error:
            raise InputError(first_problem(error, {"by": by})) from None
        if asked.baseline not in (None, *self.runs):
            raise InputError(f"baseline = {asked.baseline!r}; {nearest(asked.baseline, list(self.runs))}")
        return frames.ranking(comparison.compare(self.summary(), asked, self.repetitions()))

    def ttft_figure(self, system: str | None = None) -> Drawing:
        """Distributions of the time to first token of a system, or of the only one."""
        from reports import notebook

        return notebook.ttft(self, system)

    def tokens_figure(self, system: str | None = None) -> Drawing:
        """Prompt tokens computed and cached by turn (or length) of a system, or of the only one."""
        from reports import notebook

        return notebook.tokens(self, system)

    def gpu_time_figure(self, system: str | None = None) -> Drawing:
        """GPU time busy and idle, with and without the cache, of a system, or of the only one."""
        from reports import notebook

        return notebook.gpu_time(self, system)

    def __repr__(self) -> str:
        """On one line; its records have a number for every request."""
        return (
            f"Result({self.config.name!r}, {len(self.trace):,} requests, systems: {', '.join(self.runs)})"
        )

    def _repr_html_(self) -> str:
        """The answer and its table, for notebooks."""
        from reports import notebook

        return notebook.html(self.summary())

    def _window(self) -> MeasuredWindow:
        """The window of the first system; all have the same but in closed loop."""
        window, _ = next(iter(self.measure.windows.values()))
        outside = 0 if self.added is None else self.added.outside
        for name, run in self.runs.items() if self.added is None else ():
            outside += _outside(run.records, self.measure.windows[name][0])
        share = outside / (self.trace.requests * len(self.runs))
        return {"chosen": self.measure.chosen, **_told(window, share)}

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
        notes, warnings = early.note(self.trace, records), watch.warnings(records, full_s)
        entry = run.entry(figures, records, notes, warnings)
        if self.measure.differs:
            entry["window"] = _told(window, _outside(records, window) / len(records))
        return entry


def _outside(records: Records, window: Window) -> int:
    """How many requests do not arrive in ``window``."""
    return len(records) - int(records.arrived(window).sum())


def _told(window: Window, outside_ratio: float) -> OwnWindow:
    end_s = None if window.end_s == inf else window.end_s
    return {"start_s": window.start_s, "end_s": end_s, "outside_ratio": outside_ratio}


def _weigh(claim: Claim, run: SystemRun) -> WeighedClaim:
    """Claims are about requests, not about a load: they are weighed over the whole run."""
    return weigh(claim, run.records.measured(), run.twin.measured(), run.price)
