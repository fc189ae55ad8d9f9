"""Finished runs side by side, the first one as the baseline, and conditions that make a check fail."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.results.about import described, is_record
from sim.results.summary_system import SystemEntry
from sim.studies.metric import USUAL, Metric, metric
from workloads.documents import read_json
from workloads.errors import InputError
from workloads.shown import nearest
from workloads.staging import settle

ALLOWED = "[SYSTEM:]FIGURE >|>=|<|<= NUMBER[x|%], such as 'p99_ttft_ms > 1.1x'"
CONDITION = re.compile(
    r"\s*(?:(?P<system>[A-Za-z0-9][A-Za-z0-9_-]*)\s*:)?\s*(?P<metric>[\w./-]+)\s*"
    r"(?P<sign>>=|<=|>|<)\s*(?P<number>[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(?P<kind>x|%)?\s*"
)
SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip


SAME = {"seed": "seeds", "requests": "numbers of requests", "version": "versions"}
"""What should be the same in all runs, by its key."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished run: the folder as the user gave it, and its summary."""

    name: str
    summary: Any

    @staticmethod
    def read(folder: Path) -> Finished:
        """The run in ``folder``; InputError if there is none."""
        path = folder / "summary.json"
        settle(folder)
        summary = read_json(path, "folders that `run` wrote")
        if not _is_summary(summary):
            raise InputError(f"{path}: not the summary of a run; allowed: folders that `run` wrote")
        return Finished(str(folder), summary)

    def value(self, system: str, metric: Metric) -> float | None:
        """A figure; None where it could not be computed or the run has no such system."""
        return metric.of(self.summary, system) if system in self.summary["systems"] else None


def _is_summary(content: dict[str, Any]) -> bool:
    """Whether ``content`` has every system with all its figures, without and with its cache."""
    parts: list[Any] = [content.get(key) for key in ("systems", "no_cache", "savings")]
    if not all(isinstance(part, dict) and part.keys() == parts[0].keys() for part in parts):
        return False
    if not all(isinstance(content.get(key), int | str | None) for key in SAME):
        return False
    return all(_has_all(entry, SystemEntry) for part in parts[:2] for entry in part.values())


def _has_all(part: Any, record: Any) -> bool:
    """Whether ``part`` is an object with every key of ``record`` that follows from the configuration."""
    return isinstance(part, dict) and all(
        field.key in part and (not is_record(field.kind) or _has_all(part[field.key], field.kind))
        for field in described(record)
        if field.always
    )


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a figure of every run but the baseline: absolute, or as a ratio to the baseline's."""

    text: str
    system: str | None
    """None: every system."""
    metric: Metric
    sign: str
    bound: float
    relative: bool

    @staticmethod
    def parse(text: str, option: str = "--fail-if") -> Condition:
        """Read ``[SYSTEM:]FIGURE SIGN NUMBER``, with ``x`` for a ratio and ``%`` for a share.

        >>> condition = Condition.parse("own: p99_ttft_ms > 1.1x")
        >>> condition.system, condition.metric.path, condition.bound, condition.relative
        ('own', 'p99_ttft_ms', 1.1, True)
        >>> Condition.parse("prefix_cache_hit_rate < 60%").bound
        0.6
        """
        where = f"{option} {text}"
        found = CONDITION.fullmatch(text)
        try:
            bound = float(found["number"]) if found else math.nan
        except ValueError:
            bound = math.nan
        if found is None or not math.isfinite(bound):
            raise InputError(f"{where}: not a condition; allowed: {ALLOWED}")
        figure = metric(found["metric"], where)
        if found["kind"] == "%":
            if figure.unit != "0-1":
                raise InputError(f"{where}: {figure.name} is no share; allowed: {ALLOWED}")
            bound /= 100
        return Condition(text, found["system"], figure, found["sign"], bound, found["kind"] == "x")


@dataclass(frozen=True, slots=True)
class Breach:
    """A condition that holds for a system of a run."""

    condition: Condition
    run: str
    system: str
    value: float
    baseline: float | None
    """The baseline's figure, where the condition is about the ratio."""


