"""``python -m sim breakeven``: when a cache write pays for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reports import terminal
from sim.commands.options import Quiet
from workloads.errors import InputError


def breakeven(
    offers: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROVIDER[:MODEL]...", help="Default: every provider that ships."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to write; default runs/breakeven.")
    ] = Path("runs/breakeven"),
    day: Annotated[str, typer.Option("--day", metavar="DATE", help="Prices of which day.")] = "2026-11-24",
    quiet: Quiet = False,
) -> None:
    """When a provider's cache write pays for itself.

    Prints a table, writes breakeven.csv and breakeven.png.
    """
    from datetime import UTC, date, datetime, time

    from sim.providers import breakeven as study
    from sim.providers import rulebook

    try:
        start = datetime.combine(date.fromisoformat(day), time(), UTC)
    except ValueError:
        raise InputError(f"--day {day}: not a date; allowed: like 2026-11-24") from None
    if not 2000 <= start.year <= 2100:
        raise InputError(f"--day {day}: allowed: from 2000 to 2100")
    found = study.offers(offers or rulebook.names(), start)

    from reports import breakeven as report
    from reports import files

    files.require_writable(out)
    paths = report.write(found, out)
    if not quiet:
        terminal.show(report.table(found), paths)
