"""The same experiment under several seeds: its figures are means, and their intervals those of the seeds.

Every system meets the same traces (common random numbers), so differences vary much less than figures do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol, get_args

from sim import experiment
from sim.config import Config
from sim.experiment import Progress
from sim.result import Result
from sim.results import intervals
from sim.results.comparison import full_name
from sim.results.intervals import CONFIDENCE, Flat, Repetitions, half_width
from sim.results.summary import SavedFigure
from workloads.errors import InputError

FEWEST = 3
"""Seeds before an interval can be narrow enough: two may agree by luck."""
MOST = 200
"""Seeds at most where they go on until an interval is narrow."""
SHAPE = re.compile(r"\s*(?P<saved>saved_)?(?P<figure>[a-z0-9_.]+)\s*<=\s*(?P<percent>\d+(\.\d+)?)\s*%\s*")


@dataclass(frozen=True, slots=True)
class Until:
    """Seeds go on until half of the interval of a figure, or of what is saved of it, is at most a share."""

    figure: str
    saved: bool
    share: float

    @classmethod
    def parse(cls, text: str) -> Until:
        """``[saved_]FIGURE <= PERCENT%``, as in 'saved_p50_ttft <= 5%'; InputError if it is not that."""
        found = SHAPE.fullmatch(text)
        allowed = "like 'saved_p50_ttft <= 5%' or 'p99_ttft_ms <= 10%'"
        if found is None:
            raise InputError(f"--until {text!r}; allowed: {allowed}")
        names = found["figure"], found["figure"] + "_ms"
        share = float(found["percent"]) / 100
        if not share > 0:
            raise InputError(f"--until {text!r}: {found['percent']}%; allowed: more than 0%")
        for name in names:
            try:
                figure = full_name(name)
            except ValueError:
                continue
            if not found["saved"] or figure.removeprefix("cost.") in get_args(SavedFigure):
                return cls(figure, found["saved"] is not None, share)
        raise InputError(f"--until {text!r}: no figure called {found['figure']!r}; allowed: {allowed}")

    def require_known(self, systems: dict[str, list[Flat]]) -> None:
        """InputError unless some system has the figure: the goal would be reached without a look at it."""
        if not any(self.figure in flat for flats in systems.values() for flat in flats):
            raise InputError(
                f"--until: no system has the figure {self.figure}; allowed: one that summary.json shows"
            )

    def reached(self, systems: dict[str, list[Flat]], no_cache: dict[str, list[Flat]]) -> bool:
        """Whether every system that has the figure has it that exactly."""
        for name, flats in systems.items():
            after = [flat[self.figure] for flat in flats if self.figure in flat]
            if len(after) < len(flats):
                continue
            values = after
            if self.saved:
                before = [flat.get(self.figure, 0.0) for flat in no_cache[name]]
                values = [b - a for b, a in zip(before, after, strict=True)]
            mean = sum(values) / len(values)
            if half_width(values, CONFIDENCE) > self.share * abs(mean):
                return False
        return True


class Run(Protocol):
    """How one experiment is run: in this process, or in parts."""

    def __call__(self, config: Config, progress: Progress, strategies: bool = True) -> Result:
        """As `sim.experiment.run`."""


def run_seeds(
    config: Config, progress: Progress, until: Until | None = None, run: Run = experiment.run
) -> Result:
    """Run ``config.seeds`` seeds, or as many as ``until`` takes; the result shows the first one's requests.

    With one seed, and no ``until``, it is a plain run.
    """
    first = run(config, progress)
    if config.seeds == 1 and until is None:
        return first
    systems: dict[str, list[Flat]] = {name: [] for name in config.systems}
    no_cache: dict[str, list[Flat]] = {name: [] for name in config.systems}

    def note(result: Result) -> None:
        summary = result.figures()
        first.unsteady_seeds += result.measure.needed_s > 0
        for name in config.systems:
            systems[name].append(intervals.flat(summary["systems"][name]))
            no_cache[name].append(intervals.flat(summary["no_cache"][name]))

    note(first)
    if until is not None:
        until.require_known(systems)
    done, wanted = 1, config.seeds if until is None else MOST
    while done < wanted and not (until and done >= FEWEST and until.reached(systems, no_cache)):
        total = None if until else wanted
        progress(f"seeds (from {config.seed} on)", done, total)
        note(run(config.with_seed(config.seed + done), lambda part, at, of: None, strategies=False))
        done += 1
    first.seeds = Repetitions("seeds", systems, no_cache)
    return first
