"""The numbers of a server that make its simulation meet a measured run: found by running it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from calibration.imported import REQUEST_S
from sim.hardware.profile import Coefficients, Profile

Values = dict[str, float]
Tell = Callable[[str, int, int], None]
ROUNDS = 2
SIMULATIONS = 80
"""Most of a round."""
FINE = 2e-3
"""A round ends when the numbers differ by less than this, relative, and the error by a tenth of it."""
UNTOLD = 1e-3
"""An error that grows by less than this has not grown."""
ASIDE = 0.2
"""By how much a number is moved, down and up, to see whether the run tells it."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that is sought between ``least`` and ``most``, from ``start`` on."""

    name: str
    start: float
    least: float
    most: float
    meaning: str
    applied: Callable[[Profile, Values], Profile] | None = None
    """What it, among all values, makes of a roofline's profile; None: the roofline is made with it."""


def _with(profile: Profile, **coefficients: object) -> Profile:
    changed = profile.coefficients.model_copy(update=coefficients)
    return profile.model_copy(update={"coefficients": changed})


def _kv(profile: Profile, values: Values) -> Profile:
    c: Coefficients = profile.coefficients
    factor = values["kv_factor"] * values["mbu"]  # the roofline reads KV as fast as weights
    windows = [
        w.model_copy(update={"prefill_kv": w.prefill_kv * factor, "decode_kv": w.decode_kv * factor})
        for w in c.windows
    ]
    return _with(profile, prefill_kv=c.prefill_kv * factor, decode_kv=c.decode_kv * factor, windows=windows)


def _request(profile: Profile, values: Values) -> Profile:
    return _with(profile, request=values["request_s"])


PARAMETERS = (
    Parameter("mfu", 0.6, 0.02, 1.0, "share of the datasheet's compute that is reached"),
    Parameter("mbu", 0.7, 0.02, 1.0, "share of its bandwidth at which weights are read"),
    Parameter("kv_factor", 1.4, 1.0, 20.0, "times what reading KV takes at the datasheet's bandwidth", _kv),
    Parameter(
        "request_s", REQUEST_S, 1e-4, 10.0, "s that a client waits beside the engine's work", _request
    ),
)


@dataclass(slots=True)
class Found:
    """The best numbers, their error, and how much larger that is with one of them moved aside."""

    parameters: tuple[Parameter, ...]
    values: Values
    error: float
    simulations: int
    aside: dict[str, tuple[float, float]]
    """By parameter: what the error grows by with the share `ASIDE` less of it, and with as much more."""
    untold: frozenset[str]
    """Those of which the error does not depend: they are left where the search began."""
    moved: float = ASIDE


def search(
    parameters: tuple[Parameter, ...], error: Callable[[Values], float], tell: Tell = lambda *_: None
) -> Found:
    """The values that make ``error`` least: the simplex method on logarithms, begun anew where it ended.

    Then each of them is moved aside. One on which the error does not depend is put back to where it began.
    """
    from scipy.optimize import minimize

    total, done = ROUNDS * SIMULATIONS + 2 * len(parameters) + 2, 0
    low, high = (np.log([getattr(p, end) for p in parameters]) for end in ("least", "most"))

    def named(point: np.ndarray) -> Values:
        inside = np.exp(np.clip(point, low, high)).tolist()
        return dict(zip([p.name for p in parameters], inside, strict=True))

    def told(point: np.ndarray) -> float:
        nonlocal done
        done += 1
        tell("simulating", min(done, total), total)
        return error(named(point))

    best = np.log([p.start for p in parameters])
    for _ in range(ROUNDS):
        corners = np.tile(best, (len(parameters) + 1, 1))
        for i in range(len(parameters)):
            room = best[i] - 0.3 >= low[i]
            corners[i + 1, i] += -0.3 if room else 0.3
        options = {"initial_simplex": corners, "xatol": FINE, "fatol": FINE / 10, "maxfev": SIMULATIONS}
        best = np.clip(
            minimize(told, best, method="Nelder-Mead", bounds=list(zip(low, high, strict=True)),
                     options=options).x, low, high
        )  # fmt: skip
    least = told(best)
    aside, untold = {}, set()
    for i, parameter in enumerate(parameters):

        def grows(by: float, i: int = i) -> float:
            point = best.copy()
            point[i] += by
            return told(point) - least

        aside[parameter.name] = ends = (grows(np.log(1 - ASIDE)), grows(np.log(1 + ASIDE)))
        back = float(np.log(parameter.start) - best[i])
        if max(ends) < UNTOLD and grows(back) < UNTOLD:
            best[i] += back
            untold.add(parameter.name)
    found = Found(parameters, named(best), told(best), done, aside, frozenset(untold))
    tell("simulating", total, total)
    return found
