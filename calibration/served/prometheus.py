"""Prometheus' text format, as far as servers of language models write it: samples and histograms."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from workloads.errors import InputError

SAMPLE = re.compile(r"(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)(?:\s+-?\d+)?")
LABEL = re.compile(r'\s*(?P<name>\w+)\s*=\s*"(?P<value>(?:[^"\\]|\\.)*)"\s*(?:,|$)')
ALLOWED = "allowed: metrics in Prometheus' text format"
MOST_COUNTED = 1e18


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: a value with its labels."""

    labels: dict[str, str]
    value: float


@dataclass(slots=True)
class Histogram:
    """Counts of values up to each bound, in s or tokens."""

    buckets: dict[float, float] = field(default_factory=dict)
    """By upper bound, each with all below it; the last bound is infinite."""
    sum: float = 0.0
    count: float = 0.0

    @property
    def mean(self) -> float:
        """Exact: the sum is counted too."""
        return self.sum / self.count

    def quantile(self, share: float) -> float:
        """Linear within the bucket, as Prometheus' ``histogram_quantile``; beyond the last bound that one.

        >>> Histogram({1.0: 2, 3.0: 6, math.inf: 8}, 20, 8).quantile(0.5)
        2.0
        """
        rank, low, below = share * self.count, 0.0, 0.0
        for bound, upto in sorted(self.buckets.items()):
            if upto >= rank:
                if math.isinf(bound) or upto == below:
                    return low
                return low + (bound - low) * (rank - below) / (upto - below)
            low, below = bound, upto
        return low

    def less(self, earlier: Histogram) -> Histogram:
        """What came after ``earlier``, another scrape of the same server."""
        buckets = {bound: upto - earlier.buckets.get(bound, 0.0) for bound, upto in self.buckets.items()}
        return Histogram(buckets, self.sum - earlier.sum, self.count - earlier.count)


def parse(text: str, where: str) -> dict[str, list[Sample]]:
    """The samples by name; InputError names the line that is none."""
    found: dict[str, list[Sample]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        sample = SAMPLE.fullmatch(line.strip())
        value = None if sample is None else _number(sample["value"])
        labels = None if sample is None else _labels(sample["labels"] or "")
        if sample is None or value is None or labels is None:
            raise InputError(f"{where}:{number}: {line.strip()[:60]!r}; {ALLOWED}")
        found.setdefault(sample["name"], []).append(Sample(labels, value))
    if not found:
        raise InputError(f"{where}: no metrics; {ALLOWED}")
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)  # +Inf and NaN too
    except ValueError:
        return None


def _labels(text: str) -> dict[str, str] | None:
    labels: dict[str, str] = {}
    at = 0
    while at < len(text.rstrip()):
        label = LABEL.match(text, at)
        if label is None:
            return None
        labels[label["name"]] = label["value"]
        at = label.end()
    return labels


def histogram(samples: dict[str, list[Sample]], names: Iterable[str], where: str) -> Histogram | None:
    """The first histogram of ``names`` that has values, all its label sets (engines) together.

    InputError for counts and sums that none can have.
    """
    for name in names:
        found = Histogram()
        for part in ("bucket", "sum", "count"):
            _require_counts(samples.get(f"{name}_{part}", []), f"{where}: {name}_{part}")
        for sample in samples.get(f"{name}_bucket", []):
            bound = _number(sample.labels.get("le", ""))
            if bound is not None:
                found.buckets[bound] = found.buckets.get(bound, 0.0) + sample.value
        found.sum = sum(sample.value for sample in samples.get(f"{name}_sum", []))
        found.count = sum(sample.value for sample in samples.get(f"{name}_count", []))
        if found.count and found.buckets and f"{name}_sum" in samples:
            return found
    return None


def counter(samples: dict[str, list[Sample]], names: Iterable[str], where: str) -> float | None:
    """The first counter of ``names``, with or without ``_total``, all its label sets together."""
    for name in names:
        for written in (f"{name}_total", name):
            if written in samples:
                _require_counts(samples[written], f"{where}: {written}")
                return sum(sample.value for sample in samples[written])
    return None


def _require_counts(found: list[Sample], where: str) -> None:
    for sample in found:
        if not 0 <= sample.value <= MOST_COUNTED:
            raise InputError(f"{where} = {sample.value:g}; allowed: 0 to {MOST_COUNTED:.0e}")
