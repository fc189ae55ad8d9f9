"""A profile fitted to the iterations of a server's log: the earlier half fitted, the later held out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from calibration import fit
from calibration.columns import Floats
from calibration.fit import Measured
from calibration.plan import DECODE, Configuration
from calibration.served.iteration_log import IterationLog, configurations
from sim.hardware.origin import Serves
from sim.hardware.profile import Fit, Heldout, Profile
from workloads.errors import InputError

FEWEST = 100
"""Iterations below which no fit is tried."""
MOST = 1000
"""Of a half, with prefills and without, evenly over it: more tell nothing new, and take longer."""


@dataclass(frozen=True, slots=True)
class LogFit:
    """A profile, and what was said and left out on the way to it."""

    profile: Profile
    iterations: int
    used: int
    notes: list[str]


def fit_log(log: IterationLog, serves: Serves | None, tp: int = 1) -> LogFit:
    """The form's coefficients from the earlier half of ``log``, its errors on the later one.

    ``serves`` says of what the times are; else they are of whatever ``tp`` GPUs served.
    """
    if len(log) < FEWEST:
        raise InputError(f"{log.path}: {len(log)} iterations; allowed: at least {FEWEST}")
    name = log.path.name if serves is None else f"{serves.gpu}, {serves.model}"
    pool = log.pool_tokens if log.knows_kv else None
    by_engine = [list(configurations(steps, pool)) for steps in log.engines.values()]
    training = _measured([row for rows in by_engine for row in rows[: len(rows) // 2]])
    heldout = _measured([row for rows in by_engine for row in rows[len(rows) // 2 :]])
    fitted = fit.fit(training, hinged=False, seed=0)
    coefficients = fitted.coefficients()
    predicted = fit.seconds(coefficients, heldout.steps)
    errors = fit.errors(predicted, heldout.median_s)
    profile = Profile(
        id=f"{name}, fitted to a log",
        calibrated=True,
        origin="fitted",
        source=(
            f"fitted to iterations of a server's log: {log.path.name}, the earlier half of {len(log):,}; "
            f"on the later half MAPE {errors.mape:.1%}, bias {errors.bias:+.1%}"
        ),
        coefficients=coefficients,
        serves=serves,
        tensor_parallel=tp,
        domain=fit.domain(training),
        fit=Fit(form="pnorm+nnls/1", intervals=fitted.intervals(), implied={}, peaks={}),
        heldout=Heldout(
            errors=errors,
            by_family=fit.by_family(predicted, heldout),
            baselines={},
            noise_floor=_noise([row for rows in by_engine for row in rows]),
        ),
    )
    return LogFit(profile, len(log), len(training.steps) + len(heldout.steps), log.notes())


def _measured(rows: list[tuple[Configuration, float]]) -> Measured:
    rows = [row for kind in (True, False) for row in _thinned(rows, decodes=kind)]
    return Measured([step for step, _ in rows], np.array([[t_s] for _, t_s in rows]))


def _thinned(
    rows: list[tuple[Configuration, float]], *, decodes: bool
) -> list[tuple[Configuration, float]]:
    some = [row for row in rows if (row[0].family == DECODE) is decodes]
    return some[:: -(-len(some) // MOST) or 1]


def _noise(rows: list[tuple[Configuration, float]]) -> float:
    """What single iterations differ by without a reason: neighbours that decode one batch.

    Mean size of their relative difference over the square root of two, as both are off; NaN without any.
    """
    one: list[float] = []
    other: list[float] = []
    for (step, t_s), (after, after_s) in pairwise(rows):
        if step.family == after.family == DECODE and len(step.spec) == len(after.spec):
            one.append(t_s)
            other.append(after_s)
    if not one:
        return float("nan")
    first: Floats = np.array(one)
    second: Floats = np.array(other)
    return float(np.mean(2 * np.abs(first - second) / (first + second)) / np.sqrt(2))
