"""``python -m sim breakeven``: when a cache write pays for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reports import terminal
from sim.commands.options import Day, Quiet, day_of


def breakeven(
    offers: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROVIDER[:MODEL]", help="Default: every provider that ships."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to write; default runs/breakeven.")
    ] = Path("runs/breakeven"),
    day: Day = "2026-11-24",
    quiet: Quiet = False,
) -> None:
    """When a provider's cache write pays for itself.

    Prints a table, writes breakeven.csv and breakeven.png.
    """
    from sim.providers import breakeven as study
    from sim.providers import rulebook

    found = study.offers(offers or rulebook.names(), day_of(day))

    from reports import breakeven as report
    from reports import files

    files.require_writable(out)
    paths = report.write(found, out)
    if not quiet:
        terminal.show(report.table(found), paths)
