"""The tables of a run as CSV, for spreadsheets: ``systems.csv`` and what is otherwise Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sim.results import frames
from sim.results.summary import Summary

if TYPE_CHECKING:
    from sim.result import Result


def write(result: Result, summary: Summary, folder: Path) -> None:
    """Write ``systems.csv``, and a CSV beside each Parquet file that ``folder`` has already."""
    import pandas as pd

    frames.systems(summary).to_csv(folder / "systems.csv")
    for path in sorted(folder.glob("*.parquet")):
        pd.read_parquet(path).to_csv(path.with_suffix(".csv"), index=False)
