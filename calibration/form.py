"""The simulator's formula fitted to times that others measured: no passes, no noise, more kinds of terms.

Columns are what the simulator itself makes of a step with one coefficient at 1 and all others at 0: there
is no second formula. Three numbers shape the weights' term and are searched: where the knee lies, how sharp
it is, and what share of the reads are experts; the rest is non-negative least squares on relative errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.engine.latency import IterationTime
from sim.hardware.coefficients import Coefficients, Domain, Window

Floats = NDArray[np.float64]
LINEAR = (
    "step", "sequence", "pair", "prefill_kv", "prefill", "decode_kv", "uneven", "beside", "beside_token",
    "beside_kv", "link",
)  # fmt: skip
"""Coefficients that multiply a quantity of the step."""
SHARPNESS = (1.25, 1.6, 2.0, 2.5, 3.2, 4.5, 7.0, 12.0)
KNEES = np.geomspace(2.0, 1024.0, 13).tolist()
"""Where the knee may lie, in tokens: where the search begins."""
KNOTS = [
    *(1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768),
    *(1024, 1536, 2048, 3072, 4096, 6144, 8192),
]
"""New tokens at which the weights' term is corrected."""
MOST_CORRECTED = 0.3
ROUGHNESS, SHRINKAGE = 1.0, 0.3
"""How much neighbouring factors are held together, and all of them to 1: 1 is as much as one step."""
ROUNDS = 4
SHARES = (0.0, 0.5, 0.7, 0.85, 0.95)
"""Of the reads that are experts."""


class Step(NamedTuple):
    """One iteration by what its time depends on; prefills are (tokens in KV, new tokens)."""

    prefills: tuple[tuple[int, int], ...] = ()
    decodes: int = 0
    context: int = 0
    """Tokens in KV of all decodes together, before the step."""
    uneven: int = 0
    """By how many of them the decodes fall short of the longest."""

    @property
    def prompt_tokens(self) -> int:
        """New tokens of the prefills."""
        return sum(new for _, new in self.prefills)

    @property
    def tokens(self) -> int:
        """New tokens of all sequences."""
        return self.prompt_tokens + self.decodes

    @property
    def sequences(self) -> int:
        """Prefills and decodes."""
        return len(self.prefills) + self.decodes

    @property
    def kv_tokens(self) -> int:
        """Tokens in KV after the step, of all sequences."""
        return self.context + self.decodes + sum(cached + new for cached, new in self.prefills)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a model's steps may depend on, beside what those of every model do."""

    touched: float = 0.0
    """Share of the routed experts that one token is sent to; 0 without experts."""
    windows: tuple[tuple[int, bool], ...] = ()
    """(tokens, chunked) of layers that see a part of the context only."""
    without: tuple[str, ...] = ()
    """Coefficients that the steps say nothing about."""

    @classmethod
    def like(cls, peak: Coefficients, without: tuple[str, ...]) -> Offer:
        """What the roofline of a model depends on, as its coefficients ``peak`` say."""
        windows = tuple((window.tokens, window.chunked) for window in peak.windows)
        return cls(peak.touched, windows, without)


def seconds(coefficients: Coefficients, steps: Sequence[Step]) -> Floats:
    """What the simulator takes for each step: its own code."""
    time, found = IterationTime(coefficients), []
    for step in steps:
        t_s = time.fixed_s(step.tokens, step.sequences)
        for cached, new in step.prefills:
            t_s += time.prefill_s(cached, new)
        if step.decodes:
            t_s += time.decode_s(step.decodes, step.context, step.uneven, step.prompt_tokens)
        found.append(t_s)
    return np.array(found)


def fit(steps: Sequence[Step], t_s: Floats, offer: Offer) -> Coefficients:
    """The coefficients that make the relative errors of ``steps`` small, without bias on them."""
    from scipy.optimize import minimize

    names, units = _units(offer)
    squares = _Squares(np.stack([seconds(unit, steps) for unit in units], axis=1), t_s)
    tokens = np.array([step.tokens for step in steps], dtype=float)
    reached = 1.0 - (1.0 - offer.touched) ** tokens

    def solved(knee: float, p: float, share: float) -> tuple[float, Floats]:
        read = knee * (1.0 - share + share * reached)
        return squares.solve((read**p + tokens**p) ** (1 / p))

    def bounded(free: Floats) -> tuple[float, float, float]:
        knee, p = float(np.exp(np.clip(free[0], 0.0, 8.0))), float(np.exp(np.clip(free[1], 0.0, 2.7)))
        return knee, p, float(np.clip(free[2], 0.0, 0.999)) if offer.touched else 0.0

    starts = [
        (solved(knee, p, share)[0], np.log(knee), np.log(p), share)
        for knee in KNEES
        for p in SHARPNESS
        for share in (SHARES if offer.touched else (0.0,))
    ]
    _, *start = min(starts)
    best = minimize(
        lambda free: solved(*bounded(free))[0],
        start,
        method="Nelder-Mead",
        options={"initial_simplex": _around(start), "xatol": 1e-4, "fatol": 1e-7, "maxfev": 600},
    )
    knee, p, share = bounded(best.x)
    read = knee * (1.0 - share + share * reached)
    weights = (read**p + tokens**p) ** (1 / p)
    factors, values = _corrected(squares, weights, tokens)
    got = dict(zip(names, values[1:], strict=True))
    found = _coefficients(got, offer)
    found |= {"token": values[0], "floor": values[0] * knee * (1 - share), "p": p, "correction": factors}
    if offer.touched:
        found |= {"experts": values[0] * knee * share, "touched": offer.touched}
    return _unbiased(found, steps, t_s)


