"""A grid of experiments: every combination of the axes with the same seeds, and its figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from sim.config import Config, load_config
from sim.jobs.job import Job
from sim.jobs.runner import Tell, Workers, compute
from sim.jobs.store import Store
from sim.studies.axes import Axis, Label, Point, grid
from sim.studies.means import Mean, mean
from sim.studies.metric import USUAL, Metric, flat, metric
from sim.studies.outputs import SweepRow, SweepSummary
from sim.studies.pareto import front
from sim.yamlfile import Document
from workloads.errors import InputError

SCHEMA_VERSION = 1
JOBS = "jobs"
"""The folder of finished jobs within the folder of a sweep or search."""
MOST_SEEDS = 10_000


@dataclass(frozen=True, slots=True)
class Experiment:
    """A configuration file with what is fixed in it, and the seeds with which every point is run."""

    path: Path
    fixed: tuple[str, ...]
    seeds: int

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= MOST_SEEDS:
            raise InputError(f"--seeds {self.seeds}; allowed: 1 to {MOST_SEEDS:,}")

    def config(self, assignments: Iterable[str] = ()) -> Config:
        """The resolved configuration at a point; InputError if there is none."""
        config = load_config(self.path, [*self.fixed, *assignments])
        config.require_one_seed("1 here, and --seeds for those of every point")
        return config

    def first(self, axes: list[Axis]) -> Config:
        """The configuration of the first point that is valid; InputError, that of the first, if none is."""
        error: InputError | None = None
        for point in grid(axes):
            try:
                return self.config(point.assignments)
            except InputError as fault:
                error = error or fault
        assert error is not None
        raise error

    def jobs(self, config: Config) -> list[Job]:
        """The jobs of a point: its configuration with each seed, from the configured one on.

        All points have the same seeds, so they see the same sessions as far as they are the same workload,
        and their differences are those of the settings (common random numbers).
        """
        return [Job.of(config.with_seed(config.seed + i)) for i in range(self.seeds)]

    def digest(self) -> str:
        """A name for the experiment without axes: what the file says, overrides included, as values."""
        document = Document(self.path)
        for assignment in self.fixed:
            document.override(assignment)
        text = json.dumps(document.data, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Failure:
    """A point that could not be run, and why."""

    point: Point
    message: str


@dataclass(frozen=True, slots=True)
class Row:
    """A system at a point, with its figures of every seed."""

    point: Point
    system: str
    jobs: tuple[str, ...]
    """Names of the jobs, one a seed."""
    calibrated: bool | None
    figures: tuple[dict[str, float | None], ...]
    """All figures, by path, of each job."""
    values: dict[Metric, list[float | None]]
    """The figures that the study asks for, of each job."""

    def mean(self, metric: Metric) -> Mean | None:
        """The mean of a figure over the seeds."""
        return mean(self.values[metric])

    def pair(self, x: Metric, y: Metric) -> tuple[float, float] | None:
        """The means of two figures; None if one is missing."""
        a, b = self.mean(x), self.mean(y)
        return None if a is None or b is None else (a.value, b.value)

    def differs(self, other: Row, metric: Metric) -> bool:
        """Whether the interval of the differences of a figure, seed by seed, leaves out 0.

        With one seed any difference counts.
        """
        own, others = self.values[metric], other.values[metric]
        found = mean([None if a is None or b is None else a - b for a, b in zip(own, others, strict=True)])
        return found is not None and abs(found.value) > (found.half or 0)


@dataclass(frozen=True, slots=True)
class Front:
    """The Pareto front of two figures."""

    x: Metric
    y: Metric
    rows: list[int]
    """Which rows of the sweep lie on it, from the best ``x`` to the best ``y``."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A finished sweep: figures of every system at every point."""

    experiment: Experiment
    config: Config
    """Of the first point that is valid."""
    axes: list[Axis]
    metrics: list[Metric]
    rows: list[Row]
    failures: list[Failure]
    pareto: Front | None

    @property
    def seeds(self) -> list[int]:
        """The seeds of every point."""
        return [self.config.seed + i for i in range(self.experiment.seeds)]

    def summary(self) -> SweepSummary:
        """The content of sweep.json; no wall-clock times, the same whoever computed the jobs."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.config.name,
            "version": metadata.version("prefixsim"),
            "experiment": self.experiment.digest(),
            "seeds": self.seeds,
            "axes": {axis.name: [setting.label for setting in axis.settings] for axis in self.axes},
            "metrics": {metric.path: metric.unit for metric in self.metrics},
            "rows": [self._entry(row) for row in self.rows],
            "pareto": self._front(),
            "failures": [{"point": f.point.labels, "message": f.message} for f in self.failures],
        }

    def _entry(self, row: Row) -> SweepRow:
        means = {each.path: row.mean(each) for each in self.metrics}
        return {
            "point": row.point.labels,
            "system": row.system,
            "calibrated": row.calibrated,
            "jobs": list(row.jobs),
            "mean": {path: found.value if found else None for path, found in means.items()},
            "half_width": {path: found.half if found else None for path, found in means.items()},
        }

    def _front(self) -> dict[str, list[dict[str, Label]]] | None:
        if self.pareto is None:
            return None
        x, y = self.pareto.x.path, self.pareto.y.path
        rows = [self.rows[i] for i in self.pareto.rows]
        return {f"{x},{y}": [{**row.point.labels, "system": row.system} for row in rows]}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep has to compute: the jobs of each point that is valid, the others with their faults."""

    experiment: Experiment
    axes: list[Axis]
    points: list[tuple[Point, list[Job]]]
    failures: list[Failure]

    @staticmethod
    def of(experiment: Experiment, axes: list[Axis]) -> Plan:
        """The whole grid; InputError if no point of it is valid."""
        plan = Plan.at(experiment, axes, grid(axes))
        if not plan.points:
            raise InputError(plan.failures[0].message)
        return plan

    @staticmethod
    def at(experiment: Experiment, axes: list[Axis], points: Iterable[Point]) -> Plan:
        """Some points: those whose configuration is not valid are failures."""
        valid, failures = [], []
        for point in points:
            try:
                valid.append((point, experiment.jobs(experiment.config(point.assignments))))
            except InputError as error:
                failures.append(Failure(point, str(error)))
        return Plan(experiment, axes, valid, failures)

    @property
    def jobs(self) -> list[Job]:
        """Every job, point by point."""
        return [job for _, jobs in self.points for job in jobs]

    def part(self, shard: tuple[int, int]) -> list[Job]:
        """The jobs of shard i of n (from 1): every n-th one."""
        i, n = shard
        return self.jobs[i - 1 :: n]

    def compute(self, folder: Path, workers: Workers, tell: Tell, shard: tuple[int, int]) -> dict[str, str]:
        """Compute what is not there yet of a shard; the jobs that failed, and why."""
        return compute(self.part(shard), Store(folder / JOBS), workers, tell, "jobs")

    def missing(self, folder: Path) -> int:
        """How many jobs are not finished."""
        store = Store(folder / JOBS)
        return sum(job.name not in store for job in self.jobs)

    def rows(
        self, folder: Path, failed: dict[str, str], metrics: list[Metric]
    ) -> tuple[list[Row], list[Failure]]:
        """Every system at every point whose jobs are finished, and the points that failed."""
        store = Store(folder / JOBS)
        rows: list[Row] = []
        failures = list(self.failures)
        for point, jobs in self.points:
            faults = dict.fromkeys(failed[job.name] for job in jobs if job.name in failed)
            failures += [Failure(point, fault) for fault in faults]
            if not faults:
                rows += _rows(point, jobs, [store.summary(job.name) for job in jobs], metrics)
        return rows, failures

    def finish(
        self, folder: Path, failed: dict[str, str], names: list[str], pareto: tuple[str, str] | None
    ) -> Sweep:
        """Put finished jobs together; ``names`` are the figures to show, empty for the usual ones."""
        metrics, both = chosen(names, pareto)
        rows, failures = self.rows(folder, failed, [*metrics, *both])
        if not names:
            metrics = [each for each in metrics if any(row.mean(each) for row in rows)]
        on_front = None
        if both:
            x, y = both
            higher = x.higher_is_better, y.higher_is_better
            on_front = Front(x, y, front([row.pair(x, y) for row in rows], higher))
        order = {str(point): i for i, point in enumerate(grid(self.axes))}
        failures.sort(key=lambda failure: order[str(failure.point)])
        config = self.points[0][1][0].config
        return Sweep(self.experiment, config, self.axes, metrics, rows, failures, on_front)


