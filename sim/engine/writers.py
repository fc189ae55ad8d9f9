"""Which decodes write which replies, so that others can find what is written so far."""

from __future__ import annotations

from collections.abc import Iterable

from sim.engine.request import Request


class Writers:
    """Decodes by the segments of their replies.

    A decode's full blocks enter the cache's map when somebody could look: when it leaves, and before a
    lookup of a prompt that contains its reply. Order matters only if two write the same segment.
    """

    def __init__(self) -> None:
        self.contested: set[int] = set()
        """Segments with several writers."""
        self._of: dict[int, list[Request]] = {}

    def add(self, request: Request) -> None:
        """``request`` goes on token by token."""
        for segment in request.reply:
            writers = self._of.setdefault(segment, [])
            writers.append(request)
            if len(writers) == 2:
                self.contested.add(segment)

    def discard(self, request: Request) -> None:
        """``request`` writes no more, if it did."""
        for segment in request.reply:
            writers = self._of.get(segment)
            if writers is None or request not in writers:
                continue
            writers.remove(request)
            if len(writers) == 1:
                self.contested.discard(segment)
            elif not writers:
                del self._of[segment]

    def of(self, segments: Iterable[int]) -> list[Request]:
        """Who writes any of ``segments``, in order of admission, as the engine publishes."""
        due = {request for segment in segments for request in self._of.get(segment, ())}
        return sorted(due, key=lambda request: request.order) if due else []

    def write(self, segments: Iterable[int]) -> bool:
        """Whether any of ``segments`` is being written."""
        return any(segment in self._of for segment in segments)
