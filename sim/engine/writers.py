"""Which decodes write which replies, so that others can find what is written so far."""

from __future__ import annotations

from sim.engine.request import Request
from workloads.content import Route

NONE: list[Request] = []
"""What most routes have."""


class Writers:
    """Decodes by the nodes in which their replies lie.

    A decode's full blocks enter the cache's map when a lookup could find them: when it leaves, and before a
    lookup of a prompt that contains some of its reply. Order matters only if two write the same content.
    """

    def __init__(self) -> None:
        self.contested: set[int] = set()
        """Nodes in which two replies have content in common."""
        self._of: dict[int, list[tuple[Request, int]]] = {}  # node -> (writer, where its reply leaves it)

    def add(self, request: Request) -> None:
        """``request`` goes on token by token."""
        reply, ends = request.reply, request.table.route.ends
        at = len(ends) - len(reply)
        for node in reply:
            writers = self._of.get(node)
            if writers is None:
                self._of[node] = [(request, ends[at])]
            else:
                writers.append((request, ends[at]))
                self._contest(node, writers)
            at += 1

    def discard(self, request: Request) -> None:
        """``request`` writes no more, if it did."""
        for node in request.reply:
            writers = self._of.get(node)
            if writers is None:
                continue
            if len(writers) == 1:
                if writers[0][0] is request:
                    del self._of[node]
                continue
            left = [writer for writer in writers if writer[0] is not request]
            if not left:
                del self._of[node]
            elif len(left) < len(writers):
                self._of[node] = left
                self._contest(node, left)

    def of(self, route: Route) -> list[Request]:
        """The writers of anything on ``route``, in order of admission, as the engine publishes."""
        known = self._of
        for node in route.nodes:
            if node in known:
                break
        else:
            return NONE
        due: set[Request] = set()
        for node, until in zip(route.nodes, route.ends, strict=True):
            if node in known:
                due.update(writer for writer, _ in known[node] if writer.prompt_tokens < until)
        return _in_order(due)

    def of_contested(self) -> list[Request]:
        """The writers in contested nodes, in order of admission."""
        return _in_order({writer for node in self.contested for writer, _ in self._of[node]})

    def write(self, route: Route) -> bool:
        """Whether anything on ``route`` is being written."""
        return bool(self.of(route))

    def _contest(self, node: int, writers: list[tuple[Request, int]]) -> None:
        written = 0
        for start, end in sorted((writer.prompt_tokens, end) for writer, end in writers):
            if start < written:
                self.contested.add(node)
                return
            written = max(written, end)
        self.contested.discard(node)


def _in_order(requests: set[Request]) -> list[Request]:
    return sorted(requests, key=lambda request: request.order)
