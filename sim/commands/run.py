"""``python -m sim run``: an experiment: one trace through its systems, the table and the files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reports import terminal
from sim.commands.options import (
    AsJson,
    Cluster,
    ConfigFile,
    Force,
    OutFolder,
    Overrides,
    Parts,
    Quiet,
    RunJobs,
    SkipLines,
    skipping,
    workers_of,
)
from workloads.errors import InputError

if TYPE_CHECKING:
    from sim.parts.running import Parted


def run(
    config: ConfigFile,
    out: OutFolder = None,
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="N", help="Run N seeds; figures are their means.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="GOAL", help="Add seeds until 'saved_p50_ttft <= 5%' (half an interval)."
        ),
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="A table of every system too, not only one of all.")
    ] = False,
    skip_bad_lines: SkipLines = None,
    jobs: RunJobs = None,
    parts: Parts = None,
    cluster: Cluster = None,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Write timeline.json, for https://ui.perfetto.dev.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Write the tables as CSV files, too.")] = False,
    as_json: AsJson = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Run an experiment, print its table and write its files.

    Writes config.yaml (resolved), summary.json, requests.parquet and report.html. --json prints what
    summary.json holds.

    With --jobs, --parts or --cluster its systems, their twins without a cache, and replicas that never meet
    are simulated apart from each other, with the same bytes. Parts that are finished are kept in DIR/parts
    until all are: the same command goes on where it was stopped.
    """
    from sim import experiment
    from sim.config import load_config
    from sim.studies.seeds import Until, run_seeds

    goal = None if until is None else Until.parse(until)
    overrides = skipping(overrides, skip_bad_lines)
    loaded = load_config(config, overrides if seeds is None else [*overrides, f"seeds={seeds}"])
    folder = out or Path("runs") / loaded.name

    from reports import files, tables
    from reports import timeline as timeline_report

    files.require_writable(folder)
    files.require_free(config, loaded, folder, force)
    silent = quiet or as_json
    also = [write for wanted, write in ((csv, tables.write), (timeline, timeline_report.write)) if wanted]
    parted = _parted(folder, jobs, parts, cluster, silent)
    if parted is not None and timeline:
        raise InputError(
            "--timeline shows iterations of all replicas; allowed: without --jobs, --parts and --cluster"
        )
    with terminal.parts(silent) if parted is None else terminal.time_left(silent) as progress:
        result = run_seeds(loaded, progress, goal, experiment.run if parted is None else parted.run)
        progress("writing the report", 0, None)
        summary = result.summary()
        files.write(result, summary, folder, also=also)
    if parted is not None:
        parted.clear()
    if as_json:
        terminal.show_json(summary)
    elif not quiet:
        from reports import console

        terminal.show(console.table(summary, terminal.width(), details=details))
        typer.echo(f"Report: {folder / 'report.html'}")


def _parted(
    folder: Path, jobs: int | None, parts: int | None, cluster: str | None, quiet: bool
) -> Parted | None:
    """What runs an experiment in parts; None if that is not asked for."""
    if jobs is None and parts is None and cluster is None:
        return None
    from sim.parts.running import Parted

    if parts is not None and parts < 1:
        raise InputError(f"--parts {parts}; allowed: 1, 2, ...")
    workers = workers_of(1 if jobs is None and cluster is None else jobs or 0, cluster)

    said: set[str] = set()  # once, whatever the number of seeds

    def say(what: str) -> None:
        if not quiet and what not in said:
            said.add(what)
            typer.echo(what, err=True)

    return Parted(folder / "parts", workers, parts, say)
