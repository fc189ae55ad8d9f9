"""``python -m sim compare``: finished runs side by side, and a check for CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reports import terminal
from sim.commands.options import Metrics, Quiet


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Folders of runs; the first is the baseline.")
    ],
    metrics: Metrics = [],  # noqa: B006 (typer copies it)
    conditions: Annotated[
        list[str],
        typer.Option(
            "--fail-if",
            metavar="CONDITION",
            help="Such as 'p99_ttft_ms > 1.1x' (times the baseline's), 'SYSTEM: p99_ttft_ms > 200'. "
            "May be repeated.",
        ),
    ] = [],  # noqa: B006
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write compare.html there.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Finished runs side by side, with ratios to the first.

    Exit code 1 if a condition of --fail-if holds for a run after the first, 0 if not, 2 for bad input.
    """
    from reports import compare as report
    from sim.studies.compare import compare as compared

    study = compared(runs, metrics, conditions)
    paths = [] if out is None else report.write(study, out)
    if not quiet:
        terminal.show(report.table(study), paths)
    for breach in study.breaches:
        typer.echo(f"fails: {report.sentence(breach)}", err=True)
    if study.breaches:
        raise typer.Exit(1)
