"""LRU hit rate at every cache size from one pass over a trace; numbers only.

A cache of C blocks under LRU holds the C blocks on top of one stack that does not depend on C (Mattson
et al., "Evaluation techniques for storage hierarchies", IBM Systems Journal 9(2), 1970), so a block is
a hit exactly at the capacities above the number of blocks that lie on it. Requests are served one
after the other; each touches its blocks from the last to the first (tail first), as ``IdsCache`` does
and as vLLM releases them. Cost: O(segments used x log requests), whatever the number of blocks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.results.records import Floats, Ints
from workloads.errors import InputError
from workloads.schema import MOST
from workloads.trace import Trace

DEFAULT_BLOCK_SIZE = 16
"""Tokens per block where the trace names no blocks: the default of vLLM and of ``kind: block``."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Which blocks the segments of a trace hold, and which segments its requests use, in order.

    With ``own_ids`` these are the trace's ids, each one block whatever its fill: what ``IdsCache``
    counts. Otherwise they are the full blocks of ``size_tokens`` tokens of every prompt; a block belongs
    to the segment in which it ends. That differs from an engine's block cache in two ways: a reply is
    not stored (a later prompt that resends it stores it then), and the last token of a prompt may be a
    hit too, so a known prompt whose length is a multiple of the block size is a hit to its end.
    """

    size_tokens: int
    own_ids: bool
    parent: Ints
    first: Ints
    """Blocks of a path that come before the segment."""
    count: Ints
    """Blocks of the segment; every request through it uses all of them."""
    short: Ints
    """Tokens that the segment's last block has less than the others."""
    prompts: Ints
    """Segment at which each prompt ends, in the order in which requests are served."""
    uses: Ints
    """Requests that use each segment."""
    input_tokens: int
    """Of all requests."""

    @property
    def references(self) -> int:
        """Blocks looked up by all requests."""
        return int(self.uses @ self.count)

    @property
    def working_set_blocks(self) -> int:
        """Distinct blocks."""
        return int(self.count[self.uses > 0].sum())

    @property
    def working_set_tokens(self) -> int:
        """Tokens in them."""
        return self.working_set_blocks * self.size_tokens - int(self.short[self.uses > 0].sum())

    @property
    def most_hit_blocks(self) -> int:
        """Hits of an infinite cache: every use of a block but the first."""
        return self.references - self.working_set_blocks

    @property
    def most_hit_tokens(self) -> int:
        """Tokens in them."""
        return self.references * self.size_tokens - int(self.uses @ self.short) - self.working_set_tokens


