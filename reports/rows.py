"""A system's figures without and with its cache, as the rows that console and HTML both show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reports import units
from reports.units import Format
from sim.results.summary import Bounds, SavedFigure, Saving, Summary
from sim.results.summary_cost import Pricing
from sim.results.summary_system import CacheFigures, SystemEntry

UNCHANGED = 0.0005
"""A change of less than this share (0.05 %) is told as no change."""
NOISE = 1e-9
"""A change of less than this share comes from the order of additions and is shown as 0."""


Part = Literal["no_cache", "systems"]
BOTH: tuple[Part, Part] = ("no_cache", "systems")
"""Without and with the cache, as in the summary."""
MONEY: dict[Pricing, str] = {
    "gpu_hours": "dollars, GPU-hours held",
    "tokens": "dollars, token prices",
    "provider": "dollars, provider",
}
"""What dollars pay for, by the pricing of the summary."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One quantity as text; a cell that does not exist is empty."""

    label: str
    without: str
    with_cache: str
    saved: str = ""
    saved_share: str = ""
    gain: int = 0
    """1 if the cache saves of it, -1 if it costs more, 0 if neither (or if that is no question)."""


def is_replay(entry: SystemEntry) -> bool:
    """Whether a cache alone was replayed; engines and hosted APIs serve in simulated time."""
    hosted = entry["cost"]["pricing"] == "provider"
    return not hosted and entry["duration"] is None and not entry["failed"]


def compare(summary: Summary, system: str) -> list[TableRow]:
    """The rows of ``system``; what it does not have is left out."""
    rows = [
        *_unserved(summary, system),
        _saved(summary, system, "computed_prompt_tokens", "prompt tokens computed", units.tokens),
        _both(summary, system, "prefix_cache_hit_rate", "hit rate, by tokens", units.percent),
        *_origins(summary["systems"][system]["cache"]),
        _both(summary, system, "request_hit_rate", "requests with a hit", units.percent),
        _time(summary, system, "p50_ttft_ms", "TTFT p50"),
        _time(summary, system, "p99_ttft_ms", "TTFT p99"),
        _time(summary, system, "mean_tpot_ms", "TPOT mean"),
        _drafts(summary, system),
        _goodput(summary, system),
        _saved(summary, system, "gpu_seconds", "GPU-hours held", units.gpu_hours),
        _saved(summary, system, "gpu_busy_seconds", "GPU-hours busy", units.gpu_hours),
        *_money(summary, system),
        _both(summary, system, "evicted_blocks", "evicted blocks", units.count_of),
        _both(summary, system, "num_preemptions", "preemptions", units.count_of),
    ]
    return [row for row in rows if row is not None]


def _unserved(summary: Summary, system: str) -> list[TableRow | None]:
    """Requests that did not complete, if any: the other rows do not count them."""
    without, with_cache = summary["no_cache"][system], summary["systems"][system]
    if not without["failed"] and not with_cache["failed"]:
        return []
    kinds = (
        ("completed", "requests completed"),
        ("rejected", "requests rejected"),
        ("timed_out", "requests timed out"),
        ("aborted", "requests aborted"),
    )
    counts: list[tuple[str, int, int]] = [
        (label, _at(without, key), _at(with_cache, key)) for key, label in kinds
    ]
    return [
        TableRow(label, units.count_of(before), units.count_of(after))
        for label, before, after in counts
        if before or after
    ]


def _origins(cache: CacheFigures) -> list[TableRow]:
    """Which tier the hits came from, and what keeping tenants apart lost of them, in tokens."""
    tiers = cache["prefix_cache_hits_tokens_by_tier"] or {}
    rows = [
        TableRow(f"- tokens read from {units.printable(tier)}", "", units.tokens(hits))
        for tier, hits in tiers.items()
    ]
    lost = cache["hits_lost_to_isolation_tokens"]
    return (
        rows
        if lost is None
        else [*rows, TableRow("- hit tokens lost to isolation", "", units.tokens(lost))]
    )


def _drafts(summary: Summary, system: str) -> TableRow | None:
    """Tokens per verification, where there is speculative decoding."""
    lengths = [summary[part][system].get("spec_decode_mean_acceptance_length") for part in BOTH]
    cells = ["" if length is None else f"{length:.2f}" for length in lengths]
    return TableRow("tokens per verification", cells[0], cells[1]) if any(cells) else None


def _goodput(summary: Summary, system: str) -> TableRow | None:
    """Requests per second within the service-level limits, where there are some."""
    without, with_cache = (summary[part][system]["request_goodput"] for part in ("no_cache", "systems"))
    if without is None or with_cache is None:
        return None
    return TableRow("requests/s within slo", f"{without:.3g}", f"{with_cache:.3g}")


def money_label(entry: SystemEntry) -> str:
    """What the dollars of a system pay for."""
    return MONEY[entry["cost"]["pricing"] or "tokens"]


def _money(summary: Summary, system: str) -> list[TableRow | None]:
    label = money_label(summary["systems"][system])
    return [
        _saved(summary, system, "cost_usd_total", label, units.usd),
        _saved(summary, system, "cost_usd_busy", "dollars, GPU-hours busy", units.usd),
        *_bill(summary, system),
    ]


