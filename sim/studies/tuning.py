"""The best settings within limits: the whole grid where it is small, else Optuna's choice of points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sim.config import Config
from sim.studies.axes import Axis, Point, grid, point
from sim.studies.goals import Goal, Limit
from sim.studies.metric import Metric
from sim.studies.outputs import SearchRow, SearchSummary
from sim.studies.sweep import SCHEMA_VERSION, Experiment, Failure, Plan, Row, Runs
from workloads.errors import InputError

if TYPE_CHECKING:
    import optuna

BATCH = 8
"""Points that are chosen before any of them is known, whatever the number of processes."""
JOURNAL = "search.journal"
MOST_TRIALS = 100_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is searched: an experiment, its axes, the system that is meant, goals and limits."""

    experiment: Experiment
    axes: list[Axis]
    system: str | None
    """None: any."""
    goals: list[Goal]
    limits: list[Limit]

    @property
    def metrics(self) -> list[Metric]:
        """Figures of goals, then of limits."""
        both = [goal.metric for goal in self.goals] + [limit.metric for limit in self.limits]
        return list(dict.fromkeys(both))

    def rows_at(self, points: Iterable[Point], runs: Runs, what: str) -> tuple[list[Row], list[Failure]]:
        """Compute points, as far as they are not there yet: the systems that are meant, and what failed."""
        plan = Plan.at(self.experiment, self.axes, points)
        rows, failures = runs.rows(plan, self.metrics, what)
        return [row for row in rows if self.system in (None, row.system)], failures

    def kept(self, row: Row) -> bool:
        """Whether all limits are."""
        return all(limit.kept(row) for limit in self.limits)


