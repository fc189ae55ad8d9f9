"""A profile fitted to a benchmark: half of the requests tell its numbers, the others test them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.served.comparison import PER_REQUEST, Comparison, compare, values
from calibration.served.measured import MeasuredRun
from calibration.served.search import PARAMETERS, Found, Tell, Values, search
from calibration.served.server import Server
from sim.hardware.parallel import Parallel
from sim.hardware.profile import BenchFit, Profile
from sim.hardware.roofline import roofline
from sim.results.records import Records
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


def made(server: Server, numbers: Values) -> Profile:
    """The roofline of the server's model and GPU, changed by the numbers."""
    profile = roofline(server.model, server.gpu, numbers["mfu"], numbers["mbu"], server.system.parallel)
    for parameter in PARAMETERS:
        if parameter.applied is not None:
            profile = parameter.applied(profile, numbers)
    return profile


def error(run: MeasuredRun, records: Records, which: NDArray[np.bool_]) -> float:
    """Mean size of a request's error as a share of the metric's mean; the mean over TTFT, TPOT and E2E."""
    measured, predicted = values(run), values(records)
    shares = []
    for name in PER_REQUEST:
        known = which & ~np.isnan(measured[name]) & ~np.isnan(predicted[name])
        if known.any() and (mean := measured[name][known].mean()) > 0:
            shares.append(np.abs(predicted[name] - measured[name])[known].mean() / mean)
    return float(np.mean(shares))


def fit(server: Server, run: MeasuredRun, trace: Trace, tell: Tell = lambda *_: None) -> Fitted:
    """The numbers that meet the earlier half of ``run``, which served ``trace``; errors of both halves."""
    if server.system.parallel != Parallel(tensor=server.system.tensor_parallel):
        raise InputError(
            "a profile is of GPUs that are tensor parallel; allowed: --tp, and nothing else of it"
        )
    server.require_fit(trace)
    half = earlier_half(trace)

    def off(numbers: Values) -> float:
        return error(run, server.simulate(trace, made(server, numbers)), half)

    found = search(PARAMETERS, off, tell)
    profile = made(server, found.values)
    records = server.simulate(trace, profile)
    fitted, heldout = compare(run, records, half), compare(run, records, ~half)
    bench = BenchFit(
        file=run.path.name,
        sha256=hashlib.sha256(run.path.read_bytes()).hexdigest(),
        split="the sessions that start first, with half of the requests, are fitted; the others held out",
        fitted_requests=fitted.requests,
        heldout_requests=heldout.requests,
        parameters={name: float(f"{value:.4g}") for name, value in found.values.items()},
        fitted_errors=_errors(fitted),
        heldout_errors=_errors(heldout),
    )
    profile = profile.model_copy(
        update={
            "id": profile.id.removesuffix("roofline") + "fitted to a benchmark",
            "calibrated": True,
            "source": _source(server, bench),
            "model": server.model.dense,
            "tensor_parallel": server.system.tensor_parallel,
            "bench": bench,
        }
    )
    return Fitted(profile, found, fitted, heldout, run.notes)


def _errors(compared: Comparison) -> dict[str, float]:
    """The errors of means."""
    return {f"{name} mean": round(metric.error("mean"), 5) for name, metric in compared.metrics.items()}


def _source(server: Server, bench: BenchFit) -> str:
    errors = ", ".join(f"{name} {error:+.1%}" for name, error in bench.heldout_errors.items())
    numbers = ", ".join(f"{name} {value:g}" for name, value in bench.parameters.items())
    return (
        f"fitted to a benchmark: {bench.file}, {bench.fitted_requests} requests; the other "
        f"{bench.heldout_requests}: {errors}. The roofline of {server.gpu.name} with {numbers}"
    )
