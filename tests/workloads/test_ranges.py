"""Prompts as ranges of ids share what they would share id by id."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.content import ROOT, ContentTree
from workloads.ranges import RangeTree, Run

TOKENS = 4
RUNS = st.lists(st.tuples(st.sampled_from([1, 2, 3, 7]), st.integers(1, 6)), max_size=4)
PROMPTS = st.lists(st.tuples(st.sampled_from("ab"), RUNS), min_size=1, max_size=8)


def _ids(runs: list[Run]) -> list[int]:
    return [first + i for first, count in runs for i in range(count)]


def _shared_tokens(tree: ContentTree, one: int, other: int) -> int:
    both = set(tree.path(one)) & set(tree.path(other))
    return max((tree.end[segment] for segment in both), default=0)


def _ends(tree: ContentTree, leaf: int) -> list[int]:
    return [tree.end[segment] for segment in tree.path(leaf)]


def _tree() -> RangeTree:
    return RangeTree(ContentTree(), TOKENS)


@settings(derandomize=True, max_examples=300)
@given(PROMPTS)
def test_as_id_by_id(prompts: list[tuple[str, list[Run]]]) -> None:
    """After every insertion each pair shares as much as with one unit per id, cut in the same places.

    The segment in which an earlier prompt ends keeps its number when others cut it.
    """
    tree, naive = _tree(), ContentTree()
    leaves: list[int] = []
    expected: list[int] = []
    for namespace, runs in prompts:
        leaves.append(tree.insert(namespace, runs))
        expected.append(naive.insert([((namespace, i), TOKENS) for i in _ids(runs)]))
        tree.check()
        for leaf, naive_leaf in zip(leaves, expected, strict=True):
            assert _ends(tree.content, leaf) == _ends(naive, naive_leaf)
        for (one, naive_one), (other, naive_other) in combinations(zip(leaves, expected, strict=True), 2):
            assert _shared_tokens(tree.content, one, other) == _shared_tokens(naive, naive_one, naive_other)


@settings(derandomize=True)
@given(PROMPTS)
def test_the_division_into_runs_does_not_matter(prompts: list[tuple[str, list[Run]]]) -> None:
    """[5, 2] is [5, 1], [6, 1]: a prompt written id by id ends where it ended before."""
    tree = _tree()
    leaves = [tree.insert(namespace, runs) for namespace, runs in prompts]
    size = len(tree.content)
    assert leaves == [tree.insert(space, [(i, 1) for i in _ids(runs)]) for space, runs in prompts]
    assert len(tree.content) == size


def test_a_cut_inside_a_range() -> None:
    """A prompt that leaves a range in the middle cuts it there; the first prompt keeps its number."""
    tree = _tree()
    long = tree.insert("a", [(1, 10)])
    short = tree.insert("a", [(1, 6), (20, 1)])
    assert _ends(tree.content, long) == [24, 40]
    assert _ends(tree.content, short) == [24, 28]
    assert tree.content.path(long)[-1] == long


def test_a_prompt_inside_a_range() -> None:
    """A prompt that ends inside a range cuts it too; one without ids ends at the root."""
    tree = _tree()
    tree.insert("a", [(1, 10)])
    assert _ends(tree.content, tree.insert("a", [(1, 3)])) == [12]
    assert tree.insert("a", []) == ROOT
    tree.check()


def test_namespaces_share_nothing() -> None:
    """The same ids in two namespaces are different content."""
    tree = _tree()
    one, other = tree.insert("a", [(1, 10)]), tree.insert("b", [(1, 10)])
    assert _shared_tokens(tree.content, one, other) == 0


def test_cost_does_not_grow_with_the_ids() -> None:
    """A million million ids are one segment."""
    tree = _tree()
    long = tree.insert("a", [(1, 10**12)])
    assert len(tree.content) == 2
    assert tree.content.end[long] == TOKENS * 10**12
    assert _ends(tree.content, tree.insert("a", [(1, 10**9)])) == [TOKENS * 10**9]


def test_an_empty_range_is_refused() -> None:
    """A run names at least one id."""
    with pytest.raises(ValueError, match="at least one id"):
        _tree().insert("a", [(1, 2), (5, 0)])


@pytest.mark.parametrize("tokens", [0, 40])
def test_a_cut_leaves_two_parts(tokens: int) -> None:
    """A segment cannot be cut at its ends."""
    tree = ContentTree()
    segment = tree.append(ROOT, 40)
    with pytest.raises(ValueError, match=f"cannot cut a segment of 40 tokens after {tokens}"):
        tree.cut(segment, tokens)
