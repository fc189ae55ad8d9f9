"""All systems of an experiment in one table, and the sentence that answers which one is best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports import units
from reports.rows import UNCHANGED, bounds, sizes
from reports.units import Format
from sim.results import intervals
from sim.results.intervals import Flat
from sim.results.summary import Bounds, Comparison, RankedSystem, Summary


def plain(value: float) -> str:
    """Three significant digits."""
    return units.significant(value)


@dataclass(frozen=True, slots=True)
class Column:
    """A figure as a column: its heading, and how its values are written."""

    figure: str
    heading: str
    text: Format
    in_words: str = ""
    """How a sentence calls it, where that is not the heading."""

    @property
    def noun(self) -> str:
        """How a sentence calls it."""
        return self.in_words or self.heading


TIME = "_ms"
COLUMNS = (
    Column("completed", "requests completed", units.count_of),
    Column("request_goodput", "requests/s within slo", plain),
    Column("mean_ttft_ms", "TTFT mean", plain),
    Column("p99_ttft_ms", "TTFT p99", plain),
    Column("cache.prefix_cache_hit_rate", "hit rate, by tokens", units.percent, "hit rate by tokens"),
    Column("cost.cost_usd_total", "dollars", units.usd, "bill"),
    Column("mean_tpot_ms", "TPOT mean", plain),
    Column("p50_ttft_ms", "TTFT p50", plain),
    Column("p99_e2el_ms", "E2E p99", plain),
    Column("computed_prompt_tokens", "prompt tokens computed", units.tokens),
    Column("cache.request_hit_rate", "requests with a hit", units.percent),
    Column("cache.evicted_blocks", "evicted blocks", units.count_of),
    Column("gpu_busy_seconds", "GPU-hours busy", units.gpu_hours),
)
"""What is shown of every system where it differs between them, the most important first."""


def column(figure: str) -> Column:
    """How ``figure`` is shown."""
    known = (known for known in COLUMNS if known.figure == figure)
    return next(known, Column(figure, figure.rpartition(".")[2].removesuffix(TIME), plain))


def table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Headings and rows, the best system first; columns that no system has, or all share, are left out."""
    comparison = summary["comparison"]
    assert comparison is not None
    names = [row["system"] for row in comparison["rows"]]
    flats = {name: intervals.flat(summary["systems"][name]) for name in names}
    asked = column(comparison["by"])
    others = [c for c in COLUMNS if c.figure != asked.figure]
    cells = {c: [_value(summary, name, c, flats) for name in names] for c in others}
    shown = [c for c in others if len(set(cells[c])) > 1]
    if not any(summary["systems"][name]["failed"] for name in names):
        shown = [c for c in shown if c.figure != "completed"]
    headings = ["system", asked.heading, f"against {units.shortened(comparison['baseline'], 20)}"]
    rows = [
        [
            units.printable(row["system"]),
            _of(summary, row["system"], asked, flats),
            _against(row, comparison),
            *(cells[c][i] for c in shown),
        ]
        for i, row in enumerate(comparison["rows"])
    ]
    return headings + [c.heading for c in shown], rows


def place_of_baseline(summary: Summary) -> int:
    """In which row of the table the baseline is."""
    comparison = summary["comparison"]
    assert comparison is not None
    return [row["system"] for row in comparison["rows"]].index(comparison["baseline"])


def _of(summary: Summary, system: str, of: Column, flats: Mapping[str, Flat]) -> str:
    in_s = any(flat.get(of.figure, 0.0) >= units.MS_PER_S for flat in flats.values())
    return _value(summary, system, of, flats, in_s=in_s)


def _value(
    summary: Summary, system: str, of: Column, flats: Mapping[str, Flat], *, in_s: bool | None = None
) -> str:
    return _cell(of, flats[system].get(of.figure), bounds(summary, "systems", system, of.figure), in_s=in_s)


def _cell(of: Column, value: float | None, bounds: Bounds, *, in_s: bool | None = None) -> str:
    """``in_s``: whether times are in seconds; by default after their size."""
    if value is None:
        return ""
    if of.figure.endswith(TIME):
        return units.bounded_ms(value, bounds, value >= units.MS_PER_S if in_s is None else in_s)
    return units.bounded(value, bounds, of.text)


def _against(row: RankedSystem, comparison: Comparison) -> str:
    """How much more or less than the baseline; that it is the same where the interval says nothing else."""
    ratio, bounds = row["difference_ratio"], row["difference_ratio_interval"]
    if row["system"] == comparison["baseline"] or ratio is None:
        return "" if ratio is None else "-"
    sign = "+" if ratio > 0 else ""
    return sign + units.bounded(ratio, bounds, units.percent)


def sentence(summary: Summary) -> str:
    """Which system is best, by how much, and whether that holds."""
    comparison = summary["comparison"]
    assert comparison is not None
    rows, asked = comparison["rows"], column(comparison["by"])
    best = rows[0]
    if best["value"] is None:
        return f"No system has the figure {asked.noun}."
    most = "highest" if comparison["higher_is_better"] else "lowest"
    of_best, what = _cell(asked, best["value"], best["interval"]), asked.noun
    name = units.printable(best["system"])
    if comparison["winner"] is not None:
        return f"{name} has the {most} {what}: {of_best}{_margin(comparison)}."
    if not comparison["tied"]:
        return (
            f"In this run {name} has the {most} {what}: {of_best}; whether the differences hold cannot be "
            "told from it."
        )
    tied = comparison["tied"]
    if len(tied) == len(rows):
        return f"No difference in {what} holds between the {len(rows)} systems: {of_best} for {name}."
    listed = _listed([units.printable(system) for system in tied])
    others = len(rows) - len(tied)
    return (
        f"{listed} have the {most} {what} ({of_best} for {name}); no difference between them "
        f"holds, and {name} differs from the {'other' if others == 1 else f'{others} others'}."
    )


def _margin(comparison: Comparison) -> str:
    """By how much the winner differs from the baseline, or from the next one where it is that itself."""
    best, second = comparison["rows"][0], comparison["rows"][1]
    if best["system"] != comparison["baseline"] and best["difference_ratio"] is not None:
        ratio, ends = best["difference_ratio"], best["difference_ratio_interval"]
        if abs(ratio) < UNCHANGED:
            return ""
        size = units.bounded(abs(ratio), sizes(ends), units.percent)
        return f", {size} {'more' if ratio > 0 else 'less'} than {units.printable(comparison['baseline'])}"
    if second["value"] is None:
        return ""
    next_one = _cell(column(comparison["by"]), second["value"], second["interval"])
    return f"; the next is {units.printable(second['system'])} with {next_one}"


def _listed(names: Sequence[str]) -> str:
    if len(names) <= 5:
        return ", ".join(names[:-1]) + f" and {names[-1]}"
    return ", ".join(names[:4]) + f" and {len(names) - 4} more"
