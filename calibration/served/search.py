"""Numbers that make an error least, and which of them it depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from calibration.served.numbers import Parameter, Values

Error = Callable[[Values], float]
Tell = Callable[[str, int, int], None]
ROUNDS = 2
EVALUATIONS = 80
"""Most of a round."""
CORNER = -0.3
"""How far the corners of a round's first simplex lie from where it begins, in logarithms."""
FINE = 1e-3
"""A round ends when the numbers differ by less than this, relative, and the error by a fiftieth of it."""
UNTOLD = 1e-3
"""An error that grows by less than this has not grown."""
ASIDE = 0.2
"""By how much a number is moved, down and up, to see whether the run tells it."""


@dataclass(slots=True)
class Found:
    """The best numbers, their error, and how much larger that is with one of them moved aside."""

    parameters: tuple[Parameter, ...]
    values: Values
    error: float
    aside: dict[str, tuple[float, float]]
    """By parameter: what the error grows by with the share `ASIDE` less of it, and with as much more."""
    untold: frozenset[str]
    """Those on which the error does not depend: they are left where they began."""
    moved: float = ASIDE


def search(parameters: tuple[Parameter, ...], error: Error, tell: Tell = lambda *_: None) -> Values:
    """The values that make ``error`` least: the simplex method on logarithms, begun anew where it ended."""
    from scipy.optimize import minimize

    total, done = ROUNDS * EVALUATIONS, 0
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
    bounds = list(zip(low, high, strict=True))
    for _ in range(ROUNDS):
        corners = np.tile(best, (len(parameters) + 1, 1))
        for i in range(len(parameters)):
            corners[i + 1, i] += CORNER if best[i] + CORNER >= low[i] else -CORNER
        options = {"initial_simplex": corners, "xatol": FINE, "fatol": FINE / 50, "maxfev": EVALUATIONS}
        best = minimize(told, best, method="Nelder-Mead", bounds=bounds, options=options).x
    tell("simulating", total, total)
    return named(best)


def examine(
    parameters: tuple[Parameter, ...], values: Values, error: Error, tell: Tell = lambda *_: None
) -> Found:
    """Whether ``error`` tells the ``values``: each is moved aside by itself.

    One on which it does not depend is put back to where it began, if it does not depend on that either.
    """
    values, aside, untold = dict(values), {}, set()
    least = error(values)
    for i, parameter in enumerate(parameters):
        tell("moving each number", i, len(parameters))

        def grows(value: float, name: str = parameter.name) -> float:
            return error({**values, name: value}) - least

        value = values[parameter.name]
        aside[parameter.name] = ends = (grows(value * (1 - ASIDE)), grows(value * (1 + ASIDE)))
        if max(ends) < UNTOLD and grows(parameter.start) < UNTOLD:
            values[parameter.name] = parameter.start
            untold.add(parameter.name)
    tell("moving each number", len(parameters), len(parameters))
    return Found(parameters, values, error(values), aside, frozenset(untold))