def _corrected(squares: _Squares, weights: Floats, tokens: Floats) -> tuple[dict[int, float], list[float]]:
    """Factors of the weights' term at `KNOTS`, and the values that go with them.

    By turns the values are solved for and the factors fitted to what remains, drawn towards 1 and towards
    their neighbours, so that a knot with few steps near it does not follow their noise.
    """
    knots = [knot for knot in KNOTS if tokens.min() <= knot <= tokens.max()]
    if not knots:  # steps of nearly one size
        return {}, squares.solve(weights)[1].tolist()
    hats = np.stack([np.interp(np.log(tokens), np.log(knots), row) for row in np.eye(len(knots))], axis=1)
    rough = np.diff(np.eye(len(knots)), axis=0) * ROUGHNESS
    factors = np.ones(len(knots))
    for _ in range(ROUNDS):
        _, values = squares.solve(weights * (hats @ factors))
        part = values[0] * weights / squares.target
        left = 1.0 - squares.predicted(np.zeros_like(weights), values)
        matrix = np.vstack([part[:, None] * hats, rough, np.eye(len(knots)) * SHRINKAGE])
        aim = np.concatenate([left, np.zeros(len(rough)), np.full(len(knots), SHRINKAGE)])
        factors = np.clip(np.linalg.lstsq(matrix, aim)[0], 1 - MOST_CORRECTED, 1 + MOST_CORRECTED)
    _, values = squares.solve(weights * (hats @ factors))
    return {knot: round(float(f), 4) for knot, f in zip(knots, factors, strict=True)}, values.tolist()


def _around(start: Sequence[float]) -> Floats:
    """A simplex of the size of a step of the grid."""
    moved = np.array(start) + np.array([[0, 0, 0], [0.4, 0, 0], [0, 0.25, 0], [0, 0, -0.1]])
    return np.asarray(moved)


def _units(offer: Offer) -> tuple[list[str], list[Coefficients]]:
    """Each coefficient that is offered by its name, and as the only one that is not zero."""
    names = [name for name in LINEAR if name not in offer.without]
    units = [Coefficients(**{name: 1.0}) for name in names]  # type: ignore[arg-type]
    for number, (tokens, chunked) in enumerate(offer.windows):
        for part in ("pair", "prefill_kv", "decode_kv"):
            names.append(f"window {number} {part}")
            window = Window(tokens=tokens, chunked=chunked, **{part: 1.0})
            units.append(Coefficients(windows=[window]))
    return names, units


def _coefficients(got: dict[str, float], offer: Offer) -> dict[str, Any]:
    found: dict[str, Any] = {name: got[name] for name in LINEAR if name in got}
    found["windows"] = [
        {
            "tokens": tokens,
            "chunked": chunked,
            **{part: got[f"window {number} {part}"] for part in ("pair", "prefill_kv", "decode_kv")},
        }
        for number, (tokens, chunked) in enumerate(offer.windows)
    ]
    return found


def _unbiased(found: dict[str, Any], steps: Sequence[Step], t_s: Floats) -> Coefficients:
    """The same, all times longer or shorter by what the mean relative error of ``steps`` is off."""
    mean = float(np.mean(seconds(Coefficients.model_validate(found), steps) / t_s))
    kept = {"p", "touched", "windows", "correction"}
    scaled = {name: value if name in kept else value / mean for name, value in found.items()}
    scaled["windows"] = [
        {key: value / mean if isinstance(value, float) else value for key, value in window.items()}
        for window in found["windows"]
    ]
    return Coefficients.model_validate(scaled)


class _Squares:
    """Least squares of relative errors, none of the values negative, of fixed columns and one that varies.

    The fixed columns are brought into a triangle once; then each further column costs little.
    """

    def __init__(self, fixed: Floats, target: Floats) -> None:
        self.target = target
        self._fixed = fixed
        scaled = fixed / target[:, None]
        self._size = np.linalg.norm(scaled, axis=0)
        self._size[self._size == 0] = 1.0
        ones = np.ones((len(target), 1))
        self._q, self._r = np.linalg.qr(np.hstack([scaled / self._size, ones]))

    def solve(self, column: Floats) -> tuple[float, Floats]:
        """The norm of the errors that remain, and the values: of ``column``, then of the fixed ones."""
        from scipy.optimize import nnls

        scaled = column / self.target
        size = float(np.linalg.norm(scaled))
        inside = self._q.T @ (scaled / size)
        outside = float(np.linalg.norm(scaled / size - self._q @ inside))
        matrix = np.zeros((len(self._r) + 1, len(self._r)))
        matrix[:, 0] = [*inside, outside]
        matrix[:-1, 1:] = self._r[:, :-1]
        values, error = nnls(matrix, np.append(self._r[:, -1], 0.0))
        return float(error), values / np.array([size, *self._size])

    def predicted(self, column: Floats, values: Floats) -> Floats:
        """What ``values`` say of each row, in parts of its target."""
        return np.asarray((column * values[0] + self._fixed @ values[1:]) / self.target)


def domain(steps: Sequence[Step]) -> Domain:
    """The box around ``steps``."""
    return Domain(
        tokens=(1, max(step.tokens for step in steps)),
        sequences=(1, max(step.sequences for step in steps)),
        cached=(0, max(max((cached for cached, _ in step.prefills), default=0) for step in steps)),
        kv_tokens=(1, max(step.kv_tokens for step in steps)),
    )
