"""A profile fitted to a benchmark: half of the requests tell its numbers, the others test them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.served.comparison import Comparison, compare, values
from calibration.served.measured import MeasuredRun
from calibration.served.numbers import NUMBERS, SOUGHT, WAITED, Values, as_fitted, doubts, made, rounded
from calibration.served.search import Found, Tell, examine, search
from calibration.served.server import Server
from sim.hardware.evidence import BenchFit
from sim.hardware.profile import Profile
from sim.results.records import Floats
from workloads.errors import InputError
from workloads.trace import Trace

FEWEST = 20
"""Requests below which halves say nothing."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A profile that meets a benchmark, and how well."""

    profile: Profile
    found: Found
    fitted: Comparison
    heldout: Comparison
    notes: list[str]


def require_enough(run: MeasuredRun) -> None:
    """InputError for a run whose halves say nothing."""
    if (count := int(run.completed.sum())) < FEWEST:
        raise InputError(f"{run.path}: {count} answered requests; allowed: at least {FEWEST}")


def earlier_half(trace: Trace) -> NDArray[np.bool_]:
    """The requests that are fitted: of the sessions that start first, until half of all are there.

    Requests come in the order in which they were sent, and a session is never divided.
    """
    chosen: set[int] = set()
    sizes: dict[int, int] = {}
    for session in trace.session:
        sizes[session] = sizes.get(session, 0) + 1
    count = 0
    for session, size in sizes.items():
        if count >= len(trace) / 2:
            break
        chosen.add(session)
        count += size
    half = np.array([session in chosen for session in trace.session])
    if half.all():
        raise InputError(
            f"{trace.origin}: all requests are of one session; allowed: at least two, one to be fitted and "
            "one to be held out"
        )
    return half


def error(run: MeasuredRun, predicted: dict[str, Floats], which: NDArray[np.bool_]) -> float:
    """Mean size of a request's error as a share of the metric's mean; the mean over TTFT, TPOT and E2E."""
    shares = [
        np.abs(predicted[name] - measured)[known].mean() / measured[known].mean()
        for name, measured, known in _known(run, predicted, which)
    ]
    return float(np.mean(shares))


def waited(run: MeasuredRun, predicted: dict[str, Floats], which: NDArray[np.bool_]) -> float:
    """What to add to every TTFT and E2E so that `error` is least, s: a weighted median, or 0."""
    short, weights = [], []
    for name, measured, known in _known(run, predicted, which):
        if name != "TPOT":
            short.append((measured - predicted[name])[known])
            weights.append(np.full(known.sum(), 1 / (known.sum() * measured[known].mean())))
    by = np.concatenate(short)
    order = np.argsort(by)
    upto = np.cumsum(np.concatenate(weights)[order])
    return max(0.0, float(by[order][np.searchsorted(upto, upto[-1] / 2)]))


def _known(
    run: MeasuredRun, predicted: dict[str, Floats], which: NDArray[np.bool_]
) -> Iterator[tuple[str, Floats, NDArray[np.bool_]]]:
    """Each metric that ``which`` requests have: its name, as measured, and which of them have it."""
    for name, measured in values(run).items():
        known = which & ~np.isnan(measured) & ~np.isnan(predicted[name])
        if known.any() and measured[known].mean() > 0:
            yield name, measured, known


def _later(predicted: dict[str, Floats], by_s: float) -> dict[str, Floats]:
    return {**predicted, "TTFT": predicted["TTFT"] + by_s, "E2E": predicted["E2E"] + by_s}


def fit(server: Server, run: MeasuredRun, trace: Trace, tell: Tell = lambda *_: None) -> Fitted:
    """The numbers that meet the earlier half of ``run``, which served ``trace``; errors of both halves."""
    server.require_fit(trace)
    half = earlier_half(trace)

    def simulated(numbers: Values) -> dict[str, Floats]:
        return values(server.simulate(trace, made(server, {**numbers, WAITED.name: 0.0})))

    def least(numbers: Values) -> float:
        predicted = simulated(numbers)
        return error(run, _later(predicted, waited(run, predicted, half)), half)

    def off(numbers: Values) -> float:
        return error(run, _later(simulated(numbers), numbers[WAITED.name]), half)

    numbers = search(SOUGHT, least, tell)
    numbers[WAITED.name] = waited(run, simulated(numbers), half)
    found = examine(NUMBERS, numbers, off, tell)
    profile = made(server, found.values)
    records = server.simulate(trace, profile)
    fitted, heldout = compare(run, records, half), compare(run, records, ~half)
    bench = BenchFit(
        file=run.path.name,
        sha256=hashlib.sha256(run.path.read_bytes()).hexdigest(),
        split="the sessions that start first, with half of the requests, are fitted; the others held out",
        fitted_requests=fitted.requests,
        heldout_requests=heldout.requests,
        parameters=rounded(found.values),
        fitted_errors=_errors(fitted),
        heldout_errors=_errors(heldout),
    )
    errors = ", ".join(f"{name} {error:+.1%}" for name, error in bench.heldout_errors.items())
    said = f"{bench.file}, {bench.fitted_requests} requests; the other {bench.heldout_requests}: {errors}"
    profile = as_fitted(server, profile, "a benchmark", said, bench)
    return Fitted(profile, found, fitted, heldout, [*run.notes, *doubts(server, bench)])


def _errors(compared: Comparison) -> dict[str, float]:
    """The errors of means."""
    return {f"{name} mean": round(metric.error("mean"), 5) for name, metric in compared.metrics.items()}
