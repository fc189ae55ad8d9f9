"""``python -m sim sweep``: every combination of some settings."""

from __future__ import annotations

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
    Metrics,
    Quiet,
    Seeds,
    SweepFolder,
    pair_of,
    workers_of,
)
from workloads.errors import InputError


def sweep(
    config: ConfigFile,
    settings: AxisSettings = [],  # noqa: B006 (typer copies it)
    axes_file: AxesFile = None,
    seeds: Seeds = 1,
    metrics: Metrics = [],  # noqa: B006
    pareto: Annotated[
        str | None,
        typer.Option("--pareto", metavar="A,B", help="Two figures: mark what nothing beats in both."),
    ] = None,
    jobs: Jobs = 0,
    cluster: Cluster = None,
    shard: Annotated[
        str, typer.Option("--shard", metavar="I/N", help="Compute the I-th of N parts of the jobs only.")
    ] = "1/1",
    out: SweepFolder = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Run every combination of the axes.

    Prints a table, writes sweep.json, sweep.csv, sweep.html and a figure for each metric.

    Jobs that are finished are kept in DIR/jobs and never computed twice: the same command goes on where it
    was stopped, and a larger sweep uses those of a smaller one. Exit code 2 if a combination failed.
    """
    from sim.studies.axes import parse
    from sim.studies.sweep import Experiment, Plan, chosen

    both = pair_of(pareto, "--pareto") if pareto else None
    chosen(metrics, both)  # before anything is computed
    part = _shard(shard)
    fixed, axes = parse(settings, axes_file)
    experiment = Experiment(config, tuple(fixed), seeds)
    plan = Plan.of(experiment, axes)
    folder = out or Path("runs") / f"{plan.points[0][1][0].config.name}-sweep"

    from reports import files
    from reports import sweep as report

    files.require_writable(folder)
    files.require_same_experiment(folder / "sweep.json", experiment.digest(), force)
    with terminal.time_left(quiet) as tell:
        failed = plan.compute(folder, workers_of(jobs, cluster), tell, part)
        left = plan.missing(folder) - len(failed)
        if left and part != (1, 1):
            if not quiet:
                typer.echo(f"{left} of {len(plan.jobs)} jobs are left to other shards in {folder}")
            require_none(list(failed.values()))
            return
        study = plan.finish(folder, failed, metrics, both)
        paths = report.write(study, folder)
    if not quiet:
        terminal.show(report.table(study), paths)
    require_none([f"{failure.point}: {failure.message}" for failure in study.failures])


def _shard(text: str) -> tuple[int, int]:
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise InputError(f"--shard {text}; allowed: I/N with I from 1 to N, such as 2/8")
    return int(i), int(n)


def require_none(failures: list[str]) -> None:
    """InputError that tells of the first of ``failures``; all are in the files, and in the table."""
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise InputError(f"failed: {failures[0]}{more}")
