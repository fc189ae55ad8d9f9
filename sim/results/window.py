"""The part of a run that its figures are about, and the counters at which such parts begin and end."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.results.records import EngineTotals


@dataclass(frozen=True, slots=True)
class Window:
    """From ``start_s`` on, before ``end_s``, in s of simulated time.

    Figures of requests are about those that arrive in it; iterations, gaps between tokens and counters are
    those of its time. ``WHOLE`` is the run from the first arrival to the last reply.
    """

    start_s: float = 0.0
    end_s: float = inf

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self.start_s <= 0 and self.end_s == inf

    def parts(self, n: int, last_s: float) -> list[Window]:
        """``n`` parts of equal length, one after the other; an endless window ends at ``last_s``."""
        end_s = min(self.end_s, last_s)
        step = (end_s - self.start_s) / n
        edges = [self.start_s + i * step for i in range(n)] + [self.end_s]
        return [Window(a, b) for a, b in pairwise(edges)]


WHOLE = Window()


@dataclass(slots=True)
class Checkpoint:
    """The counters of a run as they stood at ``at_s``, all replicas together."""

    at_s: float
    totals: EngineTotals | None = None
    """Highest usage in it is that since the checkpoint before."""
    evicted_blocks: int | None = None
    evicted_tokens: int | None = None
    query_blocks: int | None = None
    hit_blocks: int | None = None
    tier_hits: dict[str, int] = field(default_factory=dict)
    """Hit tokens from each lower tier."""
    full: bool = False
    """Whether every cache has begun to evict: from then on a longer run does not fill it further."""


def at(checkpoints: Sequence[Checkpoint], at_s: float) -> Checkpoint | None:
    """The checkpoint of the time ``at_s``; None if no counters were noted then."""
    place = bisect_left(checkpoints, at_s, key=lambda checkpoint: checkpoint.at_s)
    if place < len(checkpoints) and checkpoints[place].at_s == at_s:
        return checkpoints[place]
    return None


def between(checkpoints: Sequence[Checkpoint], window: Window) -> Checkpoint | None:
    """What the counters counted in ``window``; None where it begins or ends at no checkpoint.

    The last checkpoint is that of the end of the run.
    """
    if not checkpoints:
        return None
    first = Checkpoint(-inf) if window.start_s <= 0 else at(checkpoints, window.start_s)
    last = checkpoints[-1] if window.end_s >= checkpoints[-1].at_s else at(checkpoints, window.end_s)
    if first is None or last is None:
        return None
    highest = [c.totals for c in checkpoints if first.at_s < c.at_s <= last.at_s and c.totals is not None]
    return Checkpoint(
        last.at_s,
        _totals(first.totals, last.totals, highest),
        _less(last.evicted_blocks, first.evicted_blocks),
        _less(last.evicted_tokens, first.evicted_tokens),
        _less(last.query_blocks, first.query_blocks),
        _less(last.hit_blocks, first.hit_blocks),
        {tier: hits - first.tier_hits.get(tier, 0) for tier, hits in last.tier_hits.items()},
        last.full,
    )


def _less(last: int | None, first: int | None) -> int | None:
    return None if last is None else last - (first or 0)


def _totals(
    first: EngineTotals | None, last: EngineTotals | None, since: Sequence[EngineTotals]
) -> EngineTotals | None:
    """The counters of ``last`` less those of ``first``; the highest usage of all ``since`` the first."""
    if last is None:
        return None
    out = replace(last)
    if first is not None:
        for counter in fields(out):
            if counter.name not in ("max_used_blocks", "capacity_blocks"):
                left = getattr(last, counter.name) - getattr(first, counter.name)
                setattr(out, counter.name, left)
    since = since or [last]
    fullest = max(since, key=lambda totals: totals.max_used_blocks / max(1, totals.capacity_blocks))
    out.max_used_blocks, out.capacity_blocks = fullest.max_used_blocks, fullest.capacity_blocks
    return out
