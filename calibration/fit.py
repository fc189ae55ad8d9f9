"""From samples to a profile: steady passes, medians, coefficients, intervals, errors, implied rates.

The form is the formula of `sim.hardware.coefficients.Coefficients`: an outer search over the two numbers
that shape the weights' knee, and inside it non-negative least squares with every row divided by its time,
so that relative error is what is made small.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration import columns
from calibration.columns import HINGES, LINEAR, SEQUENCE_HINGES, Floats
from calibration.plan import Configuration
from calibration.samples import Samples
from sim.hardware.coefficients import Coefficients, Domain
from sim.hardware.evidence import Errors
from workloads.errors import InputError
from workloads.seeds import stream

FEWEST_PASSES = 3
REPLICATES = 200
SHARPNESS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
FLOORS = (0.0, *np.geomspace(0.5, 1024, 34).tolist())
"""Where the knee may lie, in tokens."""
HINGE_NAMES = [*(f"hinge {k}" for k in HINGES), *(f"sequence hinge {k}" for k in SEQUENCE_HINGES)]


@dataclass(slots=True)
class Measured:
    """Configurations of one split with the time of each in every pass: s, configurations x passes."""

    steps: list[Configuration]
    t_s: Floats

    @property
    def median_s(self) -> Floats:
        """The median over passes: the time that is fitted or predicted."""
        return np.asarray(np.median(self.t_s, axis=1))


def steady(samples: Samples, max_drift: float) -> tuple[list[int], list[float]]:
    """The passes whose sentinels stay within ``max_drift`` of the run's, and the drift of every pass.

    A pass's drift is the mean over sentinels of its median relative to the median of all passes.
    InputError if fewer than three passes (or than there are) are steady, or if passes are missing.
    """
    kinds = {step.split for step in samples.configurations}
    for split in ("sentinel", "fit", "heldout", "overhead"):
        if split not in kinds:
            raise InputError(f"samples: no {split} samples; allowed: all that a measurement takes")
    by: dict[Configuration, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for step, number, t_s in zip(samples.configurations, samples.passes, samples.t_s, strict=True):
        if step.split == "sentinel":
            by[step][number].append(t_s)
    passes = samples.header["passes"]
    counts = Counter(samples.passes)
    full = max(counts.values())
    if len(counts) != passes or max(counts) >= passes or min(counts.values()) != full:
        whole = sum(count == full for count in counts.values())
        raise InputError(
            f"samples: {whole} of {passes} passes are whole; allowed: all of them (the same run goes on "
            "where it stopped)"
        )
    ratios = []
    for times in by.values():
        medians = np.array([np.median(times[number]) for number in range(passes)])
        ratios.append(medians / np.median(medians) - 1)
    drift = np.mean(ratios, axis=0)
    kept = np.flatnonzero(np.abs(drift) <= max_drift).tolist()
    if len(kept) < min(FEWEST_PASSES, passes):
        shown = ", ".join(f"{d:+.1%}" for d in drift)
        raise InputError(
            f"samples: the machine was too unsteady: sentinels of the passes drift by {shown}; allowed: at "
            f"least {FEWEST_PASSES} passes within {max_drift:.0%} (measure again on a quieter machine)"
        )
    return kept, drift.tolist()


def table(samples: Samples, split: str, passes: Sequence[int]) -> Measured:
    """The samples of ``split`` in ``passes``, a row per configuration.

    InputError if one was not timed in every pass.
    """
    column = {number: i for i, number in enumerate(passes)}
    rows: dict[Configuration, Floats] = {}
    for step, number, t_s in zip(samples.configurations, samples.passes, samples.t_s, strict=True):
        if step.split == split and number in column:
            rows.setdefault(step, np.full(len(passes), np.nan))[column[number]] = t_s
    for step, times in rows.items():
        if np.isnan(times).any():
            raise InputError(
                f"samples: not in every pass: {step}; allowed: every configuration in every one"
            )
    return Measured(list(rows), np.array(list(rows.values())).reshape(len(rows), len(passes)))


@dataclass(slots=True)
class Fitted:
    """The coefficients and, for intervals, those of bootstrap replicates (a row each)."""

    names: list[str]
    values: Floats
    replicates: Floats
    floor_tokens: float
    p: float
    hinged: bool

    def predict(self, steps: Sequence[Configuration]) -> Floats:
        """Seconds of each step."""
        return np.asarray(self._matrix(steps) @ self.values)

    def interval(self, steps: Sequence[Configuration], level: float = 0.9) -> tuple[Floats, Floats]:
        """Ends of the bootstrap interval of each prediction."""
        drawn = self._matrix(steps) @ self.replicates.T
        low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2), axis=1)
        return low, high

    def _matrix(self, steps: Sequence[Configuration]) -> Floats:
        return _matrix(steps, self.floor_tokens, self.p, self.hinged)

    def coefficients(self) -> Coefficients:
        """The same as the simulator reads them."""
        got = dict(zip(self.names, self.values.tolist(), strict=True))
        token = got.pop("token")
        hinges = {k: got.pop(f"hinge {k}", 0.0) for k in HINGES}
        more = {k: got.pop(f"sequence hinge {k}", 0.0) for k in SEQUENCE_HINGES}
        return Coefficients(
            token=token,
            floor=token * self.floor_tokens,
            p=self.p,
            hinges={k: value for k, value in hinges.items() if value},
            sequence_hinges={k: value for k, value in more.items() if value},
            **got,
        )

    def intervals(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Ends of the bootstrap interval of each coefficient that is not zero throughout."""
        ends = np.quantile(self.replicates, ((1 - level) / 2, (1 + level) / 2), axis=0)
        pairs = zip(self.names, ends[0].tolist(), ends[1].tolist(), strict=True)
        return {name: (low, high) for name, low, high in pairs if high}


