"""``python -m sim capacity``: the highest rate within limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.commands.options import ConfigFile, Force, OutFolder, Overrides, Quiet
from sim.commands.studied import shown


def capacity(
    config: ConfigFile,
    out: OutFolder = None,
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    precision: Annotated[
        float,
        typer.Option("--precision", metavar="SHARE", help="How exactly to find the rate, relative."),
    ] = 0.02,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """The highest rate that meets `slo`, with and without cache.

    Prints a table, writes capacity.json and figures. Changes workload.arrival.rate_per_s, or
    arrival.speed of a recorded trace; all else stays the same.
    """
    from sim.config import load_config
    from sim.studies.capacity import study

    loaded = load_config(config, overrides)
    folder = out or Path("runs") / loaded.name

    from reports import capacity as report
    from reports import files

    files.require_writable(folder)
    files.require_free(config, loaded, folder, force)
    shown(lambda progress: study(loaded, precision, progress), report, folder, quiet)
