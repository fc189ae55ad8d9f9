"""SGLang's queue of waiting requests and the policies that put it in order.

As read from SGLang 0.5.23 (``managers/schedule_policy.py:SchedulePolicy``). A policy is a function that
sorts the list in place before each prefill pass; what it looks up changes the tree (nodes are cut, paths
become recently used), as in the engine. A new policy is one function and one line in ``POLICIES``.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.caches.radix_nodes import Node
from sim.engine.request import WAITING
from sim.engine.sglang.memory import SglangMemory
from sim.engine.sglang.request import SglangRequest

MATCHED_AT_MOST = 128
"""Longer queues are not sorted by lpm; as many are refreshed."""
REFRESH_EVERY = 32
"""Passes between two refreshes of what waiting requests would find."""
HOLD_BACK_CACHED_TOKENS = 32
"""A request that finds more than this is never held back."""
HOLD_BACK_SHARED_TOKENS = 32
"""Leading tokens in common with another waiting request from which on one of them is held back."""

Waiting = list[SglangRequest]
Policy = Callable[[Waiting, SglangMemory], None]


def fcfs(waiting: Waiting, memory: SglangMemory) -> None:
    """In order of arrival; a retracted request arrives anew."""


def lpm(waiting: Waiting, memory: SglangMemory) -> None:
    """The longest cached prefix first; of several new requests that share a prefix one goes first.

    A request with little in the cache that shares its beginning with another such one, ahead of it in the
    queue, is put last: a round later it will find what that one has computed.
    """
    together: dict[int, int] = {}
    found: dict[SglangRequest, float] = {}
    for request in waiting:
        known = request.known_tokens
        cached = memory.match_whole(request.kv, known).hi * memory.page_size
        found[request] = -min(cached, known - 1)
        if cached > HOLD_BACK_CACHED_TOKENS:
            continue
        if _shared_tokens(request, together) >= HOLD_BACK_SHARED_TOKENS:
            found[request] = float("inf")
        else:
            _add(request, together)
    waiting.sort(key=found.__getitem__)


def dfs_weight(waiting: Waiting, memory: SglangMemory) -> None:
    """Along the tree, the branch with the most waiting requests first, below a node before the node itself.

    Branches with equally many go in the order in which they were added (``_dfs_weight_order``).
    """
    at: dict[Node, list[SglangRequest]] = {}
    for request in waiting:
        at.setdefault(memory.match_whole(request.kv, request.known_tokens), []).append(request)
    weight: dict[Node, int] = {}
    for node, requests in at.items():
        above: Node | None = node
        while above is not None:
            weight[above] = weight.get(above, 0) + len(requests)
            above = above.parent
    order: Waiting = []
    stack = [(memory.tree.root, False)]
    while stack:
        node, below_done = stack.pop()
        if below_done:
            order += at.get(node, [])
            continue
        stack.append((node, True))
        children = [child for child in node.children.values() if child in weight]
        children.sort(key=lambda child: -weight[child])
        stack += [(child, False) for child in reversed(children)]
    waiting[:] = order


POLICIES: dict[str, Policy] = {"fcfs": fcfs, "lpm": lpm, "dfs-weight": dfs_weight}
"""By SGLang's names."""


class WaitingQueue:
    """The waiting requests, in the order in which the last pass left them."""

    def __init__(self, policy: str, memory: SglangMemory) -> None:
        self.requests: Waiting = []
        self.tokens = 0
        """Their known tokens."""
        self._policy = POLICIES[policy] if memory.caching else fcfs
        self._memory = memory
        self._refreshes = memory.caching and memory.eviction == "lru"
        self._passes = 0

    def add(self, request: SglangRequest) -> None:
        """``request`` waits, last of all."""
        self.requests.append(request)
        self.tokens += request.known_tokens

    def drop_first(self, count: int) -> None:
        """The first ``count`` requests wait no more."""
        for request in self.requests[:count]:
            self.tokens -= request.known_tokens
        del self.requests[:count]

    def withdraw(self, request: SglangRequest) -> None:
        """``request`` waits no more."""
        self.requests.remove(request)
        self.tokens -= request.known_tokens

    def check(self) -> None:
        """Assert that nothing is held by a request that waits."""
        assert all(request.phase == WAITING and not request.kv.held for request in self.requests)
        assert all(not request.computed for request in self.requests)
        assert self.tokens == sum(request.known_tokens for request in self.requests)

    def arrange(self) -> None:
        """Put the queue in order for one pass; or refresh what its first requests would find.

        Without a policy that looks everything up, each 32nd pass uses the prefixes of the first requests,
        the head's last, so that they are not the next to be evicted.
        """
        policy, waiting = self._policy, self.requests
        if policy is not fcfs and not (policy is lpm and len(waiting) > MATCHED_AT_MOST):
            policy(waiting, self._memory)
        elif self._refreshes and waiting:
            if self._passes % REFRESH_EVERY == 0:
                for request in reversed(waiting[:MATCHED_AT_MOST]):
                    self._memory.match_whole(request.kv, request.known_tokens)
            self._passes += 1


def _shared_tokens(request: SglangRequest, together: dict[int, int]) -> int:
    """Leading tokens that ``request`` has in common with one of those added before."""
    route, known, shared = request.table.route, request.known_tokens, 0
    for node, end in zip(route.nodes, route.ends, strict=True):
        reach = min(together.get(node, 0), end, known)
        if reach <= shared:
            break
        shared = reach
        if shared < end:
            break
    return shared


def _add(request: SglangRequest, together: dict[int, int]) -> None:
    """Note how far into each node the known tokens of ``request`` reach."""
    route, known = request.table.route, request.known_tokens
    for node, end in zip(route.nodes, route.ends, strict=True):
        reach = min(end, known)
        together[node] = max(together.get(node, 0), reach)
        if reach == known:
            break
