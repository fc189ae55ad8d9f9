"""``python -m sim run``: an experiment: one trace through its systems, the table and the files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reports import terminal
from sim.commands.options import ConfigFile, Force, OutFolder, Overrides, Quiet, SkipLines, skipping


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
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Run an experiment, print its table and write its files.

    Writes config.yaml (resolved), summary.json, requests.parquet and report.html.
    """
    from sim.config import load_config
    from sim.studies.seeds import Until, run_seeds

    goal = None if until is None else Until.parse(until)
    overrides = skipping(overrides, skip_bad_lines)
    loaded = load_config(config, overrides if seeds is None else [*overrides, f"seeds={seeds}"])
    folder = out or Path("runs") / loaded.name

    from reports import files

    files.require_writable(folder)
    files.require_free(config, loaded, folder, force)
    with terminal.parts(quiet) as progress:
        result = run_seeds(loaded, progress, goal)
        progress("writing the report", 0, None)
        summary = result.summary()
        files.write(result, summary, folder)
    if not quiet:
        from reports import console

        terminal.show(console.table(summary, terminal.width(), details=details))
        typer.echo(f"Report: {folder / 'report.html'}")
