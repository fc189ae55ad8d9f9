"""One experiment as jobs: every system and every twin by itself, in parts where they can be divided."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sim.config import Config
from sim.experiment import Progress, described, load_trace
from sim.jobs.job import Job
from sim.jobs.runner import Workers, compute_each
from sim.jobs.store import Store
from sim.parts.counted import counted_result
from sim.parts.division import Division, Group, division_of
from sim.parts.merging import merged
from sim.parts.piece import REST, PartJob, PartOutcome, Piece, execute, outline
from sim.result import Result
from sim.results.records import Records
from workloads.errors import InputError
from workloads.trace import Trace

PART_REQUESTS = 250_000
"""A part has about so many requests at most, if replicas are enough: that bounds a worker's memory."""
PARTS_PER_PROCESS = 8
"""Parts of a system for each process at least: the last ones to end then leave little waiting."""
Plan = dict[str, tuple[list[PartJob], list[PartJob]]]
"""The parts of each system and of its twin."""


@dataclass(frozen=True, slots=True)
class Parted:
    """Runs experiments in parts; ``folder`` keeps those that are finished, so that a killed run goes on."""

    folder: Path
    workers: Workers
    parts: int | None
    """Parts of each run at most; None: by the number of processes and of requests."""
    say: Callable[[str], None]
    """Hears what is divided, and what is not and why."""

    def run(self, config: Config, progress: Progress, strategies: bool = True) -> Result:
        """The same result as `sim.experiment.run`: no figure depends on how the work was divided.

        Where every system is divided by session, and the workload makes sessions one by one, no process
        has more than a part in memory: figures are added up over the parts. Else the parts become one run.
        """
        start = time.perf_counter()
        progress("loading the workload", 0, None)
        trace = outline(config)
        in_pieces = trace is not None and self._by_session(config, trace)
        if trace is None or not in_pieces:
            trace = load_trace(config)
        load_s = time.perf_counter() - start
        plan = self._plan(config, trace)
        self._compute([job for both in plan.values() for jobs in both for job in jobs], progress)
        progress("adding up", 0, None)
        if in_pieces:
            local = self.workers if self.workers.cluster is None else Workers(1)
            return counted_result(config, trace, plan, self.folder, local, load_s)
        runs = {}
        for name, system in config.systems.items():
            of_run, of_twin = (self._merged(jobs) for jobs in plan[name])
            runs[name] = described(system, trace, config.folder, of_run, of_twin, strategies)
        return Result.of(config, trace, runs, load_s)

    def clear(self) -> None:
        """Remove the parts, which have become a result; whatever else lies in their folder stays."""
        for place in self.folder.glob("*"):
            if (place / REST).is_file():
                shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):
            self.folder.rmdir()

    def _by_session(self, config: Config, trace: Trace) -> bool:
        divided = all(division_of(system, trace).by == "session" for system in config.systems.values())
        return divided and not config.claims

    def _plan(self, config: Config, trace: Trace) -> Plan:
        experiment, plan = Job.of(config), {}
        at_least = PARTS_PER_PROCESS * self.workers.processes
        count = self.parts or max(at_least, -(-trace.requests // PART_REQUESTS))
        for name, system in config.systems.items():
            division = division_of(system, trace)
            groups: list[Group | None] = [*division.parts(count)] or [None]
            self.say(_said(name, division, len(groups)))
            of_run, of_twin = (
                [PartJob.of(experiment, name, cached, group, trace) for group in groups]
                for cached in (True, False)
            )
            plan[name] = of_run, of_twin
        return plan

    def _compute(self, jobs: Sequence[PartJob], progress: Progress) -> None:
        store = Store(self.folder)

        def keep(outcome: PartOutcome) -> None:
            store.keep(outcome.name, outcome.files)

        failed = compute_each(jobs, store, self.workers, execute, keep, progress, "parts")
        if failed:
            raise InputError(next(iter(failed.values())))

    def _merged(self, jobs: Sequence[PartJob]) -> tuple[Records, float]:
        """The records of a run, and how long its parts took, s."""
        pieces = [Piece.read(self.folder / job.name) for job in jobs]
        return merged(pieces, [job.replicas or () for job in jobs]), sum(p.simulation_s for p in pieces)


def _said(name: str, division: Division, parts: int) -> str:
    return f"{name}: {division.why}" + (f", in {parts} parts" if division.by else "")
