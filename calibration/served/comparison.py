"""Predicted beside measured: times of requests, each request's error, hits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.served.measured import MeasuredRun
from sim.results import metrics
from sim.results.itl import gaps_of
from sim.results.records import Floats, Records

STATISTICS = ("mean", "p50", "p90", "p99")
PER_REQUEST = ("TTFT", "TPOT", "E2E")
"""Metrics of which every request has one; between them stands ITL, whose gaps are pooled."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric in s, by the names of `STATISTICS`; where every request has one, the errors of each."""

    measured_s: dict[str, float]
    predicted_s: dict[str, float]
    request_mape: float | None = None
    """Mean size of a request's relative error."""
    request_median: float | None = None
    """Median size of it."""

    def error(self, statistic: str) -> float:
        """Predicted over measured, less one."""
        return self.predicted_s[statistic] / self.measured_s[statistic] - 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """Some requests of a run beside their simulation."""

    requests: int
    metrics: dict[str, Metric]
    hits: Hits | None

    def error(self, name: str) -> float:
        """Of a metric and statistic, as in ``TTFT mean``."""
        metric, _, statistic = name.partition(" ")
        return self.metrics[metric].error(statistic)


@dataclass(frozen=True, slots=True)
class Hits:
    """Prompt tokens found in the cache; ``equal``: requests with the same number in both."""

    prompt_tokens: int
    measured_tokens: int
    predicted_tokens: int
    equal: int


def values(run: MeasuredRun | Records) -> dict[str, Floats]:
    """TTFT, TPOT and E2E of every request, s."""
    if isinstance(run, MeasuredRun):
        found = (run.ttft_s, run.tpot_s, run.e2e_s)
    else:
        found = (metrics.ttft_s(run), metrics.tpot_s(run), metrics.e2el_s(run))
    return dict(zip(PER_REQUEST, found, strict=True))


def compare(run: MeasuredRun, records: Records, which: NDArray[np.bool_] | None = None) -> Comparison:
    """The requests ``which`` of both, which have the same requests in the same order; by default all.

    Gaps between tokens (ITL) are pooled over all requests of a simulation, so they are compared only then.
    """
    some = np.ones(len(run), bool) if which is None else which
    measured, predicted = values(run), values(records)
    found: dict[str, Metric] = {}
    for name in PER_REQUEST:
        known = some & ~np.isnan(measured[name]) & ~np.isnan(predicted[name])
        if name == "E2E" and which is None and (gaps := _gaps(run, records)) is not None:
            found["ITL"] = gaps
        if known.any():
            found[name] = _metric(measured[name][known], predicted[name][known])
    hits = None
    if run.hit_tokens is not None:
        real, simulated = run.hit_tokens[some], records.cache_read_input_tokens[some]
        prompts = int(records.input_tokens[some].sum())
        hits = Hits(prompts, int(real.sum()), int(simulated.sum()), int((real == simulated).sum()))
    return Comparison(int(some.sum()), found, hits)


def _metric(measured: Floats, predicted: Floats) -> Metric:
    real = measured > 0  # of a time of nothing there is no relative error
    size = np.abs(predicted[real] / measured[real] - 1)
    return Metric(
        _statistics(measured),
        _statistics(predicted),
        float(size.mean()) if len(size) else None,
        float(np.median(size)) if len(size) else None,
    )


def _statistics(seconds: Floats) -> dict[str, float]:
    return dict(
        zip(
            STATISTICS, [float(seconds.mean()), *np.percentile(seconds, (50, 90, 99)).tolist()], strict=True
        )
    )


def _gaps(run: MeasuredRun, records: Records) -> Metric | None:
    """All gaps between tokens; measured ones are those between what a client received."""
    if run.gaps_s is None:
        return None
    measured, predicted = np.concatenate(run.gaps_s), gaps_of(records.steps, (50, 90, 99))
    if not len(measured) or not predicted.count:
        return None
    found = [predicted.mean, *predicted.percentiles()]
    return Metric(_statistics(measured), dict(zip(STATISTICS, found, strict=True)))
