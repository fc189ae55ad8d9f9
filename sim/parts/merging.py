"""A run out of its parts: the same, to the last digit, as of one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sim.fleet.checkpoints import fullest
from sim.parts.piece import Piece
from sim.parts.rows import column_names
from sim.results.records import EngineTotals, Records
from sim.results.tally import head_of
from sim.results.window import Checkpoint

Groups = Sequence[Sequence[int]]
"""The replicas of each part."""


def merged(pieces: Sequence[Piece], groups: Groups) -> Records:
    """One table of all requests in the order of the trace, with the counters of all replicas."""
    if pieces[0].part is None:
        return pieces[0].records
    parts = [piece.records for piece in pieces]
    out = head_of_all([head_of(records) for records in parts], groups)
    for name in column_names(parts[0]):
        setattr(out, name, _column(pieces, [getattr(records, name) for records in parts]))
    if any(records.tier for records in parts):
        out.tier = _column(pieces, [np.array(records.tier, object) for records in parts]).tolist()
    for name in ("steps", "work"):
        setattr(out, name, [getattr(parts[i], name)[place] for i, place in _in_order(groups)])
    out.check()
    return out


def _column(pieces: Sequence[Piece], values: Sequence[np.ndarray]) -> np.ndarray:
    """One column: what each piece has of it, where the piece says that it belongs."""
    assert pieces[0].part is not None
    out = np.empty(pieces[0].part.requests, values[0].dtype)
    for piece, own in zip(pieces, values, strict=True):
        assert piece.part is not None
        out[np.frombuffer(piece.part.numbers, np.int64)] = own
    return out


def _in_order(groups: Groups) -> list[tuple[int, int]]:
    """All replicas in the order of their numbers, each as its part and its place there."""
    numbers = [(number, i, place) for i, group in enumerate(groups) for place, number in enumerate(group)]
    return [(i, place) for _, i, place in sorted(numbers)]


def head_of_all(heads: Sequence[Records], groups: Groups) -> Records:
    """What is known of the whole run without its requests and steps.

    Counters are added up replica by replica in the order of their numbers, as one run adds them: sums of
    floats depend on their order.
    """
    order = _in_order(groups)
    out = replace(heads[0], each_replica=None)
    out.gpus = [heads[i].gpus[place] for i, place in order]
    for name in ("query_blocks", "hit_blocks", "evicted_blocks", "evicted_tokens"):
        counts = [getattr(head, name) for head in heads]
        setattr(out, name, None if None in counts else sum(counts))
    out.hit_tokens_by_tier = _added([head.hit_tokens_by_tier for head in heads])
    out.checkpoints = _checkpoints(heads, order)
    totals = out.checkpoints[-1].totals
    assert totals is not None
    out.engine = replace(totals)
    out.engine.max_used_blocks, out.engine.capacity_blocks = fullest(out.checkpoints)
    return out


def _added(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    return {name: sum(each[name] for each in counts) for name in counts[0]}


def _checkpoints(heads: Sequence[Records], order: Sequence[tuple[int, int]]) -> list[Checkpoint]:
    """The counters of all replicas at each time at which a run of all of them notes them.

    A part that is over has its last counters from then on, and holds no block.
    """
    taken = [head.checkpoints for head in heads]
    longest = max(taken, key=lambda one: (len(one), one[-1].at_s))
    end_s = max(one[-1].at_s for one in taken)
    out = []
    for n, at in enumerate(longest):
        totals, full = EngineTotals(), True
        for i, place in order:
            now = _at(heads[i], n)[place]
            if n >= len(taken[i]):
                now = replace(now, max_used_blocks=0)
            totals.add(now)
            full = full and now.evicted_blocks > 0
        tiers = _added([one[min(n, len(one) - 1)].tier_hits for one in taken])
        at_s = end_s if n == len(longest) - 1 else at.at_s
        out.append(Checkpoint(at_s, totals, totals.evicted_blocks, tier_hits=tiers, full=full))
    return out


def _at(head: Records, checkpoint: int) -> list[EngineTotals]:
    assert head.each_replica is not None
    return head.each_replica[min(checkpoint, len(head.each_replica) - 1)]