def _bill(summary: Summary, system: str) -> list[TableRow | None]:
    """What the bill of a provider consists of, and what the best strategy would have cost."""
    entry = summary["systems"][system]
    bill, before = entry["cost"].get("bill"), summary["no_cache"][system]["cost"].get("bill")
    if bill is None or before is None:
        return []
    parts = [("uncached input", "uncached_input_usd"), ("cache reads", "cache_read_usd")]
    parts += [("cache storage", "storage_usd"), ("output", "output_usd")]
    rows = [_two(f"- {label}", _at(before, key), _at(bill, key)) for label, key in parts]
    writes = [
        _two(f"- cache writes, {name}", before["cache_write_usd"][name], usd)
        for name, usd in bill["cache_write_usd"].items()
    ]
    rows = [rows[0], *writes, *rows[1:]]
    spread, spread_before = bill["usd_per_session"], before["usd_per_session"]
    rows += [
        _two(f"dollars per session, {key}", _at(spread_before, key), _at(spread, key))
        for key in ("p50", "p99")
    ]
    rows.append(
        _two("dollars per 1,000 sessions", before["usd_per_1000_sessions"], bill["usd_per_1000_sessions"])
    )
    for label, count in (
        ("tokens of cache objects", bill["cache_object_tokens"]),
        ("requests that overflowed", bill["overflowed_requests"]),
    ):
        if count:
            rows.append(TableRow(label, "", units.count_of(count)))
    best = entry.get("regret")
    if best is not None:
        strategy = units.printable(best["best_strategy"])
        rows.append(TableRow(f"dollars with {strategy}", "", units.usd(best["best_cost_usd"])))
    return rows


def _two(label: str, without: float, with_cache: float) -> TableRow | None:
    return TableRow(label, units.usd(without), units.usd(with_cache)) if without or with_cache else None


def bounds(summary: Summary, part: Part, system: str, figure: str) -> Bounds:
    """The interval of a figure, named with or without what it is part of."""
    intervals = summary["intervals"]
    of_system = {} if intervals is None else intervals[part][system]
    return of_system.get(figure) or of_system.get(f"cost.{figure}") or of_system.get(f"cache.{figure}")


def saved_bounds(summary: Summary, system: str, key: SavedFigure) -> tuple[Bounds, Bounds]:
    """The intervals of what is saved of a figure, and of that as a share."""
    intervals = summary["intervals"]
    if intervals is None:
        return None, None
    of_saving = intervals["savings"][system][key]
    return of_saving["saved"], of_saving["saved_ratio"]


def sizes(ends: Bounds) -> Bounds:
    """The interval of a difference as that of its size."""
    return None if ends is None else (min(map(abs, ends)), max(map(abs, ends)))


def _saved(summary: Summary, system: str, key: SavedFigure, label: str, text: Format) -> TableRow | None:
    figure = summary["savings"][system][key]
    of_saved, of_share = saved_bounds(summary, system, key)
    of_cells = [bounds(summary, part, system, key) for part in BOTH] + [of_saved]
    cells = [
        "" if value is None else units.bounded(value, of_value, text, of=of)
        for value, of_value, of in zip(_values(figure), of_cells, _wholes(figure), strict=True)
    ]
    return _row(label, cells, figure, of_share)


def _time(summary: Summary, system: str, key: SavedFigure, label: str) -> TableRow | None:
    figure = summary["savings"][system][key]
    of_saved, of_share = saved_bounds(summary, system, key)
    of_cells = [bounds(summary, part, system, key) for part in BOTH] + [of_saved]
    values, wholes = _values(figure), _wholes(figure)
    in_s = max((abs(value) for value in values if value is not None), default=0) >= units.MS_PER_S
    cells = [
        "" if value is None else units.bounded_ms(value, of_value, in_s, of=of)
        for value, of_value, of in zip(values, of_cells, wholes, strict=True)
    ]
    return _row(label, cells, figure, of_share)


def _values(figure: Saving) -> tuple[float | None, float | None, float | None]:
    """(without, with, saved) of an entry of the summary's savings."""
    saved, share = figure["saved"], figure["saved_ratio"]
    if share is not None and abs(share) < NOISE:
        saved = 0.0
    return figure["without"], figure["with"], saved


def _wholes(figure: Saving) -> tuple[None, None, float | None]:
    """What each of `_values` is a part of: what is saved, of the figure without a cache."""
    return None, None, figure["without"]


def _row(label: str, cells: list[str], figure: Saving, of_share: Bounds) -> TableRow | None:
    without, with_cache, saved = cells
    if not without and not with_cache:
        return None
    share = figure["saved_ratio"]
    if share is None:
        return TableRow(label, without, with_cache, saved)
    if abs(share) < NOISE:
        share = 0.0
    gain = (share >= UNCHANGED) - (share <= -UNCHANGED)
    if of_share is not None and of_share[0] <= 0 <= of_share[1]:
        gain = 0  # no change that holds
    return TableRow(label, without, with_cache, saved, units.bounded(share, of_share, units.percent), gain)


def _both(summary: Summary, system: str, key: str, label: str, text: Format) -> TableRow | None:
    cells = []
    for part in BOTH:
        value = _at(summary[part][system]["cache"], key)
        of_value = bounds(summary, part, system, key)
        cells.append("" if value is None else units.bounded(value, of_value, text))
    return TableRow(label, cells[0], cells[1]) if cells[0] or cells[1] else None


def _at(figures: Mapping[str, Any], key: str) -> Any:
    """The figure of that name, for rows that are made from a list of names."""
    return figures[key]