def _rows(point: Point, jobs: list[Job], summaries: list[Any], metrics: list[Metric]) -> Iterator[Row]:
    """The systems of a point."""
    for system in jobs[0].config.systems:
        yield Row(
            point,
            system,
            tuple(job.name for job in jobs),
            summaries[0]["systems"][system]["calibrated"],
            tuple(flat(summary, system) for summary in summaries),
            {metric: [metric.of(summary, system) for summary in summaries] for metric in metrics},
        )


@dataclass(frozen=True, slots=True)
class Runs:
    """Where points are computed that a search asks for, step by step."""

    folder: Path
    workers: Workers
    tell: Tell

    def rows(self, plan: Plan, metrics: list[Metric], what: str) -> tuple[list[Row], list[Failure]]:
        """Compute what is not there yet; every system at every point with ``metrics``, and what failed."""
        failed = compute(plan.jobs, Store(self.folder / JOBS), self.workers, self.tell, what)
        return plan.rows(self.folder, failed, metrics)


def chosen(names: list[str], pareto: tuple[str, str] | None) -> tuple[list[Metric], list[Metric]]:
    """The figures to show and the two of the front; InputError for a name that is none."""
    metrics = [metric(name, "--metric") for name in names or USUAL]
    both = [metric(name, "--pareto") for name in pareto or ()]
    return list(dict.fromkeys(metrics)), both
