"""The records of a whole run out of those of its parts: the same, to the last digit, as of one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from sim.fleet.checkpoints import fullest
from sim.parts.piece import Piece
from sim.results.records import EngineTotals, Records
from sim.results.window import Checkpoint


def merged(pieces: Sequence[Piece], groups: Sequence[Sequence[int]]) -> Records:
    """One table of all requests in the order of the trace, and the counters of all replicas.

    ``groups`` are the replicas of each piece. Counters are added up replica by replica in the order of
    their numbers, as one run adds them: sums of floats depend on their order.
    """
    if pieces[0].part is None:
        return pieces[0].records
    first = pieces[0].records
    out = replace(first, each_replica=None)
    for name, column in _columns(pieces).items():
        setattr(out, name, column)
    order = sorted(
        (number, i, place) for i, group in enumerate(groups) for place, number in enumerate(group)
    )
    for name in ("gpus", "steps", "work"):
        setattr(out, name, [getattr(pieces[i].records, name)[place] for _, i, place in order])
    if first.tier:
        out.tier = _column(pieces, [np.array(piece.records.tier, object) for piece in pieces]).tolist()
    for name in ("query_blocks", "hit_blocks", "evicted_blocks", "evicted_tokens"):
        counts = [getattr(piece.records, name) for piece in pieces]
        setattr(out, name, None if None in counts else sum(counts))
    out.hit_tokens_by_tier = _added([piece.records.hit_tokens_by_tier for piece in pieces])
    out.checkpoints = _checkpoints(pieces, [(i, place) for _, i, place in order])
    totals = out.checkpoints[-1].totals
    assert totals is not None
    out.engine = replace(totals)
    out.engine.max_used_blocks, out.engine.capacity_blocks = fullest(out.checkpoints)
    out.check()
    return out


def _columns(pieces: Sequence[Piece]) -> dict[str, np.ndarray]:
    """Every column of the table."""
    first = pieces[0].records
    names = [f.name for f in fields(first) if isinstance(getattr(first, f.name), np.ndarray)]
    return {name: _column(pieces, [getattr(p.records, name) for p in pieces]) for name in names}


def _column(pieces: Sequence[Piece], values: Sequence[np.ndarray]) -> np.ndarray:
    """One column: what each piece has of it, where the piece says that it belongs."""
    assert pieces[0].part is not None
    out = np.empty(pieces[0].part.requests, values[0].dtype)
    for piece, own in zip(pieces, values, strict=True):
        assert piece.part is not None
        out[np.frombuffer(piece.part.numbers, np.int64)] = own
    return out


def _added(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    return {name: sum(each[name] for each in counts) for name in counts[0]}


def _checkpoints(pieces: Sequence[Piece], order: Sequence[tuple[int, int]]) -> list[Checkpoint]:
    """The counters of all replicas at each time at which a run of all of them notes them.

    A part that is over has its last counters from then on, and holds no block.
    """
    taken = [piece.records.checkpoints for piece in pieces]
    longest = max(taken, key=lambda one: (len(one), one[-1].at_s))
    end_s = max(one[-1].at_s for one in taken)
    out = []
    for n, at in enumerate(longest):
        totals, full = EngineTotals(), True
        for i, place in order:
            now = _at(pieces[i].records, n)[place]
            if n >= len(taken[i]):
                now = replace(now, max_used_blocks=0)
            totals.add(now)
            full = full and now.evicted_blocks > 0
        tiers = _added([one[min(n, len(one) - 1)].tier_hits for one in taken])
        at_s = end_s if n == len(longest) - 1 else at.at_s
        out.append(Checkpoint(at_s, totals, totals.evicted_blocks, tier_hits=tiers, full=full))
    return out


def _at(records: Records, checkpoint: int) -> list[EngineTotals]:
    assert records.each_replica is not None
    return records.each_replica[min(checkpoint, len(records.each_replica) - 1)]
