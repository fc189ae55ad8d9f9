"""The block cache: one small exact example per rule of vLLM's block pool."""

from __future__ import annotations

from typing import Any

from sim.caches.block import BlockCache, BlockTable
from tests.caches.cases import tree_of
from tests.caches.recorded import single_blocks
from workloads.content import ROOT, ContentTree


class Pool:
    """A block cache with blocks of 2 tokens over prompts written as one letter per token."""

    def __init__(self, *prompts: str, blocks: int, **options: Any) -> None:
        tree, leaves = tree_of(*prompts)
        self.routes = {prompt: tree.route(leaf) for prompt, leaf in zip(prompts, leaves, strict=True)}
        self.evicted: list[tuple[int, int]] = []
        self.cache = BlockCache(tree, 2, blocks, evicted=self._note, **options)
        self.requests = 0

    def _note(self, owner: int, first: int, last: int) -> None:
        self.evicted += single_blocks([(owner, first, last)])

    def admit(self, prompt: str) -> tuple[BlockTable, int, int]:
        """Allocate all of ``prompt``: (what the request holds, its blocks, hit blocks)."""
        table = BlockTable(self.routes[prompt], len(prompt), self.requests)
        self.requests += 1
        blocks = -(-len(prompt) // 2)
        hit = self.cache.lookup(table, len(prompt))
        self.cache.acquire(table, hit)
        self.cache.take(blocks - hit.blocks)
        self.cache.publish(table, len(prompt))
        self.cache.check()
        return table, blocks, hit.blocks

    def serve(self, prompt: str) -> int:
        """Admit and release at once; the blocks found. Requests are numbered from 0."""
        table, blocks, hits = self.admit(prompt)
        self.cache.release(table, blocks)
        self.cache.check()
        return hits


def test_only_full_blocks_are_cached() -> None:
    """5 tokens leave 2 blocks of 2 tokens; the partial third one can be found by nobody."""
    pool = Pool("abcde", "abcdef", blocks=9)
    pool.serve("abcde")
    assert pool.cache.cached_blocks == 2
    assert pool.serve("abcdef") == 2


def test_a_full_hit_computes_one_whole_block() -> None:
    """At least one token must be computed: of "abcd", cached in whole, only (4 - 1) // 2 blocks count."""
    pool = Pool("abcd", "abcde", blocks=9)
    pool.serve("abcd")
    assert pool.serve("abcd") == 1
    assert pool.serve("abcde") == 2


def test_the_block_computed_again_is_a_second_copy() -> None:
    """Nothing is deduplicated: after a full hit "cd" is cached twice."""
    pool = Pool("abcd", blocks=9)
    pool.serve("abcd")
    pool.serve("abcd")
    assert pool.cache.cached_blocks == 3


def test_the_earliest_copy_is_found() -> None:
    """A hit refreshes request 0's copy of "cd", although request 1's is newer; that one ages out first."""
    pool = Pool("abcd", "abcde", "zzzzzz", blocks=6)
    pool.serve("abcd")
    pool.serve("abcd")
    pool.serve("abcde")
    pool.serve("zzzzzz")
    pool.serve("zzzzzz")
    assert pool.evicted[0] == (1, 1)


def test_the_tail_of_a_request_goes_first() -> None:
    """A release walks from the last block to the first, across the places where prompts part."""
    pool = Pool("abcdef", "abcdxx", "abxx", "zzzzzz", blocks=3)
    pool.serve("abcdef")
    pool.serve("zzzzzz")
    assert pool.evicted == [(0, 2), (0, 1), (0, 0)]


def test_the_oldest_release_goes_first() -> None:
    """Among requests the order is that of their releases, not of their admissions."""
    pool = Pool("aa", "bb", "zzzz", blocks=2)
    first, _, _ = pool.admit("aa")
    second, _, _ = pool.admit("bb")
    pool.cache.release(second, 1)
    pool.cache.release(first, 1)
    pool.serve("zzzz")
    assert pool.evicted == [(1, 0), (0, 0)]


def test_unhashed_blocks_go_before_cached_ones() -> None:
    """A released partial block is the next to be used again, whatever was released before it."""
    pool = Pool("aaaa", "bbb", "z", blocks=4)
    pool.serve("aaaa")
    pool.serve("bbb")  # fills the pool: 2 blocks, 1 block, 1 partial one
    assert pool.cache.cached_blocks == 3
    pool.serve("z")
    assert pool.evicted == []


def test_eviction_takes_single_blocks() -> None:
    """One block short evicts one block; no watermark, no whole prompt."""
    pool = Pool("abcdef", "zz", blocks=3)
    pool.serve("abcdef")
    pool.serve("zz")
    assert pool.evicted == [(0, 2)]
    assert pool.cache.evicted_blocks == 1


def test_a_parent_stays_longer_than_its_child() -> None:
    """What is left of a prompt after an eviction is its beginning, which can still be hit."""
    pool = Pool("abcdef", "zzzzzz", "abcdefg", blocks=4)
    pool.serve("abcdef")
    pool.serve("zzzzzz")
    assert pool.evicted == [(0, 2), (0, 1)]
    assert pool.serve("abcdefg") == 1


def test_a_lookup_changes_nothing() -> None:
    """Not even recency: "aa", looked up after "bb" was released, is still evicted first."""
    pool = Pool("aa", "bb", "aab", "zz", blocks=2)
    pool.serve("aa")
    pool.serve("bb")
    assert pool.cache.lookup(BlockTable(pool.routes["aab"], 3, 9), 3).blocks == 1
    pool.serve("zz")
    assert pool.evicted == [(0, 0)]


def test_idle_hit_blocks_leave_the_queue() -> None:
    """A hit block that nobody holds is one free block less; one that is held already costs nothing."""
    pool = Pool("abcd", "abcde", blocks=5)
    pool.serve("abcd")
    assert pool.cache.free_blocks == 5
    table = BlockTable(pool.routes["abcde"], 5, 9)
    hit = pool.cache.lookup(table, 5)
    assert (hit.blocks, hit.idle) == (2, 2)
    pool.cache.acquire(table, hit)
    assert pool.cache.free_blocks == 3
    again = pool.cache.lookup(BlockTable(pool.routes["abcde"], 5, 9), 5)
    assert (again.blocks, again.idle) == (2, 0)


def test_held_blocks_are_not_evicted() -> None:
    """A block goes back to the queue when its last holder lets it go."""
    pool = Pool("abcd", "abxy", "zzzz", blocks=4)
    first, blocks, _ = pool.admit("abcd")
    second, _, hits = pool.admit("abxy")
    assert hits == 1
    pool.cache.release(first, blocks)
    assert pool.cache.free_blocks == 2  # "cd" and the one never used
    pool.cache.release(second, blocks)
    pool.serve("zzzz")
    assert pool.evicted == [(0, 1)]


def test_what_was_shared_for_a_while_is_still_released_tail_first() -> None:
    """Request 1 takes and leaves the first block of request 0's two, which then goes last."""
    pool = Pool("abcd", "zzzzzz", blocks=3)
    first, blocks, _ = pool.admit("abcd")
    second, _, hits = pool.admit("abcd")
    assert hits == 1
    pool.cache.release(second, blocks)
    pool.cache.release(first, blocks)
    pool.serve("zzzzzz")
    assert pool.evicted == [(1, 1), (0, 1), (0, 0)]


def test_published_when_allocated() -> None:
    """A second request finds the first one's blocks while that one still runs."""
    pool = Pool("abcde", blocks=9)
    pool.admit("abcde")
    assert pool.admit("abcde")[2] == 2


def test_a_prompt_is_published_chunk_by_chunk() -> None:
    """A block can be found from the chunk on that fills it."""
    pool = Pool("abcde", blocks=9)
    table, other = (BlockTable(pool.routes["abcde"], 5, owner) for owner in (0, 1))
    pool.cache.take(3)
    found = []
    for tokens in (1, 2, 3, 4, 5):
        pool.cache.publish(table, tokens)
        found.append(pool.cache.lookup(other, 5).blocks)
    assert found == [0, 1, 1, 2, 2]


def test_different_content_is_not_shared() -> None:
    """Equal blocks after different ones differ, as by chained hashes; a salt is such a difference."""
    pool = Pool("abcdx", "zbcdx", blocks=9)
    pool.serve("abcdx")
    assert pool.serve("zbcdx") == 0
    assert pool.cache.cached_blocks == 4


def test_caching_off() -> None:
    """Nothing is published, so nothing is found or evicted, however small the memory."""
    pool = Pool("abcd", "abcde", blocks=3, caching=False)
    assert [pool.serve("abcd"), pool.serve("abcde"), pool.serve("abcd")] == [0, 0, 0]
    assert (pool.cache.cached_blocks, pool.cache.evicted_blocks, pool.cache.free_blocks) == (0, 0, 3)


def test_replies_may_stay_unpublished() -> None:
    """With cache_reply off, a block that holds a generated token is not cached."""
    for cache_reply, cached in ((True, 3), (False, 1)):
        tree, (prompt, whole) = tree_of("abc", "abcdef")
        assert tree.end[prompt] == 3
        cache = BlockCache(tree, 2, 9, cache_reply=cache_reply)
        table = BlockTable(tree.route(whole), 3, 0)
        cache.take(3)
        cache.publish(table, 6)
        cache.release(table, 3)
        cache.check()
        assert cache.cached_blocks == cached
        assert cache.free_blocks == 9


def test_without_a_capacity_nothing_is_evicted() -> None:
    """An infinite cache takes as much as it is asked for."""
    tree = ContentTree()
    prompt = tree.append(ROOT, 1_000_000)
    cache = BlockCache(tree, 1)
    table = BlockTable(tree.route(prompt), 1_000_000, 0)
    cache.take(1_000_000)
    cache.publish(table, 1_000_000)
    cache.release(table, 1_000_000)
    assert cache.lookup(table, 1_000_000).blocks == 999_999
    assert cache.evicted_blocks == 0