def fit(measured: Measured, *, hinged: bool, seed: int) -> Fitted:
    """Fit the medians; ``hinged`` offers the hinges that a CPU needs."""
    best: tuple[float, float, float] | None = None
    target = measured.median_s
    for p in SHARPNESS:
        for floor in FLOORS:
            if (p == 1.0) != (floor == 0.0):
                continue  # with p = 1 the floor is part of the constant; without a floor p says nothing
            error = _solve(_matrix(measured.steps, floor, p, hinged), target)[1]
            if best is None or error < best[0]:
                best = error, floor, p
    assert best is not None
    _, floor_tokens, knee = best
    matrix = _matrix(measured.steps, floor_tokens, knee, hinged)
    values = _solve(matrix, target)[0]
    random = stream(seed, "bootstrap")
    rows, passes = measured.t_s.shape
    replicates = []
    for _ in range(REPLICATES):
        some = np.median(measured.t_s[:, random.integers(passes, size=passes)], axis=1)
        which = random.integers(rows, size=rows)
        replicates.append(_solve(matrix[which], some[which])[0])
    names = ["token", *LINEAR, *(HINGE_NAMES if hinged else ())]
    return Fitted(names, values, np.array(replicates), floor_tokens, knee, hinged)


def _matrix(steps: Sequence[Configuration], floor: float, p: float, hinged: bool) -> Floats:
    parts = [columns.weights(steps, floor, p)[:, None], columns.linear(steps)]
    if hinged:
        parts.append(columns.hinges(steps))
    return np.hstack(parts)


def _solve(matrix: Floats, target: Floats) -> tuple[Floats, float]:
    """Non-negative coefficients that make the relative error small, and its norm."""
    from scipy.optimize import nnls

    scaled = matrix / target[:, None]
    size = np.linalg.norm(scaled, axis=0)
    size[size == 0] = 1.0
    values, error = nnls(scaled / size, np.ones(len(target)))
    return values / size, float(error)


# -- how good it is --------------------------------------------------------------------------------


def errors(predicted: Floats, target: Floats) -> Errors:
    """Relative errors of predictions against measured times."""
    relative = predicted / target - 1
    size = np.abs(relative)
    p90, p99 = np.quantile(size, (0.9, 0.99)).tolist()
    return Errors(
        n=len(target),
        mape=float(size.mean()),
        p90=p90,
        p99=p99,
        max=float(size.max()),
        bias=float(relative.mean()),
        sum_err=float(predicted.sum() / target.sum() - 1),
    )


def by_family(predicted: Floats, target: Floats, families: Sequence[str]) -> dict[str, Errors]:
    """The errors of each family by itself; ``families`` has that of each step."""
    family = np.array(families)
    return {
        str(name): errors(predicted[family == name], target[family == name])
        for name in dict.fromkeys(family.tolist())
    }


def noise_floor(measured: Measured) -> float:
    """Mean relative disagreement of the medians of two halves of the passes; NaN with one pass."""
    if measured.t_s.shape[1] < 2:
        return float("nan")
    one = np.median(measured.t_s[:, ::2], axis=1)
    other = np.median(measured.t_s[:, 1::2], axis=1)
    return float(np.mean(2 * np.abs(one - other) / (one + other)))


def domain(measured: Measured) -> Domain:
    """The box around the fitted configurations."""
    steps = measured.steps

    def most(value: Callable[[Configuration], int]) -> int:
        return max(value(step) for step in steps)

    return Domain(
        tokens=(1, most(lambda step: step.tokens)),
        sequences=(1, most(lambda step: len(step.spec))),
        cached=(0, most(lambda step: max((h for h, _ in step.prefills), default=0))),
        kv_tokens=(1, most(lambda step: step.kv_tokens)),
    )


def seconds(coefficients: Coefficients, steps: Sequence[Configuration]) -> Floats:
    """What the simulator would take for each step: its own code, not a second formula."""
    from sim.engine.latency import IterationTime

    time = IterationTime(coefficients)
    out = []
    for step in steps:
        t_s = time.fixed_s(step.tokens, len(step.spec))
        t_s += sum(time.prefill_s(h, n) for h, n in step.prefills)
        out.append(t_s + time.decode_s(len(step.decodes), sum(h for h, _ in step.decodes)))
    return np.array(out)


def transfers(samples: Samples, passes: Sequence[int], block_bytes: int) -> list[dict[str, Any]]:
    """A line of relative least squares through the copies of each path and layout."""
    measured = table(samples, "transfer", passes)
    groups: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for step, t_s in zip(measured.steps, measured.median_s.tolist(), strict=True):
        groups[step.family].append((step.spec[0][1], t_s))
    out = []
    for family, points in groups.items():
        path, layout = family.split()
        blocks, t = np.array([b for b, _ in points], dtype=float), np.array([s for _, s in points])
        (latency_s, per_block_s), _ = _solve(np.stack([np.ones_like(t), blocks], axis=1), t)
        rate = float(block_bytes / per_block_s / 1e9) if per_block_s else None
        out.append(
            {
                "path": path,
                "layout": layout,
                "latency_s": float(latency_s),
                "gb_per_s": rate,
                "per_block_s": float(per_block_s),
            }
        )
    return out
