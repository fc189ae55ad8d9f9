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
        self._first: dict[int, Request] = {}
        """A writer of each node that has any; mostly there is no other."""
        self.nodes = self._first.keys()
        """Nodes that have a writer."""
        self._others: dict[int, list[Request]] = {}

    def add(self, request: Request) -> None:
        """``request`` goes on token by token."""
        for node in request.reply:
            if self._first.setdefault(node, request) is not request:
                self._others.setdefault(node, []).append(request)
                self._contest(node)

    def discard(self, request: Request) -> None:
        """``request`` writes no more, if it did."""
        first, others = self._first, self._others
        for node in request.reply:
            if node in others:
                self._leave(node, request)
            elif first.get(node) is request:
                del first[node]

    def _leave(self, node: int, request: Request) -> None:
        """Take ``request`` out of the several writers of ``node``, if it is one."""
        left = [writer for writer in self._in(node) if writer is not request]
        self._first[node], *others = left
        if others:
            self._others[node] = others
        else:
            del self._others[node]
        self._contest(node)

    def _in(self, node: int) -> list[Request]:
        """The writers of ``node``, which has any."""
        return [self._first[node], *self._others.get(node, ())]

    def of(self, route: Route) -> list[Request]:
        """The writers of anything on ``route``, in order of admission, as the engine publishes."""
        if self.nodes.isdisjoint(route.nodes):
            return NONE
        due: set[Request] = set()
        for node, until in zip(route.nodes, route.ends, strict=True):
            if node in self._first:
                due.update(writer for writer in self._in(node) if writer.prompt_tokens < until)
        return _in_order(due)

    def of_contested(self) -> list[Request]:
        """The writers in contested nodes, in order of admission."""
        return _in_order({writer for node in self.contested for writer in self._in(node)})

    def write(self, route: Route) -> bool:
        """Whether anything on ``route`` is being written."""
        return bool(self.of(route))

    def _contest(self, node: int) -> None:
        written = 0
        for start, end in sorted((writer.prompt_tokens, _end(writer, node)) for writer in self._in(node)):
            if start < written:
                self.contested.add(node)
                return
            written = max(written, end)
        self.contested.discard(node)


def _end(writer: Request, node: int) -> int:
    """Where the reply of ``writer`` leaves ``node``, or ends."""
    route = writer.table.route
    return route.ends[route.nodes.index(node)]


def _in_order(requests: set[Request]) -> list[Request]:
    return sorted(requests, key=lambda request: request.order)
