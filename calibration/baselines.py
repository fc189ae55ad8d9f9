"""What a fit is held against: simpler ways to predict how long steps take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibration import columns, fit
from calibration.columns import Floats
from calibration.fit import Measured
from calibration.plan import Configuration
from sim.hardware.coefficients import Coefficients
from sim.hardware.evidence import Errors


def baselines(
    training: Measured, heldout: Measured, roofline: Coefficients, seed: int
) -> dict[str, Errors]:
    """Held-out errors of a plain linear fit, of a roofline, and of a random forest of 300 trees."""
    from sklearn.ensemble import RandomForestRegressor

    target = heldout.median_s
    plain, _, _, _ = np.linalg.lstsq(_plain(training.steps), training.median_s, rcond=None)
    forest = RandomForestRegressor(300, random_state=seed, n_jobs=1)
    forest.fit(_raw(training.steps), np.log(training.median_s))
    return {
        "plain linear": fit.errors(_plain(heldout.steps) @ plain, target),
        "roofline": fit.errors(fit.seconds(roofline, heldout.steps), target),
        "random forest": fit.errors(np.exp(forest.predict(_raw(heldout.steps))), target),
    }


def _plain(steps: Sequence[Configuration]) -> Floats:
    """What one would start with: a constant, new tokens, tokens in KV."""
    kv = np.array([step.kv_tokens for step in steps], dtype=float)
    return np.stack([np.ones(len(steps)), columns.tokens(steps), kv], axis=1)


def _raw(steps: Sequence[Configuration]) -> Floats:
    return np.hstack([columns.tokens(steps)[:, None], columns.linear(steps)[:, 1:]])
