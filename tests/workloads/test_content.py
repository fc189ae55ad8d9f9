"""The content tree: two prompts share exactly the prefix on which they agree."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.content import ROOT, ContentTree

PROMPTS = st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=8), min_size=1, max_size=8)
SPEC_6 = [
    ["system"] * 50 + ["hello"] * 5,
    ["system"] * 50 + ["hi"] * 4,
    ["system"] * 50 + ["hello"] * 5 + ["reply"] * 10 + ["go on"] * 12,
]
"""Worked example 6: one system message, two first user messages, one conversation goes on."""


def _insert(tree: ContentTree, prompt: list[str]) -> int:
    return tree.insert([(token, 1) for token in prompt])


def _shared_tokens(tree: ContentTree, one: int, other: int) -> int:
    """Tokens up to the deepest segment on both paths."""
    both = set(tree.path(one)) & set(tree.path(other))
    return max((tree.end[segment] for segment in both), default=0)


def _common_prefix(one: list[str], other: list[str]) -> int:
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return length


def _segments(tree: ContentTree, leaf: int) -> list[tuple[int, int]]:
    """The token positions (from, to) of every segment down to ``leaf``."""
    return [(tree.end[tree.parent[segment]], tree.end[segment]) for segment in tree.path(leaf)]


def test_worked_example_6() -> None:
    """A segment ends where two prompts part and where one prompt ends inside another."""
    tree = ContentTree()
    hello, hi, longer = [_insert(tree, prompt) for prompt in SPEC_6]
    assert _segments(tree, hello) == [(0, 50), (50, 55)]
    assert _segments(tree, hi) == [(0, 50), (50, 54)]
    assert _segments(tree, longer) == [(0, 50), (50, 55), (55, 77)]
    assert tree.path(longer)[:2] == tree.path(hello)
    assert len(tree) == 1 + 4  # the root too


def test_append_compares_nothing() -> None:
    """`append` always makes new content, so two equal calls give siblings that share nothing."""
    tree = ContentTree()
    one, other = tree.append(ROOT, 5), tree.append(ROOT, 5)
    assert one != other
    assert _shared_tokens(tree, one, other) == 0


def test_inserting_again_changes_nothing() -> None:
    """A prompt that is in the tree already ends at the segment where it ended before."""
    tree = ContentTree()
    leaves = [_insert(tree, prompt) for prompt in SPEC_6]
    size = len(tree)
    assert [_insert(tree, prompt) for prompt in SPEC_6] == leaves
    assert len(tree) == size


def test_units_may_hold_many_tokens() -> None:
    """Units are compared by key and length: a partial block is not the full block of the same id."""
    tree = ContentTree()
    full = tree.insert([("a", 512), ("b", 512)])
    partial = tree.insert([("a", 512), ("b", 100)])
    assert (tree.end[full], tree.end[partial]) == (1024, 612)
    assert _shared_tokens(tree, full, partial) == 512


def test_insert_after_a_segment() -> None:
    """A prompt may go on from any segment: only what follows it is compared."""
    tree = ContentTree()
    head = tree.append(ROOT, 10)
    one = tree.insert([("x", 1), ("y", 1)], parent=head)
    other = tree.insert([("x", 1), ("z", 1)], parent=head)
    assert _shared_tokens(tree, one, other) == 11


def test_a_segment_is_never_empty() -> None:
    """Neither new content of no tokens nor a cut at a segment's ends is possible."""
    tree = ContentTree()
    with pytest.raises(ValueError, match="at least one token, not 0"):
        tree.append(ROOT, 0)
    leaf = tree.insert([("a", 1), ("b", 1)])
    for units in (0, 2):
        with pytest.raises(ValueError, match=f"cannot cut a segment of 2 units after {units}"):
            tree.split(leaf, units)


@settings(derandomize=True)
@given(PROMPTS)
def test_shared_length_is_the_common_prefix(prompts: list[list[str]]) -> None:
    """In any order of insertion, and after every one, each pair shares its longest common prefix.

    The segment in which an earlier prompt ends keeps its number when others split it.
    """
    tree = ContentTree()
    leaves: list[int] = []
    for prompt in prompts:
        leaves.append(_insert(tree, prompt))
        tree.check()
        for (i, one), (j, other) in combinations(enumerate(leaves), 2):
            common = _common_prefix(prompts[i], prompts[j])
            assert tree.end[tree.shared(one, other)] == _shared_tokens(tree, one, other) == common
        assert [tree.end[leaf] for leaf in leaves] == [len(p) for p in prompts[: len(leaves)]]


@settings(derandomize=True)
@given(PROMPTS.flatmap(lambda prompts: st.tuples(st.just(prompts), st.permutations(prompts))))
def test_order_of_insertion_does_not_matter(orders: tuple[list[list[str]], list[list[str]]]) -> None:
    """The cuts depend on what was inserted, not on when: every path has the same segments."""
    prompts, others = orders
    tree, shuffled = ContentTree(), ContentTree()
    for prompt, other in zip(prompts, others, strict=True):
        _insert(tree, prompt)
        _insert(shuffled, other)
    for prompt in prompts:
        cuts = _segments(tree, _insert(tree, prompt))
        assert cuts == _segments(shuffled, _insert(shuffled, prompt))
