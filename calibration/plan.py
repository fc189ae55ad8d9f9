"""What is measured: grids for the fit, random steps off the grid to hold it against, sentinels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from workloads.seeds import stream

Family = str
Split = Literal["fit", "heldout", "sentinel", "transfer", "overhead", "eager"]
Sequence = tuple[int, int]
"""(tokens in KV, new tokens)."""

PREFILL, CACHED, DECODE, MIXED = "prefill", "cached prefill", "decode", "mixed"
EVERY = 20
"""A pair of sentinels comes after so many samples, and at both ends of a pass."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """One thing to time. Of transfers ``spec`` is ((0, blocks),)."""

    family: Family
    split: Split
    spec: tuple[Sequence, ...]

    @property
    def prefills(self) -> list[Sequence]:
        """The sequences that count as prefills: one new token is a decode, but not in a prefill family."""
        if self.family in (PREFILL, CACHED):
            return list(self.spec)
        return [(h, n) for h, n in self.spec if n > 1]

    @property
    def decodes(self) -> list[Sequence]:
        """The other sequences."""
        return [] if self.family in (PREFILL, CACHED) else [(h, n) for h, n in self.spec if n == 1]

    @property
    def tokens(self) -> int:
        """New tokens of all sequences."""
        return sum(n for _, n in self.spec)

    @property
    def kv_tokens(self) -> int:
        """Tokens in KV afterwards, of all sequences."""
        return sum(h + n for h, n in self.spec)


@dataclass(frozen=True, slots=True)
class Grid:
    """The axes of a plan, and how many random steps are drawn."""

    new: tuple[int, ...]
    cached: tuple[int, ...]
    batch: tuple[int, ...]
    context: tuple[int, ...]
    mixed: int
    heldout: int
    kv_tokens: int
    """Most tokens in KV of one configuration, where the pool takes them."""
    sentinel: tuple[int, int, int]
    """New tokens of the prefill; batch and context of the decode."""
    blocks: tuple[int, ...]
    """KV blocks of the transfers."""


POWERS = tuple(2**i for i in range(9))
GRIDS = {
    "gpu": Grid(  # no prefill of one token: it runs in the graph of a decode
        new=tuple(sorted({*POWERS[1:], 96, 192, 384, 768, 1536, 512, 1024, 2048, 4096, 8192})),
        cached=(0, 512, 2048, 8192, 32768),
        batch=POWERS,
        context=(128, 512, 2048, 8192, 32768),
        mixed=60,
        heldout=80,
        kv_tokens=300_000,
        sentinel=(512, 8, 1024),
        blocks=(1, 8, 32, 128),
    ),
    "cpu": Grid(  # not only powers of two: products of odd sizes take longer
        new=(1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 47, 64, 90, 128, 181, 256, 384),
        cached=(0, 256, 1024, 2048),
        batch=(1, 2, 3, 4, 6, 8, 11, 16, 23, 32),
        context=(64, 256, 1024, 2048),
        mixed=48,
        heldout=64,
        kv_tokens=34_000,
        sentinel=(512, 8, 1024),
        blocks=(1, 8, 32, 128),
    ),
    "tiny": Grid(
        new=(1, 2, 3, 5, 8, 16, 31, 64),
        cached=(0, 64, 128),
        batch=(1, 2, 3, 4),
        context=(16, 128),
        mixed=8,
        heldout=12,
        kv_tokens=700,
        sentinel=(32, 4, 64),
        blocks=(1, 4),
    ),
}


def plan(grid: Grid, seed: int, kv_tokens: int, *, eager: bool) -> list[Configuration]:
    """All configurations of a pass but the sentinels; none needs more than ``kv_tokens`` in KV.

    ``eager``: decodes are timed without CUDA graphs too, which tells what launching costs.
    """
    made = [
        Configuration(CACHED if h else PREFILL, "fit", ((h, n),)) for n in grid.new for h in grid.cached
    ]
    decodes = [((h, 1),) * b for b in grid.batch for h in grid.context]
    made += [Configuration(DECODE, "fit", spec) for spec in decodes]
    made += [Configuration(MIXED, "fit", s) for s in _steps(grid, seed, "mixed", MIXED, grid.mixed, set())]
    fitted = {c.spec for c in made}
    share = grid.heldout // 4
    for family in (PREFILL, CACHED, DECODE, MIXED):
        for spec in _steps(grid, seed, f"heldout {family}", family, share, fitted):
            made.append(Configuration(family, "heldout", spec))
    if eager:
        made += [Configuration(DECODE, "eager", spec) for spec in decodes]
    limit = min(kv_tokens, grid.kv_tokens)
    made = [c for c in made if c.kv_tokens <= limit]
    for path in ("h2d", "d2h", "gather"):
        for layout in ("contiguous", "scattered"):
            for blocks in grid.blocks:
                made.append(Configuration(f"{path} {layout}", "transfer", ((0, blocks),)))
    made.append(Configuration("launch", "overhead", ((0, 0),)))
    return made


def sentinels(grid: Grid) -> list[Configuration]:
    """Full forward passes of the model that show whether the machine still runs at the same speed."""
    new, batch, context = grid.sentinel
    return [
        Configuration(PREFILL, "sentinel", ((0, new),)),
        Configuration(DECODE, "sentinel", ((context, 1),) * batch),
    ]


def schedule(
    configurations: list[Configuration], guards: list[Configuration], seed: int, number: int
) -> list[Configuration]:
    """Pass ``number``: everything once in a fresh random order, sentinels in between and at both ends."""
    order = stream(seed, f"pass {number}").permutation(len(configurations)).tolist()
    out = list(guards)
    for i, which in enumerate(order, start=1):
        out.append(configurations[which])
        if i % EVERY == 0 or i == len(order):
            out += guards
    return out


def _steps(
    grid: Grid, seed: int, name: str, family: Family, count: int, fitted: set[tuple[Sequence, ...]]
) -> list[tuple[Sequence, ...]]:
    """``count`` random steps, sizes log-uniform within the grid's ends, none of those ``fitted``."""
    random = stream(seed, name)
    fewest_new, most_new, most_cached = min(grid.new), max(grid.new), max(grid.cached)
    most_batch, most_context = max(grid.batch), max(grid.context)

    def between(low: int, high: int) -> int:
        return int(np.exp(random.uniform(np.log(low), np.log(high + 1))))

    out: list[tuple[Sequence, ...]] = []
    while len(out) < count:
        spec: list[Sequence] = []
        if family == PREFILL:
            spec = [(0, between(fewest_new, most_new))]
        elif family == CACHED:
            spec = [(between(16, most_cached), between(fewest_new, most_new))]
        if family in (DECODE, MIXED):
            batch = between(1, most_batch if family == DECODE else most_batch - 2)
            spec += [(between(16, most_context), 1) for _ in range(batch)]
        if family == MIXED:
            budget = most_new - len(spec)
            for _ in range(int(random.integers(1, 3))):
                if budget >= 2:
                    new = between(2, budget)
                    cached = between(16, most_cached) if random.random() < 0.7 else 0
                    spec.append((cached, new))
                    budget -= new
        if sum(h + n for h, n in spec) <= grid.kv_tokens and tuple(spec) not in fitted:
            out.append(tuple(spec))
    return out