BY_LENGTH = ("cost_usd_total", "cost_usd_busy")
"""Ends of names of figures that are sums over the measured time."""
DURATION = metric("duration", "")
UNLIKE = 1.01
"""Times whose lengths differ by more than this are told."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs side by side, system by system as they are called; the first run is the baseline."""

    runs: list[Finished]
    metrics: list[Metric]
    systems: list[str]
    """Those that at least two runs have (or the only run), in the order of the baseline."""
    breaches: list[Breach]

    @property
    def baseline(self) -> Finished:
        """What the others are compared with."""
        return self.runs[0]

    def notes(self) -> list[str]:
        """What has to be known about the comparison: other draws, other requests, other systems."""
        out = []
        for key, what in SAME.items():
            values = [run.summary.get(key) for run in self.runs]
            if len(set(values)) > 1:
                out.append(f"The runs have different {what}: {', '.join(map(str, values))}.")
        for run in self.runs:
            alone = [name for name in run.summary["systems"] if name not in self.systems]
            if alone:
                out.append(f"Only in {run.name}: {', '.join(alone)}.")
        return [*out, *self._of_unlike_lengths()]

    def _of_unlike_lengths(self) -> list[str]:
        """That dollars in all are of measured times of unlike length, of the first such system."""
        if not any(metric.path.endswith(BY_LENGTH) for metric in self.metrics):
            return []
        for system in self.systems:
            lengths_s = [length for run in self.runs if (length := run.value(system, DURATION))]
            if lengths_s and max(lengths_s) > UNLIKE * min(lengths_s):
                times = ", ".join(f"{length:,.0f} s" for length in lengths_s)
                return [
                    f"{system} is measured for {times}: its dollars are of that time; "
                    "--metric cost_usd_per_hour compares them."
                ]
        return []


def ratio(value: float | None, baseline: float | None) -> float | None:
    """``value`` as a multiple of ``baseline``: equal ones are 1, even if both are 0; None without both.

    >>> ratio(3, 2), ratio(0, 0), ratio(1, 0), ratio(None, 1)
    (1.5, 1.0, inf, None)
    """
    if value is None or baseline is None:
        return None
    if value == baseline:
        return 1.0
    return value / baseline if baseline else math.copysign(math.inf, value)


def compare(folders: list[Path], names: list[str], conditions: list[str]) -> Comparison:
    """Read the runs, choose the figures (``names``, or the usual ones) and try the conditions."""
    parsed = [Condition.parse(text) for text in conditions]
    asked = [metric(name, "--metric") for name in names]
    runs = [Finished.read(folder) for folder in folders]
    everything = dict.fromkeys(system for run in runs for system in run.summary["systems"])
    least = min(len(runs), 2)
    systems = [name for name in everything if sum(name in run.summary["systems"] for run in runs) >= least]
    if not systems:
        have = "; ".join(f"{run.name}: {', '.join(run.summary['systems'])}" for run in runs)
        raise InputError(
            f"no system is in two of the runs ({have}); allowed: runs with systems of the same name"
        )
    metrics = asked or [metric(name, "--metric") for name in USUAL]
    if not asked:
        metrics = [
            each
            for each in metrics
            if any(run.value(name, each) is not None for run in runs for name in systems)
        ]
    metrics = list(dict.fromkeys([*metrics, *(condition.metric for condition in parsed)]))
    breaches = [breach for condition in parsed for breach in tried(condition, runs)]
    return Comparison(runs, metrics, systems, breaches)


def tried(condition: Condition, runs: list[Finished]) -> list[Breach]:
    """Where a condition holds; InputError where that cannot be told, so no check passes unread.

    A condition without a system is about all systems of the baseline, and every run has to have them.
    """
    where = f"--fail-if {condition.text}"
    if condition.relative and len(runs) < 2:
        raise InputError(f"{where}: needs a baseline; allowed: two or more runs")
    baseline, others = runs[0], runs[1:] or runs
    out = []
    for run in others:
        for system in [condition.system] if condition.system else baseline.summary["systems"]:
            value = _known(where, run, system, condition.metric)
            base = _known(where, baseline, system, condition.metric) if condition.relative else None
            compared = ratio(value, base) if condition.relative else value
            assert compared is not None
            if SIGNS[condition.sign](compared, condition.bound):
                out.append(Breach(condition, run.name, system, value, base))
    return out


def _known(where: str, run: Finished, system: str, metric: Metric) -> float:
    have = run.summary["systems"]
    if system not in have:
        raise InputError(f"{where}: no system {system!r} in {run.name}; {nearest(system, list(have))}")
    value = run.value(system, metric)
    if value is None:
        raise InputError(
            f"{where}: {system} in {run.name} has no {metric.path}; allowed: a figure that it has"
        )
    return value
