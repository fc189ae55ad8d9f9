"""The tables of a run as CSV, for spreadsheets: ``systems.csv`` and what is otherwise Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sim.results.intervals import flat
from sim.results.summary import Summary

if TYPE_CHECKING:
    import pandas as pd

    from sim.experiment import Result


def write(result: Result, summary: Summary, folder: Path) -> None:
    """Write ``systems.csv``, and a CSV beside each Parquet file that ``folder`` has already."""
    import pandas as pd

    systems(summary).to_csv(folder / "systems.csv", index=False)
    for path in sorted(folder.glob("*.parquet")):
        pd.read_parquet(path).to_csv(path.with_suffix(".csv"), index=False)


def systems(summary: Summary) -> pd.DataFrame:
    """A row per system and per twin without a cache (`/no-cache`): the figures of summary.json."""
    import pandas as pd

    from sim.results.request_table import TWIN

    rows = [
        {"system": name + ending, **flat(entry)}
        for ending, entries in (("", summary["systems"]), (TWIN, summary["no_cache"]))
        for name, entry in entries.items()
    ]
    return pd.DataFrame(rows)