@dataclass(frozen=True, slots=True)
class Search:
    """A finished search."""

    wanted: Wanted
    config: Config
    """Of the first point that is valid."""
    whole: bool
    """Whether every combination was run."""
    trials: int
    """Points tried, again ones included."""
    rows: list[Row]
    failures: list[Failure]
    best: list[int]
    """Which rows keep the limits and are beaten by no other such row in all goals; the best first."""

    def summary(self) -> SearchSummary:
        """The content of search.json; no wall-clock times."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.config.name,
            "version": metadata.version("prefixsim"),
            "experiment": self.wanted.experiment.digest(),
            "seeds": [self.config.seed + i for i in range(self.wanted.experiment.seeds)],
            "axes": {axis.name: [setting.label for setting in axis.settings] for axis in self.wanted.axes},
            "goals": {goal.metric.path: "max" if goal.high else "min" for goal in self.wanted.goals},
            "limits": [limit.text for limit in self.wanted.limits],
            "whole_grid": self.whole,
            "trials": self.trials,
            "best": [self._entry(self.rows[i]) for i in self.best],
            "rows": [self._entry(row) for row in self.rows],
            "failures": [{"point": f.point.labels, "message": f.message} for f in self.failures],
        }

    def _entry(self, row: Row) -> SearchRow:
        means = {each.path: row.mean(each) for each in self.wanted.metrics}
        return {
            "point": row.point.labels,
            "system": row.system,
            "jobs": list(row.jobs),
            "within_limits": self.wanted.kept(row),
            "mean": {path: found.value if found else None for path, found in means.items()},
            "half_width": {path: found.half if found else None for path, found in means.items()},
        }


def search(wanted: Wanted, trials: int, runs: Runs) -> Search:
    """Find the best settings: all combinations if there are up to ``trials``, else Optuna picks so many."""
    if not 1 <= trials <= MOST_TRIALS:
        raise InputError(f"--trials {trials}; allowed: 1 to {MOST_TRIALS:,}")
    if not wanted.goals:
        raise InputError("--goal is missing; allowed: a figure, such as cost_usd_total")
    paths = [goal.metric.path for goal in wanted.goals]
    for path in paths:
        if paths.count(path) > 1:
            raise InputError(f"--goal {path} is given twice; allowed: once")
    whole = math.prod(len(axis.settings) for axis in wanted.axes) <= trials
    if whole:
        points = list(grid(wanted.axes))
    else:
        points = list(_explored(wanted, trials, runs))
    distinct = {str(at): at for at in points}
    rows, failures = wanted.rows_at(distinct.values(), runs, "jobs")
    if not rows:
        raise InputError(failures[0].message)
    config = wanted.experiment.config(rows[0].point.assignments)
    return Search(wanted, config, whole, len(points), rows, failures, best(wanted, rows))


def best(wanted: Wanted, rows: list[Row]) -> list[int]:
    """The rows within the limits that no other of them beats: as good in all goals, better in one."""
    costs: dict[int, tuple[float, ...]] = {}
    for i, row in enumerate(rows):
        own = [goal.cost(row) for goal in wanted.goals]
        if wanted.kept(row) and None not in own:
            costs[i] = tuple(cost for cost in own if cost is not None)
    out: list[int] = []
    for i, cost in sorted(costs.items(), key=lambda item: item[1]):
        # Sorted, so only rows before can beat this one, and those that are beaten themselves need no look.
        if not any(_beats(costs[j], cost) for j in out):
            out.append(i)
    return out


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _explored(wanted: Wanted, trials: int, runs: Runs) -> Iterator[Point]:
    """Points that Optuna chooses batch by batch; the journal in the folder goes on where it was stopped.

    Every choice is seeded by its number, and a batch is told in its order once all of it is known. So the
    points are the same whatever the number of processes and however often the search was stopped.
    """
    study = _study(wanted, runs.folder)
    for first in range(0, trials, BATCH):
        numbers = range(first, min(first + BATCH, trials))
        asked = [_asked(study, wanted, number) for number in numbers]
        points = [at for _, at in asked]
        waiting = {str(at): at for trial, at in asked if trial is not None}
        what = f"trials {first + 1} to {numbers[-1] + 1} of {trials}"
        if waiting:
            rows, _ = wanted.rows_at(waiting.values(), runs, what)
            of_point = {str(row.point): row for row in rows}
            for trial, at in asked:
                if trial is not None:
                    _told(study, trial, wanted, of_point.get(str(at)))
        yield from points


def _study(wanted: Wanted, folder: Path) -> optuna.Study:
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise InputError(
            "more combinations than --trials, and Optuna is not installed; allowed: after pip install "
            "'prefixsim[search]', or more --trials to run the whole grid"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / JOURNAL
    if journal.exists():  # what a kill left of a line would spoil the next one
        content = journal.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            journal.write_bytes(content[:whole])
    directions: list[Literal["minimize", "maximize"]] = [
        "maximize" if goal.high else "minimize" for goal in wanted.goals
    ]
    what = (wanted.experiment.digest(), wanted.experiment.seeds, wanted.axes, wanted.system, wanted.limits)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=repr((what, wanted.goals)),
        directions=directions,
        load_if_exists=True,
    )


def _asked(study: optuna.Study, wanted: Wanted, number: int) -> tuple[optuna.Trial | None, Point]:
    """Trial ``number``, None where it is finished already, and its point."""
    import optuna

    trials = study.get_trials(deepcopy=False)
    if number < len(trials) and trials[number].state.is_finished():
        params = trials[number].params
        return None, _point(wanted.axes, [int(params[axis.name]) for axis in wanted.axes])
    study.sampler = optuna.samplers.TPESampler(seed=number, multivariate=True, constant_liar=True)
    if number < len(trials):  # begun when the search was stopped; what was chosen for it stays
        trial = optuna.Trial(study, trials[number]._trial_id)
    else:
        trial = study.ask()
    return trial, _point(wanted.axes, [_suggested(trial, axis) for axis in wanted.axes])


def _suggested(trial: optuna.Trial, axis: Axis) -> int:
    """Which setting of an axis: numbers have an order that Optuna may use, other settings have none."""
    labels = [setting.label for setting in axis.settings]
    if all(isinstance(label, int | float) and not isinstance(label, bool) for label in labels):
        return trial.suggest_int(axis.name, 0, len(labels) - 1)
    return trial.suggest_categorical(axis.name, list(range(len(labels))))


def _point(axes: list[Axis], chosen: list[int]) -> Point:
    return point(axes, [axis.settings[i] for axis, i in zip(axes, chosen, strict=True)])


def _told(study: optuna.Study, trial: optuna.Trial, wanted: Wanted, row: Row | None) -> None:
    """Tell Optuna what became of a trial; without figures it has failed."""
    from optuna.trial import TrialState

    means = [row.mean(goal.metric) for goal in wanted.goals] if row else []
    values = [mean.value for mean in means if mean is not None]
    if row is None or len(values) < len(wanted.goals):
        study.tell(trial, state=TrialState.FAIL)
        return
    for limit in wanted.limits:
        trial.set_constraint(limit.text, limit.excess(row))
    study.tell(trial, values)
