"""How blocks leave what a request holds while it runs, and in which order they stand in the queue then."""

from __future__ import annotations

from sim.caches.block import BlockCache
from sim.caches.groups.braid import GroupPool
from sim.caches.runs import Run
from sim.caches.tables import BlockTable


def front(pool: BlockCache, table: BlockTable, upto: int) -> list[Run]:
    """Take the blocks before number ``upto`` out of what ``table`` holds: their runs, shallowest first."""
    table.growing = None
    entries, pieces, done = table.entries, [], 0
    rest: list[tuple[Run, int]] = []
    for run, hi in entries:
        if run.lo >= upto:
            break
        done += 1
        piece = run
        while True:
            if piece.hi > upto:
                pool.split(piece, upto)
            pieces.append(piece)
            if piece.hi >= upto or piece.hi >= hi:
                break
            assert piece.deeper is not None
            piece = piece.deeper
        if piece.hi < hi:
            assert piece.deeper is not None
            rest = [(piece.deeper, hi)]
            break
    entries[:done] = rest
    return pieces


def leave_together(pool: BlockCache, pieces: list[Run], owner: int) -> None:
    """No longer hold ``pieces``: the deepest block goes to the queue first, then the one before it."""
    for piece in reversed(pieces):
        piece.refs -= 1
        if not piece.refs:
            pool.let_go(piece, owner)
            if piece.hi - piece.lo == 1:
                _join_after(pool, piece)


def leave_in_turn(pool: GroupPool, run: Run) -> None:
    """``run``, which nobody holds now, goes to the queue from its shallow end."""
    pool.put(run, run.owner)
    run.up = run.hi - run.lo > 1
    _join_after(pool, run)


def _join_after(pool: BlockCache, run: Run) -> None:
    """Join ``run`` with what goes right before it, if that is what lies right before it."""
    older = run.older
    assert older is not None
    if older.hi == run.lo and older.node == run.node and (older.up or older.hi - older.lo == 1):
        hi = older.hi
        pool.join(older, run)
        if older.hi > hi:
            older.up = True
