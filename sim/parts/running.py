"""One experiment as jobs: every system and every twin by itself, in parts where they can be divided."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.config import Config
from sim.experiment import Progress, Result, SystemRun, described, load_trace
from sim.jobs.job import Job
from sim.jobs.runner import Workers, compute_each
from sim.jobs.store import Store
from sim.parts.division import Division, Group, division_of
from sim.parts.merging import merged
from sim.parts.piece import RECORDS, PartJob, PartOutcome, Piece, execute
from sim.results.records import Records
from workloads.errors import InputError

PART_REQUESTS = 125_000
"""A part has about so many requests at most, if replicas are enough: that bounds a worker's memory."""
PARTS_PER_PROCESS = 4
"""Parts of a system for each process at least: the last ones to end then leave little waiting."""


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
        """The same result as `sim.experiment.run`: no figure depends on how the work was divided."""
        start = time.perf_counter()
        trace = load_trace(config)
        load_s = time.perf_counter() - start
        experiment, store = Job.of(config), Store(self.folder)
        count = self.parts or max(
            PARTS_PER_PROCESS * self.workers.processes, -(-len(trace) // PART_REQUESTS)
        )
        plan: dict[tuple[str, bool], list[PartJob]] = {}
        for name, system in config.systems.items():
            division = division_of(system, trace)
            groups: list[Group | None] = [*division.parts(count)] or [None]
            self.say(_said(name, division, len(groups)))
            for cached in (True, False):
                plan[name, cached] = [
                    PartJob.of(experiment, name, cached, group, trace.checkpoints_s) for group in groups
                ]
        jobs = [job for of_run in plan.values() for job in of_run]
        self._compute(jobs, store, progress)
        runs: dict[str, SystemRun] = {}
        for name, system in config.systems.items():
            of_run, of_twin = (self._run(plan[name, cached], store) for cached in (True, False))
            runs[name] = described(system, trace, config.folder, of_run, of_twin, strategies)
        return Result.of(config, trace, runs, load_s)

    def _compute(self, jobs: Sequence[PartJob], store: Store, progress: Progress) -> None:
        def keep(outcome: PartOutcome) -> None:
            store.keep(outcome.name, {RECORDS: outcome.piece})

        failed = compute_each(jobs, store, self.workers, execute, keep, progress, "parts")
        if failed:
            raise InputError(next(iter(failed.values())))

    def _run(self, jobs: Sequence[PartJob], store: Store) -> tuple[Records, float]:
        """The records of a run, and how long its parts took, s."""
        pieces = [_read(store.folder / job.name / RECORDS) for job in jobs]
        return merged(pieces, [job.replicas or () for job in jobs]), sum(p.simulation_s for p in pieces)


def _said(name: str, division: Division, parts: int) -> str:
    return f"{name}: {division.why}" + (f", in {parts} parts" if division.by else "")


def _read(path: Path) -> Piece:
    try:
        with path.open("rb") as file:
            piece: Piece = pickle.load(file)
    except (OSError, EOFError, pickle.UnpicklingError):
        raise InputError(f"{path}: not as it was written; remove {path.parent} and run again") from None
    return piece
