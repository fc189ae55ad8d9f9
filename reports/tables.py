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
    from pyarrow import csv, parquet

    frames.systems(summary).to_csv(folder / "systems.csv")
    for path in sorted(folder.glob("*.parquet")):
        table = parquet.ParquetFile(path)
        with csv.CSVWriter(path.with_suffix(".csv"), table.schema_arrow) as writer:
            for batch in table.iter_batches():  # a large run never lies in memory as a whole
                writer.write_batch(batch)
