"""The content tree as a cache sees it whose block hashes cover tokens after the block too."""

from __future__ import annotations

from workloads.content import Route, Tree


class LookaheadTree(Tree):
    """``tree`` with every branch seen ``tokens`` earlier: two prompts that part share no block before it.

    vLLM's hashes do so beside a draft model of the EAGLE or MTP kind, whose KV at a token depends on the
    next one (``num_hash_lookahead_tokens``). With blocks of 16, prompts that share 32 tokens and then part
    have one block in common, not two: the second one's hash covers the 33rd token.
    """

    __slots__ = ("_tokens", "_tree")

    def __init__(self, tree: Tree, tokens: int = 1) -> None:
        self._tree = tree
        self._tokens = tokens

    def route(self, segment: int) -> Route:
        """The way to the end of ``segment``; it leaves each node ``tokens`` earlier."""
        route = self._tree.route(segment)
        return Route(route.nodes, [max(0, end - self._tokens) for end in route.ends])
