"""Block hashes that cover the token after the block: an endless cache against common prefixes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sim.caches.lookahead import LookaheadTree
from sim.caches.replay import BlockConfig
from tests.caches.cases import QUICK, request_lists, trace_of
from tests.oracles.naive_vllm import NaiveRequest
from workloads.content import ROOT, ContentTree


def _common(one: list[int], other: list[int]) -> int:
    """Leading tokens that both have."""
    for i, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return i
    return min(len(one), len(other))


@QUICK
@given(request_lists(most=8), st.integers(1, 3), st.booleans())
def test_hits_of_an_endless_cache(requests: list[NaiveRequest], size: int, lookahead: bool) -> None:
    """A block is found if a request before had it and the token after it; without, the block alone.

    Of a request all but its last token have KV.
    """
    config = BlockConfig(kind="block", block_size=size, lookahead_hashes=lookahead)
    replay = config.replay(trace_of(requests), "cache")
    before: list[list[int]] = []
    for i, request in enumerate(requests):
        prompt, whole = list(request.prompt), [*request.prompt, *request.output]
        found = [
            min(_common(prompt, other) - lookahead, len(other) - 1, len(prompt) - 1) // size
            for other in before
        ]
        assert replay.serve(i, 0.0).hit_tokens == size * max([0, *found])
        replay.check()
        before.append(whole)


def test_branches_are_seen_a_token_earlier() -> None:
    """Two prompts that share 32 tokens have one block of 16 in common, not two."""
    content = ContentTree()
    shared = content.append(ROOT, 32)
    one, other = content.append(shared, 10), content.append(shared, 20)
    tree = LookaheadTree(content)
    assert tree.route(one).ends == [31, 41] and tree.route(other).ends == [31, 51]
    assert tree.route(one).nodes[0] == tree.route(other).nodes[0] == shared