def blocks_of(trace: Trace, block_size: int | None = None) -> Blocks:
    """The trace's own block ids, or blocks of ``block_size`` tokens over its content. O(segments).

    Without a size a trace that names no blocks is cut into ``DEFAULT_BLOCK_SIZE``. InputError if
    nothing can be looked up.
    """
    if not len(trace):
        raise InputError(f"{trace.origin}: no requests; allowed: at least one")
    own_ids = block_size is None and trace.named_blocks is not None
    end = np.array(trace.content.end, dtype=np.int64)
    parent = np.array(trace.content.parent, dtype=np.int64)
    parent[0] = 0
    if own_ids:
        assert trace.named_blocks is not None and trace.block_id_tokens is not None
        size = trace.block_id_tokens
        until = -(-end // size)
        np.minimum.at(until, np.array(trace.prompt), np.array(trace.named_blocks))
    else:
        size = DEFAULT_BLOCK_SIZE if block_size is None else block_size
        if not 1 <= size <= MOST:
            raise InputError(f"--block-size {size}: allowed: at least 1 token, up to {MOST:.0e}")
        until = end // size
    prompts = np.array(trace.prompt, dtype=np.int64)[[i for _, i in trace.instant_order()]]
    blocks = Blocks(
        size_tokens=size,
        own_ids=own_ids,
        parent=parent,
        first=until[parent],
        count=until - until[parent],
        short=np.maximum(until * size - end, 0),
        prompts=prompts,
        uses=_uses(prompts, parent, end),
        input_tokens=int(end[prompts].sum()),
    )
    if not blocks.references:
        raise InputError(
            f"{trace.origin}: no prompt has a block of {size} tokens, the longest has "
            f"{end[prompts].max()}; allowed: a --block-size of at most that"
        )
    return blocks


def _uses(prompts: Ints, parent: Ints, end: Ints) -> Ints:
    """How many prompts go through each segment; a child ends behind its parent."""
    uses: list[int] = np.bincount(prompts, minlength=len(parent)).tolist()
    above: list[int] = parent.tolist()
    for segment in np.argsort(-end, kind="stable").tolist():
        uses[above[segment]] += uses[segment]
    uses[0] = 0
    return np.array(uses, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Curve:
    """Hits as a function of the capacity in blocks.

    Hit blocks are linear between ``knots``: a segment's blocks lie one below the other in the stack, so
    their distances are consecutive. Hit tokens follow from them, less what partial blocks lack.
    """

    blocks: Blocks
    knots: Floats
    hits: Floats
    """Hit blocks at each knot."""
    slopes: Floats
    """Hit blocks per block of capacity after each knot; 0 after the last."""
    short_from: Floats
    """Capacities from which a partial block is a hit, ascending, ..."""
    short: Floats
    """... and the tokens that all partial blocks up to this one lack."""

    @property
    def full_blocks(self) -> int:
        """The smallest capacity, in blocks, from which on more capacity gives nothing more."""
        return int(self.knots[-1])

    def hit_blocks(self, capacity_blocks: Sequence[int] | Ints) -> Ints:
        """Hit blocks at each capacity."""
        capacity = np.minimum(np.asarray(capacity_blocks, dtype=np.float64), self.knots[-1])
        at = np.searchsorted(self.knots, capacity, side="right") - 1
        hits = self.hits[at] + self.slopes[at] * (capacity - self.knots[at])
        rounded: Ints = np.rint(hits).astype(np.int64)
        return np.minimum(np.maximum(rounded, 0), self.blocks.most_hit_blocks)

    def hit_tokens(self, capacity_blocks: Sequence[int] | Ints) -> Ints:
        """Prompt tokens in those hits."""
        at = np.searchsorted(self.short_from, np.asarray(capacity_blocks), side="right")
        lacking: Ints = np.rint(np.append(0.0, self.short)[at]).astype(np.int64)
        hits: Ints = self.hit_blocks(capacity_blocks) * self.blocks.size_tokens - lacking
        return np.minimum(np.maximum(hits, 0), self.blocks.most_hit_tokens)

    def rate_blocks(self, capacity_blocks: Sequence[int] | Ints) -> Floats:
        """Hit blocks as a share of the blocks looked up."""
        return self.hit_blocks(capacity_blocks) / self.blocks.references

    def rate_tokens(self, capacity_blocks: Sequence[int] | Ints) -> Floats:
        """Hit tokens as a share of all prompt tokens."""
        return self.hit_tokens(capacity_blocks) / self.blocks.input_tokens

    def capacity_for(self, share: float) -> int:
        """The smallest capacity, in blocks, that gives ``share`` of the most tokens it can give."""
        sizes = range(1, self.full_blocks + 1)
        wanted = share * int(self.hit_tokens([self.full_blocks])[0])
        return sizes[bisect_left(sizes, wanted, key=lambda size: int(self.hit_tokens([size])[0]))]

    def check(self) -> None:
        """Assert the invariants of an exact curve: all reuse is found, nothing is lost by growing."""
        assert (np.diff(self.knots) > 0).all() and (self.slopes >= 0).all() and self.slopes[-1] == 0
        assert self.hits[-1] == self.blocks.most_hit_blocks
        lacking = self.short[-1] if len(self.short) else 0
        assert self.hits[-1] * self.blocks.size_tokens - lacking == self.blocks.most_hit_tokens


def exact(blocks: Blocks) -> Curve:
    """The LRU curve of all requests."""
    height = np.ones(len(blocks.count))
    return curve_of(blocks, height, *reuses(blocks, height))


def curve_of(
    blocks: Blocks, height: Floats, segment: Ints, start: Floats, correction_blocks: float = 0.0
) -> Curve:
    """The curve from ``reuses``, those of a segment standing for ``height`` times as many.

    ``correction_blocks`` hits are added at every capacity (they may be negative).
    """
    end: Floats = start + blocks.count[segment]
    height = height[segment]
    short: Floats = height * blocks.short[segment]
    partial = np.flatnonzero(short)
    partial = partial[np.argsort(end[partial], kind="stable")]
    bounds = np.concatenate([[0.0, 1.0], start, end])
    change = np.concatenate([[correction_blocks, -correction_blocks], height, -height])
    knots, index = np.unique(bounds, return_inverse=True)
    slopes: Floats = np.cumsum(np.bincount(index, change, len(knots)))
    slopes[-1] = 0.0  # not a rounding error's worth of it
    hits: Floats = np.append(0.0, np.cumsum(slopes[:-1] * np.diff(knots)))
    return Curve(blocks, knots, hits, slopes, end[partial], np.cumsum(short[partial]))


def reuses(blocks: Blocks, height: Floats) -> tuple[Ints, Floats]:
    """Every use of a segment that was used before, and the blocks that lie on its first block then.

    Segments without ``height`` are left out, others stand for that many of their size. Of a path, what
    one earlier request used last lies together in the stack, so the tree is asked once per such part.
    The path's own shallower blocks lie above a segment too; they are known (``blocks.first``).
    """
    kept = (height > 0) & (blocks.count > 0)
    up = _nearest(blocks.parent, kept)
    above: list[int] = up[blocks.parent].tolist()
    weight: list[float] = (blocks.count * height).tolist()
    starts = up[blocks.prompts]
    starts = starts[starts > 0]
    touched = _Fenwick(len(starts))
    last = [0] * len(above)  # the request, counted from 1, that used the segment last; 0 for none
    stack = others = 0.0  # weight of all blocks used so far; of those above the path's present part
    segments, aboves = [], []
    for now, deepest in enumerate(starts.tolist(), 1):
        path = []
        while deepest:
            path.append(deepest)
            deepest = above[deepest]
        mine = begin = 0.0  # weight of the path so far, and where its present part begins
        part = 0  # the request that used this part last
        for segment in reversed(path):
            used = last[segment]
            if used != part:
                if part:
                    touched.add(part, begin - mine)
                part, begin = used, mine
                if used:
                    others = stack - touched.up_to(used) - mine
            if used:
                segments.append(segment)
                aboves.append(others)
            last[segment] = now
            mine += weight[segment]
        if part:
            touched.add(part, begin - mine)
        else:
            stack += mine - begin
        touched.add(now, mine)
    used_again = np.array(segments, dtype=np.int64)
    return used_again, np.rint(blocks.first[used_again] + np.array(aboves, dtype=np.float64))


def _nearest(parent: Ints, kept: NDArray[np.bool_]) -> Ints:
    """The deepest kept segment on the path to each segment, itself included; 0 for none."""
    up = np.where(kept, np.arange(len(parent)), parent)
    up[0] = 0
    while not np.array_equal(up, further := up[up]):  # each round goes twice as far
        up = further
    return up


class _Fenwick:
    """Sums over a prefix of an array that changes, O(log n) each (Fenwick, SP&E 24(3), 1994)."""

    __slots__ = ("_tree",)

    def __init__(self, size: int) -> None:
        self._tree = [0.0] * (size + 1)

    def add(self, at: int, amount: float) -> None:
        """Add ``amount`` at place ``at``, counted from 1."""
        tree = self._tree
        while at < len(tree):
            tree[at] += amount
            at += at & -at

    def up_to(self, at: int) -> float:
        """The sum of places 1 to ``at``."""
        total = 0.0
        while at:
            total += self._tree[at]
            at &= at - 1
        return total
