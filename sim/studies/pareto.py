"""The Pareto front of two figures: what nothing else beats in both."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float] | None], higher: tuple[bool, bool]) -> list[int]:
    """Which of ``points`` lie on the front, from the best first figure to the best second one.

    ``higher`` tells which of the figures are better when they are higher. A point is on the front unless
    another is at least as good in both figures and better in one; equal points are on it together. A point
    without figures, None, is not.

    >>> front([(1, 9), (2, 5), (2, 7), (3, 5), None, (4, 1)], (False, False))
    [0, 1, 5]
    >>> front([(1, 9), (2, 5), (2, 7)], (False, True))
    [0]
    """
    signs = [-1 if high else 1 for high in higher]
    known = sorted(
        (signs[0] * point[0], signs[1] * point[1], i) for i, point in enumerate(points) if point is not None
    )
    out: list[int] = []
    best: tuple[float, float] | None = None
    for x, y, i in known:
        if best is None or y < best[1] or (x, y) == best:
            out.append(i)
            best = (x, y)
    return out
