"""The figures of summary.json as data frames, for notebooks and spreadsheets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sim.results.intervals import flat
from sim.results.request_table import TWIN
from sim.results.summary import Bounds, Comparison, Summary

if TYPE_CHECKING:
    import pandas as pd

NO_BOUNDS = (math.nan, math.nan)


def systems(summary: Summary) -> pd.DataFrame:
    """A row per system and per twin without a cache (`/no-cache`), a column per figure."""
    import pandas as pd

    rows = {
        name + ending: flat(entry)
        for ending, entries in (("", summary["systems"]), (TWIN, summary["no_cache"]))
        for name, entry in entries.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")


def savings(summary: Summary) -> pd.DataFrame:
    """What the caches save: a row per system and figure; ``low`` and ``high`` bound ``saved_ratio``."""
    import pandas as pd

    intervals = summary["intervals"]
    rows = []
    for system, figures in summary["savings"].items():
        for figure, saving in figures.items():
            bounds: Bounds = None
            if intervals is not None:
                bounds = intervals["savings"][system][figure]["saved_ratio"]
            low, high = bounds or NO_BOUNDS
            rows.append({"system": system, "figure": figure, **saving, "low": low, "high": high})
    return pd.DataFrame(rows).set_index(["system", "figure"]).astype(float)


def ranking(comparison: Comparison) -> pd.DataFrame:
    """The systems by a figure, the best first; ``tied`` with the best are those that do not differ from it.

    It is None where the run cannot tell. ``low`` and ``high`` are the bounds of 95 % intervals, those of
    the difference with that name before.
    """
    import pandas as pd

    rows = []
    for row in comparison["rows"]:
        low, high = row["interval"] or NO_BOUNDS
        less, more = row["difference_ratio_interval"] or NO_BOUNDS
        rows.append(
            {
                "system": row["system"],
                comparison["by"]: row["value"],
                "low": low,
                "high": high,
                "difference_ratio": row["difference_ratio"],
                "difference_low": less,
                "difference_high": more,
                "tied": row["system"] in comparison["tied"] if comparison["tied"] else None,
            }
        )
    return pd.DataFrame(rows).set_index("system")
