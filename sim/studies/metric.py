"""Figures by name: where in summary.json a figure stands, its unit, and which way is better.

A name is a dotted path below a system's entry, such as ``cache.prefix_cache_hit_rate``, or the end of one
where that is enough: ``prefix_cache_hit_rate``. The twin without a cache is ``no_cache.p99_ttft_ms``, what
the cache saves ``savings.p99_ttft_ms.saved_ratio``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin

from sim.results.about import described, is_record
from sim.results.summary import SavedFigure, Saving
from sim.results.summary_system import SystemEntry, is_better_high
from workloads.errors import InputError


def _good_share(entry: Any) -> float | None:
    ended = entry["completed"] + entry["failed"]
    if entry["request_goodput"] is None or not ended:
        return None
    return float(round(entry["request_goodput"] * entry["duration"]) / ended)


def _gpus(entry: Any) -> float | None:
    held_s = entry["cost"]["gpu_seconds"]
    return round(held_s / entry["duration"]) if held_s and entry["duration"] else None


def _usd_per_hour(entry: Any) -> float | None:
    usd, duration_s = entry["cost"]["cost_usd_total"], entry["duration"]
    return None if usd is None or not duration_s else usd / duration_s * 3600


DERIVED: dict[str, tuple[str, Callable[[Any], float | None]]] = {
    "good_share": ("0-1", _good_share),
    "gpus": ("count", _gpus),
    "cost_usd_per_hour": ("USD", _usd_per_hour),
}
"""Figures that follow from others of an entry: the share of requests within ``slo``, GPUs held, and the
bill by the hour, which runs that are measured for different times can be compared by."""
USUAL = (
    "cache.prefix_cache_hit_rate",
    "mean_ttft_ms",
    "p99_ttft_ms",
    "request_goodput",
    "cost.cost_usd_total",
)
"""What is shown where nothing else is asked for, as far as there is a value."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of a system that a study shows, compares or optimises."""

    path: str
    """Below the summary's entry of the system."""
    unit: str
    """As in docs/outputs.md."""

    @property
    def name(self) -> str:
        """The figure without the section that it stands in."""
        return self.path.removeprefix("cache.").removeprefix("cost.")

    @property
    def higher_is_better(self) -> bool:
        """Which way is better; of no figure is it both."""
        return is_better_high(self.path)

    def of(self, summary: Any, system: str) -> float | None:
        """The figure in a summary; None where it could not be computed or does not exist."""
        section, _, rest = self.path.partition(".")
        if section in ("no_cache", "savings"):
            value = summary[section][system]
        else:
            value, rest = summary["systems"][system], self.path
        if rest in DERIVED and section != "savings":
            return DERIVED[rest][1](value)
        for key in rest.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def metric(name: str, where: str) -> Metric:
    """The figure called ``name``; InputError, with ``where`` it was asked for, if there is not one."""
    known = units()
    if name in known:
        return Metric(name, known[name])
    ends = [path for path in known if path.endswith(f".{name}")]
    own = [path for path in ends if not path.startswith(("no_cache.", "savings."))]
    for found in (own, ends):
        if len(found) == 1:
            return Metric(found[0], known[found[0]])
    section, _, last = name.rpartition(".")  # by a name of the user's, such as that of a tier
    if last and f"{section}.*" in known:
        return Metric(name, known[f"{section}.*"])
    if ends:
        raise InputError(f"{where}: {name!r} may be {', '.join(ends)}; allowed: one of them")
    shorts = {Metric(path, "").name for path in known}
    near = get_close_matches(name, shorts, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(
        f"{where}: no figure {name!r}; {hint}allowed: {', '.join(DERIVED)}, or a number of docs/outputs.md"
    )


def flat(summary: Any, system: str) -> dict[str, float | None]:
    """Every figure of a system by its path, its cache and its cost included."""
    out: dict[str, float | None] = {}
    known = units()

    def visit(section: Any, before: str) -> None:
        for key, value in section.items():
            if isinstance(value, dict):
                visit(value, f"{before}{key}.")
            elif before + key in known or f"{before}*" in known:
                out[before + key] = value

    visit(summary["systems"][system], "")
    return out


@cache
def units() -> dict[str, str]:
    """Unit of every figure by its path, from the types of summary.json; ``*`` stands for any name."""
    own = dict(_numbers(SystemEntry, "")) | {name: unit for name, (unit, _) in DERIVED.items()}
    out = {**own, **{f"no_cache.{path}": unit for path, unit in own.items()}}
    for figure in get_args(SavedFigure):
        unit = own.get(figure) or own[f"cost.{figure}"]
        for path, part in _numbers(Saving, f"savings.{figure}."):
            out[path] = part if part == "0-1" else unit
    return out


def _numbers(record: Any, before: str) -> Iterator[tuple[str, str]]:
    for field in described(record):
        kinds = [kind for kind in (get_args(field.kind) or (field.kind,)) if kind is not NoneType]
        path = before + field.key
        if get_origin(field.kind) is dict or get_origin(kinds[0]) is dict:
            inner = get_args(field.kind if get_origin(field.kind) is dict else kinds[0])[1]
            if inner in (int, float):
                yield f"{path}.*", field.about.unit
        elif is_record(kinds[0]):
            yield from _numbers(kinds[0], f"{path}.")
        elif all(kind in (int, float) for kind in kinds):
            yield path, field.about.unit
