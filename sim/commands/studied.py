"""How a command that is a study ends: its files and its table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from reports import terminal

if TYPE_CHECKING:
    from reports.report import Report
    from sim.experiment import Progress

Studied = TypeVar("Studied")


def shown(study: Callable[[Progress], Studied], report: Report[Studied], folder: Path, quiet: bool) -> None:
    """Run a study, write its files and show its table."""
    with terminal.parts(quiet) as progress:
        studied = study(progress)
        progress("writing the report", 0, None)
        paths = report.write(studied, folder)
    if not quiet:
        terminal.show(report.table(studied), paths)
