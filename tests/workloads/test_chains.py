"""Chains name the same content as segments, in few pieces."""

from __future__ import annotations

from itertools import combinations
from math import log2

from hypothesis import given
from hypothesis import strategies as st

from tests.caches.cases import QUICK, request_lists, trace_of
from workloads.chains import Chains
from workloads.content import ROOT, ContentTree, Tree


def _places(tree: Tree, segment: int) -> list[tuple[int, int]]:
    """(node, token position) of every token on the way to the end of ``segment``."""
    route, begin, places = tree.route(segment), 0, []
    for node, end in zip(route.nodes, route.ends, strict=True):
        assert begin < end
        places += [(node, position) for position in range(begin, end)]
        begin = end
    return places


@QUICK
@given(request_lists(most=12))
def test_two_prompts_share_what_they_share_in_segments(requests: list[object]) -> None:
    """Any two places are one in chains if and only if they are one in segments."""
    trace = trace_of(requests)  # type: ignore[arg-type]
    content, chains = trace.content, trace.chains
    segments = range(1, len(content))
    for segment in segments:
        assert len(_places(chains, segment)) == content.end[segment]
    for one, other in combinations(segments, 2):
        common = [
            sum(a == b for a, b in zip(_places(tree, one), _places(tree, other), strict=False))
            for tree in (content, chains)
        ]
        assert common[0] == common[1]


@QUICK
@given(st.lists(st.integers(0, 1 << 30), min_size=1, max_size=300))
def test_few_chains_on_any_way(parents: list[int]) -> None:
    """At most log2(segments) + 1, whatever the tree's shape."""
    content = ContentTree()
    for number in parents:
        content.append(number % len(content), 1 + number % 3)
    chains = Chains(content)
    most = max(len(chains.route(segment).nodes) for segment in range(1, len(content)))
    assert most <= log2(len(content)) + 1


def test_a_chat_is_one_chain_past_replies_that_nobody_resends() -> None:
    """Three turns; the second is answered twice, and the other answer is a chain of its own."""
    content = ContentTree()
    one = content.append(content.append(ROOT, 5), 7)
    two = content.append(one, 3)
    other = content.append(two, 4)
    three = content.append(content.append(two, 9), 2)
    chains = Chains(content)
    assert (chains.route(three).nodes, chains.route(three).ends) == ([1], [26])
    assert (chains.route(other).nodes, chains.route(other).ends) == ([1, 2], [15, 19])
    assert (chains.route(one).nodes, chains.route(one).ends) == ([1], [12])


def test_chains_are_made_again_when_content_is_new() -> None:
    """A trace keeps its chains, but not those of content that it had before."""
    trace = trace_of([])
    trace.content.append(ROOT, 1)
    before = trace.chains
    assert trace.chains is before
    trace.content.append(ROOT, 1)
    assert len(trace.chains) == 3
