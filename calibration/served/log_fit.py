"""A profile fitted to the iterations of a server's log: the earlier half fitted, the later held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from calibration import draw, fit, form
from calibration.form import Floats, Offer, Step
from calibration.imported import REQUEST_S
from calibration.served.iteration_log import IterationLog, steps
from calibration.served.server import Server
from sim.hardware.evidence import Heldout
from sim.hardware.profile import Profile
from sim.hardware.roofline import roofline
from workloads.errors import InputError

FEWEST = 100
"""Iterations below which no fit is tried."""
MOST = 1000
"""Of a half, with prefills and without, evenly over it: more tell nothing new, and take longer."""
NOT_TOLD = ("uneven", "link")
"""A log has sums only, and what GPUs tell each other is in every step."""
Timed = tuple[Step, float]


@dataclass(frozen=True, slots=True)
class LogFit:
    """A profile, and what was said and left out on the way to it."""

    profile: Profile
    iterations: int
    used: int
    notes: list[str]


def fit_log(log: IterationLog, server: Server | None, tp: int = 1) -> LogFit:
    """The form's coefficients from the earlier half of ``log``, its errors on the later one.

    ``server`` says of what the times are, and what its model's steps depend on (experts, windows); else
    they are of whatever dense model ``tp`` GPUs served.
    """
    if len(log) < FEWEST:
        raise InputError(f"{log.path}: {len(log)} iterations; allowed: at least {FEWEST}")
    pool = log.pool_tokens if log.knows_kv else None
    by_engine = [list(steps(lines, pool)) for lines in log.engines.values()]
    training, t_s = _thinned([row for rows in by_engine for row in rows[: len(rows) // 2]])
    heldout, target = _thinned([row for rows in by_engine for row in rows[len(rows) // 2 :]])
    found = form.fit(training, t_s, _offer(server))
    predicted = form.seconds(found, heldout)
    errors = fit.errors(predicted, target)
    name = log.path.name if server is None else f"{server.gpu.name}, {server.model.name}"
    profile = Profile(
        id=f"{name}, fitted to a log",
        calibrated=True,
        origin="fitted",
        source=(
            f"fitted to iterations of a server's log: {log.path.name}, the earlier half of {len(log):,}; "
            f"on the later half MAPE {errors.mape:.1%}, bias {errors.bias:+.1%}"
        ),
        coefficients=found.model_copy(update={"request": REQUEST_S}),
        serves=None if server is None else server.serves,
        tensor_parallel=tp if server is None else None,
        domain=form.domain(training),
        heldout=Heldout(
            errors=errors,
            by_family=fit.by_family(predicted, target, [draw.family(step) for step in heldout]),
            baselines={},
            noise_floor=_noise([row for rows in by_engine for row in rows]),
        ),
    )
    return LogFit(profile, len(log), len(training) + len(heldout), log.notes())


def _offer(server: Server | None) -> Offer:
    if server is None:
        return Offer(without=NOT_TOLD)
    peak = roofline(server.model, server.gpu, parallel=server.system.parallel).coefficients
    return Offer.like(peak, NOT_TOLD)


def _thinned(rows: list[Timed]) -> tuple[Sequence[Step], Floats]:
    kept: list[Timed] = []
    for prefills in (True, False):
        some = [row for row in rows if bool(row[0].prefills) is prefills]
        kept += some[:: -(-len(some) // MOST) or 1]
    return [step for step, _ in kept], np.array([t_s for _, t_s in kept])


def _noise(rows: list[Timed]) -> float:
    """What single iterations differ by without a reason: neighbours that decode one batch.

    Mean size of their relative difference over the square root of two, as both are off; NaN without any.
    """
    pairs = [
        (t_s, after_s)
        for (step, t_s), (after, after_s) in pairwise(rows)
        if not step.prefills and not after.prefills and step.decodes == after.decodes
    ]
    if not pairs:
        return float("nan")
    one, other = np.array(pairs).T
    return float(np.mean(2 * np.abs(one - other) / (one + other)) / np.sqrt(2))
