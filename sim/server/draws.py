"""Random draws of a live system: those that a replay of its traffic makes."""

from __future__ import annotations

from collections.abc import Callable


class Draws:
    """A draw for each request as it comes, from ``draw(n)``, which begins alike whatever ``n`` is."""

    def __init__(self, draw: Callable[[int], list[float]]) -> None:
        self._draw = draw
        self._drawn: list[float] = []

    def __getitem__(self, request: int) -> float:
        if request >= len(self._drawn):
            self._drawn = self._draw(max(1024, 2 * request))
        return self._drawn[request]
