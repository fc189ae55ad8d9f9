"""The curve of an experiment: from all segments, or from a sample of them.

Sampling follows SHARDS (Waldspurger et al., "Efficient MRC Construction with SHARDS", FAST 2015): what
is followed depends on a hash of its identity alone, so every use of it is seen; distances measured
among what is followed are scaled up. The unit here is a whole segment, because all its blocks are used
together and its distances follow from one number. A segment of w blocks that n requests use is followed
with probability min(1, rate x w x sqrt(n)), and stands for one over that many like it. With single
blocks used once that is SHARDS. It makes the sample keep large segments, which would be a lottery at a
flat rate, and hot ones, which carry most hits; following one costs n, so the square root gives the
least error for the time (Neyman's allocation).

SHARDS-adj adds the difference between the references expected and those seen at the smallest distance.
Here the number of reuses is known without following anything, so the difference between reuses known
and seen is added there: on the traces at hand about half the error, and an infinite cache is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sim.config import Config
from sim.experiment import Progress, build_trace
from sim.results.records import Floats, Ints
from sim.studies.curve import Blocks, Curve, blocks_of, curve_of, exact, reuses
from sim.systems.cache import CacheSystem
from sim.systems.engine import EngineSystem
from workloads.errors import InputError
from workloads.trace import Trace

COMPARED = 100
"""Errors are taken at so many capacities, evenly spaced in their logarithm."""
EXACT_USES = 2_000_000
"""Up to so many uses of segments (a few seconds) a sample is held against the exact curve."""


@dataclass(frozen=True, slots=True)
class Error:
    """Distance of a sampled curve from the exact one, in hit rate by blocks (0 to 1)."""

    mean: float
    """Mean absolute error over the log-spaced capacities."""
    largest: float


@dataclass(frozen=True, slots=True)
class ContentSample:
    """What a sampled curve stands on."""

    rate: float
    followed: int
    """Segments in the sample, ..."""
    segments: int
    """... of so many that have blocks and are used."""
    error: Error
    truth: Curve | None
    """The exact curve that ``error`` was measured against; None where it is an estimate."""


@dataclass(frozen=True, slots=True)
class Point:
    """A cache of the experiment in replay, to be seen beside the curve."""

    system: str
    capacity_tokens: int
    hit_rate: float
    """By tokens."""


@dataclass(frozen=True, slots=True)
class CurveStudy:
    """The curve of an experiment's trace, and the experiment's own caches."""

    name: str
    curve: Curve
    sample: ContentSample | None
    points: list[Point]
    memory_tokens: dict[str, int] = field(default_factory=dict)
    """What the KV memory of each engine of the experiment holds, replicas together."""


def study(config: Config, block_size: int | None, rate: float | None, progress: Progress) -> CurveStudy:
    """The LRU curve of the experiment's workload; systems of ``kind: cache`` with a capacity are run.

    Blocks are those of ``blocks_of``. With a ``rate`` the curve is sampled, and held against the exact
    one if that takes no more than ``EXACT_USES``.
    """
    config.require_one_seed()
    if rate is not None:
        _require_rate(rate)
    progress("loading the workload", 0, None)
    trace = build_trace(config)
    blocks = blocks_of(trace, block_size)
    progress("hit-rate curve", 0, None)
    sample = None
    if rate is None:
        curve = exact(blocks)
    else:
        affordable = int(blocks.uses[blocks.count > 0].sum()) <= EXACT_USES
        curve, sample = sampled(blocks, rate, exact(blocks) if affordable else None)
    return CurveStudy(config.name, curve, sample, _points(config, trace, progress), _memory_tokens(config))


def _memory_tokens(config: Config) -> dict[str, int]:
    engines = {name: one for name, one in config.systems.items() if isinstance(one, EngineSystem)}
    return {name: tokens for name, one in engines.items() if (tokens := one.memory_tokens) is not None}


def _points(config: Config, trace: Trace, progress: Progress) -> list[Point]:
    points = []
    for name, system in config.systems.items():
        if not isinstance(system, CacheSystem):
            continue
        key = f"systems.{name}"
        system.check_trace(trace, key, config.folder)
        tokens = capacity_tokens(system, trace)
        if tokens is not None:
            progress(name, 0, len(trace))

            def tick(done: int, part: str = name) -> None:
                progress(part, done, len(trace))

            records = system.run(trace, key, config.folder, tick)
            hits = int(records.cache_read_input_tokens.sum())
            points.append(Point(name, tokens, hits / int(records.input_tokens.sum())))
    return points


def capacity_tokens(system: CacheSystem, trace: Trace) -> int | None:
    """The system's capacity in tokens; a cache that has no block size of its own counts ids."""
    capacity: int | None = getattr(system.cache, "capacity_tokens", None)
    blocks: int | None = getattr(system.cache, "capacity_blocks", None)
    size: int | None = getattr(system.cache, "block_size", trace.block_id_tokens)
    return blocks * size if blocks is not None and size is not None else capacity


