"""``python -m sim search``: the best settings within limits."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reports import terminal
from sim.commands.options import (
    AxesFile,
    AxisSettings,
    Cluster,
    ConfigFile,
    Force,
    Jobs,
    Quiet,
    Seeds,
    SweepFolder,
    workers_of,
)
from sim.commands.sweep import require_none
from workloads.errors import InputError
from workloads.shown import nearest


class Recipe(StrEnum):
    """Questions with a search of their own."""

    FEWEST_GPUS = "fewest-gpus"


def search(
    config: ConfigFile,
    settings: AxisSettings = [],  # noqa: B006 (typer copies it)
    axes_file: AxesFile = None,
    goals: Annotated[
        list[str],
        typer.Option("--goal", metavar="FIGURE", help="To be as good as can be; min:, max: force a way."),
    ] = [],  # noqa: B006
    limits: Annotated[
        list[str],
        typer.Option("--limit", metavar="CONDITION", help="To be kept, such as 'p99_ttft_ms <= 200'."),
    ] = [],  # noqa: B006
    system: Annotated[
        str | None, typer.Option("--system", metavar="NAME", help="The system that is meant.")
    ] = None,
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", help="Points to try; all, if there are no more.")
    ] = 100,
    recipe: Annotated[
        Recipe | None,
        typer.Option("--recipe", help="fewest-gpus: how many replicas keep the limits, and of which kind."),
    ] = None,
    most: Annotated[
        int, typer.Option("--most", metavar="N", help="Replicas that the recipe tries at most.")
    ] = 64,
    seeds: Seeds = 1,
    jobs: Jobs = 0,
    cluster: Cluster = None,
    out: SweepFolder = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Find the best settings within limits.

    Limits are those of slo, and --limit. Prints a table, writes search.json and a page. The whole grid of
    the axes is run if it has up to --trials points, else Optuna chooses so many. The same command goes on
    where it was stopped. Exit code 2 if a point failed.
    """
    from reports import files
    from sim.studies.axes import parse
    from sim.studies.goals import Goal, limits_of
    from sim.studies.sweep import Experiment, Runs

    wanted_goals = [Goal.parse(text) for text in goals]
    fixed, axes = parse(settings, axes_file)
    experiment = Experiment(config, tuple(fixed), seeds)
    first = experiment.first(axes)
    if system is not None and system not in first.systems:
        raise InputError(f"--system {system}: {nearest(system, list(first.systems))}")
    wanted_limits = limits_of(first, limits)
    folder = out or Path("runs") / f"{first.name}-search"
    files.require_writable(folder)
    files.require_same_experiment(folder / f"{recipe or 'search'}.json", experiment.digest(), force)
    with terminal.time_left(quiet) as tell:
        runs = Runs(folder, workers_of(jobs, cluster), tell)
        if recipe is None:
            from reports import search as report
            from sim.studies.tuning import Wanted
            from sim.studies.tuning import search as best

            found = best(Wanted(experiment, axes, system, wanted_goals, wanted_limits), trials, runs)
            paths, table, failures = report.write(found, folder), report.table(found), found.failures
        else:
            from reports import fewest_gpus as fleet_report
            from sim.studies.fewest_gpus import fewest_gpus

            fleets = fewest_gpus(experiment, axes, system, wanted_limits, most, runs)
            paths, table = fleet_report.write(fleets, folder), fleet_report.table(fleets)
            failures = fleets.failures
    if not quiet:
        terminal.show(table, paths)
    require_none([f"{failure.point}: {failure.message}" for failure in failures])
