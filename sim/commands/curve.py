"""``python -m sim curve``: the LRU hit rate at every cache size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.commands.options import ConfigFile, OutFolder, Overrides, Quiet
from sim.commands.studied import shown


def curve(
    config: ConfigFile,
    out: OutFolder = None,
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    block_size: Annotated[
        int | None,
        typer.Option("--block-size", metavar="N", help="Tokens; default: the trace's own blocks, or 16."),
    ] = None,
    sample: Annotated[
        float | None,
        typer.Option("--sample", metavar="RATE", help="Follow a share of the content, up to 1."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """The LRU hit rate at every cache size.

    Prints a table, writes curve.csv and curve.png.
    """
    from sim.config import load_config
    from sim.studies.curve_sampled import study

    loaded = load_config(config, overrides)
    folder = out or Path("runs") / loaded.name

    from reports import curve as report
    from reports import files

    files.require_writable(folder)
    shown(lambda progress: study(loaded, block_size, sample, progress), report, folder, quiet)