def sampled(blocks: Blocks, rate: float, truth: Curve | None = None) -> tuple[Curve, ContentSample]:
    """The LRU curve from a sample of segments; the same sample for the same trace, on any machine.

    ``rate`` is the probability to follow one block that is used once; at 1 the curve is exact. The
    error is measured against ``truth``, or estimated. InputError for a bad rate or an empty sample.
    """
    _require_rate(rate)
    used = (blocks.uses > 0) & (blocks.count > 0)
    chance = np.where(used, np.minimum(1.0, rate * blocks.count * np.sqrt(blocks.uses)), 0.0)
    followed = _hashed(np.arange(len(chance), dtype=np.uint64)) < chance
    segments = int(used.sum())
    if not followed.any():
        raise InputError(f"--sample {rate}: follows none of {segments} segments; allowed: a larger rate")
    height = np.zeros(len(chance))
    np.divide(1.0, chance, out=height, where=followed)
    segment, start = reuses(blocks, height)
    seen = float((height * blocks.count) @ np.maximum(blocks.uses - 1, 0))
    curve = curve_of(blocks, height, segment, start, blocks.most_hit_blocks - seen)
    error = _estimate(curve, height, segment, start) if truth is None else difference(curve, truth)
    return curve, ContentSample(rate, int(followed.sum()), segments, error, truth)


def _require_rate(rate: float) -> None:
    if not 0 < rate <= 1:
        raise InputError(f"--sample {rate}: allowed: above 0, up to 1")


def _estimate(curve: Curve, height: Floats, segment: Ints, start: Floats) -> Error:
    """The error to expect, from the sample alone.

    All reuses are known, so an error at a capacity is one of the reuses that miss there. Horvitz and
    Thompson's estimate of the variance of such a sum is that over the segments followed, each with its
    misses squared times h (h - 1), where h is what it stands for. The mean size of a normal error is
    sqrt(2 / pi) of its standard deviation; two of those are given as the largest. That distances are
    estimated too is left out: it moves misses from one capacity to the next.
    """
    blocks = curve.blocks
    spread = height * (height - 1)
    chancy = np.flatnonzero(spread[segment] > 0)
    end = start[chancy] + blocks.count[segment[chancy]]
    deepest_first = np.argsort(-end, kind="stable")
    of, end = segment[chancy][deepest_first], end[deepest_first]
    at = log_spaced(curve.full_blocks, COMPARED)
    deviation = np.zeros(len(at))
    for i, missing in enumerate(np.searchsorted(-end, -at).tolist()):
        misses = np.minimum(end[:missing] - at[i], blocks.count[of[:missing]])
        of_segment = np.bincount(of[:missing], misses, len(height))
        deviation[i] = math.sqrt((spread * of_segment**2).sum())
    deviation /= blocks.references
    return Error(float(deviation.mean()) * math.sqrt(2 / math.pi), float(deviation.max()) * 2)


def difference(curve: Curve, truth: Curve) -> Error:
    """The measured error of ``curve``."""
    at = log_spaced(truth.full_blocks, COMPARED)
    error = np.abs(curve.rate_blocks(at) - truth.rate_blocks(at))
    return Error(float(error.mean()), float(error.max()))


def log_spaced(largest: int, count: int) -> Ints:
    """About ``count`` whole numbers from 1 to ``largest``, evenly spaced in their logarithm."""
    return np.unique(np.rint(np.geomspace(1, largest, count)).astype(np.int64))


def _hashed(numbers: NDArray[np.uint64]) -> Floats:
    """A number in [0, 1) per whole number: splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    z = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))).astype(np.float64) / 2.0**64
