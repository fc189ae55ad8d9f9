"""A generator like a trace: its configuration, and how far what it draws is from the trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workloads import distributions
from workloads.generators.agent import AgentWorkload
from workloads.generators.chat import ChatWorkload
from workloads.generators.fitted import FittedWorkload
from workloads.shapes import Shapes, shapes_of
from workloads.trace import Trace

CAPACITIES_TOKENS = (1_000_000, 3_000_000, 10_000_000, 50_000_000)
POISSON_CV = (0.9, 1.1)
"""Between these the gaps between starts are taken for those of Poisson's process."""
WINDOW_STARTS, FEWEST_WINDOWS = 30, 20
"""Burstiness is measured in windows that hold so many starts in the mean, if there are so many of them."""
ArrivalKind = Literal["fitted", "replayed"]
Kind = Literal["fitted", "chat", "agent"]
"""Shapes of whole sessions, or a kind whose lengths and gaps are drawn independently."""
HitRates = Callable[[Trace, int | None, Sequence[int]], Sequence[float]]
"""Hit rates by tokens of a trace under LRU, in blocks of a size, at capacities in tokens."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fit:
    """A generator and how near it comes."""

    shapes: Shapes
    workload: dict[str, Any]
    """Its configuration, without the path of the shapes."""
    distances: dict[str, float]
    """Kolmogorov-Smirnov distances of the first seed's draw from the trace."""
    recorded: list[float]
    """Hit rates of the trace, at each of `CAPACITIES_TOKENS`."""
    drawn: list[list[float]]
    """The same for each seed's draw."""
    block_size: int | None
    """Of the trace's own blocks."""
    notes: list[str]
    """What the fit does not hold."""

    @property
    def largest_gap(self) -> float:
        """Of all capacities and seeds."""
        return float(np.abs(np.array(self.drawn) - np.array(self.recorded)).max())


def fit(trace: Trace, seeds: int, arrival: ArrivalKind, hit_rates: HitRates, kind: Kind = "fitted") -> Fit:
    """Fit a generator to ``trace`` and draw from it under so many seeds."""
    shapes = shapes_of(trace)
    starts: dict[str, Any] = {"arrival": _arrival(shapes, arrival)}
    if "at_s" not in starts["arrival"]:
        starts["sessions"] = len(shapes.sessions)
    draws = _draws(kind, shapes, starts, seeds)
    mine, recorded = _measured(draws[0], shapes_of(draws[0])), _measured(trace, shapes)
    size = trace.block_id_tokens
    return Fit(
        shapes,
        _SHORT[kind](shapes) | starts if kind in _SHORT else {"kind": "fitted", **starts},
        {name: ks_distance(values, mine[name]) for name, values in recorded.items()},
        list(hit_rates(trace, None, CAPACITIES_TOKENS)),
        [list(hit_rates(draw, size, CAPACITIES_TOKENS)) for draw in draws],
        size,
        _notes(trace, shapes, kind, starts),
    )


_SHORT = {"chat": distributions.chat, "agent": distributions.agent}


def _draws(kind: Kind, shapes: Shapes, starts: dict[str, Any], seeds: int) -> list[Trace]:
    """Traces of the generator, with gaps as long as they were when replies took the time of then."""
    if kind == "fitted":
        settings = {"kind": "fitted", "path": Path("shapes"), "gaps": "start_to_start"} | starts
        fitted = FittedWorkload.model_validate(settings)
        return [fitted.draw(shapes, seed) for seed in range(seeds)]
    model = ChatWorkload if kind == "chat" else AgentWorkload
    generator = model.model_validate(_SHORT[kind](shapes, as_served=True) | starts)
    return [generator.build(seed, Path()) for seed in range(seeds)]


def _notes(trace: Trace, shapes: Shapes, kind: Kind, starts: dict[str, Any]) -> list[str]:
    """What a reader of the configuration has to know."""
    if kind == "fitted":
        how = (
            "every shape of a session is used once before any is used again, so lengths, turns and gaps "
            "are the trace's; starts of sessions, their order and their content are drawn"
        )
    else:
        how = (
            "lengths, turns and gaps are drawn independently of each other, by their quantiles; what "
            "depends on what within a session is lost (kind fitted keeps it)"
        )
    notes = [how]
    if shapes.by_content:
        notes.append(
            f"{trace.origin} names no sessions: requests are taken for turns of one where a prompt goes on "
            "with an earlier one"
        )
    if starts["arrival"]["process"] == "closed_loop":
        notes.append(
            f"all sessions of {trace.origin} start at once: so do these (arrival: rate_per_s spreads them)"
        )
    there = {
        "tenants": len(set(trace.tenant)) > 1,
        "models": trace.models is not None and len(set(trace.models)) > 1,
        "priorities": len(set(trace.priority)) > 1,
        "parents of sub-agents": bool(trace.parents),
    }
    if any(there.values()):
        notes.append(f"not fitted: {', '.join(name for name, lost in there.items() if lost)}")
    return notes


def _arrival(shapes: Shapes, kind: ArrivalKind) -> dict[str, Any]:
    """The arrivals of sessions: listed, together, or a process of their rate and burstiness."""
    starts = np.array(shapes.starts_s)
    if kind == "replayed":
        return {"process": "replayed", "at_s": np.round(starts, 6).tolist()}
    gaps = np.diff(starts)
    if not len(gaps) or not gaps.any():
        return {"process": "closed_loop", "concurrency": len(starts)}
    rate = float(f"{1 / gaps.mean():.6g}")
    cv = _burstiness(starts)
    if POISSON_CV[0] <= cv <= POISSON_CV[1]:
        return {"process": "poisson", "rate_per_s": rate}
    return {"process": "gamma", "rate_per_s": rate, "cv": float(f"{min(max(cv, 0.01), 100):.4g}")}


def _burstiness(starts: Floats) -> float:
    """The coefficient of variation of independent gaps whose counts vary as those of ``starts`` do.

    Over windows of many gaps the variance of counts by their mean tends to its square. The gaps themselves
    would tell of the clock too: starts that are collected in ticks of 3 s are not bursts for a cache.
    """
    windows = len(starts) // WINDOW_STARTS
    if windows < FEWEST_WINDOWS:
        gaps = np.diff(starts)
        return float(gaps.std() / gaps.mean())
    counts = np.histogram(starts, windows)[0]
    return float((counts.var() / counts.mean()) ** 0.5)


def _measured(trace: Trace, shapes: Shapes) -> dict[str, Floats]:
    """What is compared of two traces."""
    gaps = [call.think_s + call.took_s for shape in shapes.sessions for call in shape.calls[1:]]
    return {
        "input tokens": np.array(trace.input_tokens, dtype=np.float64),
        "output tokens": np.array(trace.output_tokens, dtype=np.float64),
        "turns of a session": np.array([len(shape.calls) for shape in shapes.sessions], dtype=np.float64),
        "gap between turns, s": np.array(gaps, dtype=np.float64),
        "gap between sessions, s": np.diff(shapes.starts_s),
    }


def ks_distance(one: Floats, other: Floats) -> float:
    """The largest difference of two samples' distribution functions; 0 if both are empty.

    >>> ks_distance(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.5
    """
    if not len(one) or not len(other):
        return float(len(one) != len(other))
    values = np.union1d(one, other)
    below = [
        np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (one, other)
    ]
    return float(np.abs(below[0] - below[1]).max())
