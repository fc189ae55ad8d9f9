"""The radix cache: one small exact example per rule of SGLang's tree and pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import InputError, load_config, run
from sim.caches.base import too_long
from sim.caches.radix import RadixCache
from sim.caches.radix_eviction import POLICIES, LeafQueue
from sim.caches.radix_nodes import Node, Strand
from sim.caches.radix_replay import RadixConfig
from tests.caches.cases import QUICK, TOKEN, trace_of, tree_of
from tests.oracles.naive_vllm import NaiveRequest
from workloads.trace import Trace

Run = tuple[int, int, int]


class Served:
    """What requests written as "prompt>output", one letter per token, found and evicted."""

    def __init__(self, *texts: str, tokens: int | None = None, page: int = 1, **options: Any) -> None:
        priorities = options.pop("priorities", [0] * len(texts))
        salts = options.pop("salts", [None] * len(texts))
        trace = _trace(texts, salts)
        trace.priority = priorities
        evicted: list[Run] = []
        config = RadixConfig(kind="radix", page_size=page, capacity_tokens=tokens, **options)
        replay = config.replay(trace, "cache", evicted=lambda *run: evicted.append(run))
        self.hits: list[int] = []
        self.evicted: list[list[Run]] = []
        """Per request: (owner, from, to) of every leaf that went while it ran."""
        for number in range(len(texts)):
            evicted.clear()
            self.hits.append(replay.serve(number, 0.0).hit_tokens)
            self.evicted.append(list(evicted))
            replay.check()
        self.replay = replay
        self.free = replay.cache.free_pages * page
        self.kept = replay.cache.tree.evictable_pages * page


def _trace(texts: tuple[str, ...], salts: list[str | None]) -> Trace:
    requests = []
    for text, salt in zip(texts, salts, strict=True):
        prompt, output = ([ord(letter) for letter in part] for part in text.split(">"))
        requests.append(NaiveRequest(text, prompt, output, salt))
    return trace_of(requests)


def test_one_token_is_left_to_compute() -> None:
    """Of a prompt that is cached in whole, all but the last token are found (page size 1)."""
    assert Served("abcd>x", "abcd>x", "abcde>x").hits == [0, 3, 4]


def test_lookups_are_floored_to_pages() -> None:
    """Pages of 2: 5 tokens leave 2 pages; a full hit of 4 tokens computes a whole page again."""
    assert Served("abcde>x", "abcdef>x", page=2).hits == [0, 4]
    assert Served("abcd>x", "abcd>x", "abcdef>x", page=2).hits == [0, 2, 4]


def test_prompts_that_part_within_a_page_do_not_share_it() -> None:
    """Pages of 2: "abc..." and "abd..." have one page in common, and then a page each."""
    served = Served("abcd>x", "abde>x", "abdef>x", page=2)
    assert served.hits == [0, 2, 4]
    assert served.kept == 6


def test_the_last_sampled_token_has_no_kv() -> None:
    """Of the reply "xyz" two tokens can be found; of a reply of one token nothing."""
    assert Served("ab>xyz", "abxyzq>r", "cd>x", "cdxy>r").hits == [0, 4, 0, 2]


def test_there_are_no_duplicates() -> None:
    """What is computed again although the tree has it, is freed: three tokens are kept, not five."""
    served = Served("abc>x", "abc>x", "abc>x", tokens=9)
    assert (served.free, served.kept) == (6, 3)


def test_salts_share_nothing() -> None:
    """Equal tokens under another salt, or under none, are other content."""
    salts = [None, "one", "two", "one", None]
    assert Served(*["abcd>x"] * 5, salts=salts).hits == [0, 0, 0, 3, 3]


def test_whole_leaves_are_evicted() -> None:
    """Two tokens are missing; the only leaf has five, and all of it goes."""
    served = Served("abcde>x", "fg>x", tokens=6)
    assert served.evicted == [[], [(0, 0, 5)]]
    assert served.free == 4


def test_a_lookup_splits_the_node_in_which_it_ends() -> None:
    """After "ab" of "abcde" was looked up, the rest "cde" is a leaf of its own and goes alone."""
    served = Served("abcde>x", "abf>x", "ghi>x", tokens=6)
    assert served.hits[1] == 2
    assert served.evicted[2] == [(0, 2, 5)]


def test_a_split_refreshes_what_it_cuts_off() -> None:
    """Looking up "ab" makes "cd", cut off it, younger than "ef", which was used in between."""
    served = Served("abcd>x", "ef>x", "abg>x", "h>x", "i>x", tokens=8)
    assert served.evicted[3:] == [[], [(1, 0, 2)]]
    served = Served("abcd>x", "ef>x", "abg>x", "hi>x", "jk>x", tokens=8)
    assert served.evicted[3:] == [[(1, 0, 2)], [(0, 2, 4)]]


def test_what_an_insert_adds_is_younger_than_what_it_cuts_off() -> None:
    """The leaves "cd" (cut off) and "g" (new) are both touched by request 1; "cd" goes first."""
    served = Served("abcd>x", "abg>x", "h>x", "ij>x", tokens=5)
    assert served.evicted[2:] == [[(0, 2, 4)], [(1, 2, 3)]]


def test_a_parent_without_children_is_a_leaf() -> None:
    """When "cd" and "e" are gone, "ab" above them can go too; a leaf is a run of its own."""
    served = Served("abcd>x", "abe>x", "fghij>x", tokens=5)
    assert served.evicted[2] == [(0, 2, 4), (1, 2, 3), (0, 0, 2)]


def test_a_held_prefix_is_not_evicted() -> None:
    """Request 2 holds "ab", the least recently used of all, while room is made for it."""
    served = Served("ab>x", "cd>x", "abefg>x", tokens=5)
    assert served.hits == [0, 0, 2]
    assert served.evicted[2] == [(1, 0, 2)]


def test_a_prefill_asks_for_a_page_more() -> None:
    """Pages of 2: one free page is enough for "ef", but SGLang evicts until two are free."""
    assert Served("ab>x", "cd>x", "ef>x", tokens=8, page=2).evicted[2] == []
    assert Served("ab>x", "cd>x", "ef>x", tokens=6, page=2).evicted[2] == [(0, 0, 2)]
    assert Served("a>x", "b>x", "c>x", tokens=3).evicted[2] == []  # not with single tokens


def test_every_decode_step_asks_for_a_page() -> None:
    """The reply's second token fits the last page taken; asking for another one evicts "ab"."""
    assert Served("ab>x", "cd>xy", tokens=6, page=2).evicted[1] == []
    assert Served("ab>x", "cd>xyz", tokens=6, page=2).evicted[1] == [(0, 0, 2)]
    assert Served("ab>x", "cde>xy", tokens=6, page=2).evicted[1] == [(0, 0, 2)]  # fits the prompt's


def test_a_request_may_fill_the_whole_pool() -> None:
    """The page that is asked for but not taken may be missing; 7 of 7 tokens count as 3 pages of 2."""
    served = Served("abcd>xyz", "efgh>xyz", tokens=7, page=2)
    assert served.evicted[1] == [(0, 4, 6), (0, 0, 4)]
    assert served.free == 0


def test_reply_and_prompt_are_leaves_of_their_own() -> None:
    """Under memory pressure the reply goes and the prompt stays."""
    served = Served("ab>xyz", "c>x", "abd>x", tokens=4)
    assert served.evicted[1] == [(0, 2, 4)]
    assert served.hits[2] == 2


def test_a_prompt_is_worth_one_priority_more_than_its_reply() -> None:
    """Equal requests: the younger "c", which never had a reply, goes before the prompt "ab"."""
    served = Served("ab>xyz", "c>x", "defgh>x", tokens=5, eviction="priority")
    assert served.evicted[2] == [(0, 2, 4), (1, 0, 1), (0, 0, 2)]


def test_shared_content_has_the_highest_priority_of_its_requests() -> None:
    """ "ab" got priority 2 from request 1 and outlives "cd"; its split-off end keeps priority 0."""
    texts = ["abe>x", "ab>x", "cd>x", "ghijk>x"]
    served = Served(*texts, tokens=5, eviction="priority", priorities=[0, 2, 1, 0])
    assert served.evicted[3] == [(0, 2, 3), (2, 0, 2), (0, 1, 2), (0, 0, 1)]


def test_hits_count_requests_that_insert() -> None:
    """slru: "cd" was published twice by its one request and still counts once; "ab" has two."""
    served = Served("ab>x", "ab>x", "cd>xyz", "efghij>x", tokens=6, eviction="slru")
    assert served.evicted[3] == [(2, 2, 4), (2, 0, 2), (0, 1, 2), (0, 0, 1)]


def test_a_split_keeps_the_hits() -> None:
    """lfu: both parts of "abcd" have its two hits; the upper part gets a third from request 2."""
    served = Served("abcd>x", "abcd>x", "abe>x", "f>x", "ghijkl>x", tokens=6, eviction="lfu")
    assert served.evicted[4] == [(2, 2, 3), (3, 0, 1), (0, 3, 4), (0, 2, 3), (0, 0, 2)]


def test_a_request_that_comes_back_counts_again() -> None:
    """slru: "ab", published before and after a preemption, has two hits and outlives the younger "cd"."""
    tree, (ab, cd) = tree_of("ab", "cd")
    evicted: list[Run] = []
    cache = RadixCache(tree, 1, 4, eviction="slru", evicted=lambda *run: evicted.append(run))
    tables = [cache.table(segment, 2, owner) for owner, segment in enumerate([ab, cd])]
    for table in (tables[0], tables[0], tables[1]):
        cache.lock(table, cache.match(table, 2))
        cache.take(table, 2 - table.held)
        cache.publish(table, 2)
        cache.release(table)
        cache.check()
    cache.make_room(4)
    assert evicted == [(1, 0, 2), (0, 1, 2), (0, 0, 1)]


@pytest.mark.parametrize(
    ("eviction", "order"),
    [
        ("lru", [1, 2, 0]),
        ("mru", [0, 2, 1]),
        ("fifo", [0, 1, 2]),
        ("filo", [2, 1, 0]),
        ("lfu", [1, 2, 0]),
        ("slru", [1, 2, 0]),
        ("priority", [2, 0, 1]),
    ],
)
def test_order_of_eviction(eviction: str, order: list[int]) -> None:
    """Three prompts, of which the first is used again at the end."""
    texts = ["ab>x", "cd>x", "ef>x", "ab>x", "ghijklm>x"]
    served = Served(*texts, tokens=7, eviction=eviction, priorities=[1, 2, 0, 1, 0])
    owners = [owner for owner, _, _ in served.evicted[4]]
    assert list(dict.fromkeys(owners)) == order


def test_the_queue_of_leaves_does_not_grow_with_their_uses() -> None:
    """Two leaves, used in turn thousands of times: few entries are kept, and the order still holds."""
    queue = LeafQueue("lru")
    first, second = (Node(None, Strand([1], []), 0, 1, owner) for owner in range(2))
    for second.accessed in range(1, 5000):
        queue.push(second)
        first.accessed = second.accessed + 1
        queue.push(first)
    assert len(queue) < 1100
    assert [queue.pop(), queue.pop(), queue.pop()] == [second, first, None]


def test_every_policy_has_an_example() -> None:
    """A new policy needs a line in the test above."""
    test: Any = test_order_of_eviction
    (marks,) = [mark for mark in test.pytestmark if mark.name == "parametrize"]
    assert {case[0] for case in marks.args[1]} == set(POLICIES)


def test_the_classic_tree_makes_the_upper_part_of_a_split_new() -> None:
    """fifo: request 2 cuts "abcd" into "a", "b", "cd"; only "cd" is then older than "ef"."""
    texts = ["abcd>x", "ef>x", "ab>x", "ghijklm>x"]
    inherited = Served(*texts, tokens=7, eviction="fifo")
    assert inherited.evicted[3] == [(0, 2, 4), (0, 1, 2), (0, 0, 1), (1, 0, 2)]
    new = Served(*texts, tokens=7, eviction="fifo", tree="classic")
    assert new.evicted[3] == [(0, 2, 4), (1, 0, 2), (0, 1, 2), (0, 0, 1)]


def test_worked_example_6(root: Path) -> None:
    """Prompts of 55, 54 and 77 tokens share 50 and 65; the reply's last token has no KV."""
    config = root / "configs" / "spec" / "6-the-tree.yaml"
    one = "one: {kind: cache, cache: {kind: radix}}"
    sixteen = "sixteen: {kind: cache, cache: {kind: radix, page_size: 16}}"
    result = run(load_config(config, [f"systems={{{one}, {sixteen}}}"]))
    assert result.runs["one"].records.cache_read_input_tokens.tolist() == [0, 50, 64]
    assert result.runs["sixteen"].records.cache_read_input_tokens.tolist() == [0, 48, 64]


@QUICK
@given(st.sets(st.lists(TOKEN, max_size=7).map(tuple), min_size=1, max_size=12), st.data())
def test_depth_first_order_is_optimal(contents: set[tuple[int, ...]], data: st.DataObject) -> None:
    """In depth-first order a cache for the longest request computes every distinct token once.

    Under every policy: what the next request shares with any earlier one, it shares with the last. No
    order computes less. (Each prompt ends in a token of its own, which must be computed in any case.)
    """
    prompts = [[*content, 2 + number] for number, content in enumerate(sorted(contents))]
    prompts.sort()
    distinct = len({tuple(prompt[:n]) for prompt in prompts for n in range(1, len(prompt) + 1)})
    longest = max(map(len, prompts))
    eviction = data.draw(st.sampled_from(sorted(POLICIES)))
    assert _computed(prompts, longest, eviction) == distinct
    assert _computed(data.draw(st.permutations(prompts)), longest, eviction) >= distinct


def _computed(prompts: list[list[int]], tokens: int, eviction: str) -> int:
    requests = [NaiveRequest(f"r{i}", prompt, [0]) for i, prompt in enumerate(prompts)]
    config = RadixConfig(kind="radix", capacity_tokens=tokens, eviction=eviction)
    replay = config.replay(trace_of(requests), "cache")
    return sum(len(p) - replay.serve(i, 0.0).hit_tokens for i, p in enumerate(prompts))


def test_a_request_that_does_not_fit() -> None:
    """Pages round what it needs and what there is; where both are equal it is served."""
    trace = _trace(("abc>xyz",), [None])
    for page, tokens, fits in ((1, 4, False), (1, 5, True), (2, 5, False), (2, 6, True)):
        config = RadixConfig(kind="radix", page_size=page, capacity_tokens=tokens)
        assert too_long(config, trace) == (not fits)
        replay = config.replay(trace, "cache")
        replay.serve(0, 0.0)
        assert (replay.serve(0, 1.0).hit_tokens > 0) == fits


def test_an_unknown_policy(root: Path) -> None:
    """The message names the key, the value and the policies there are."""
    system = "systems={one: {kind: cache, cache: {kind: radix, eviction: tlru}}}"
    with pytest.raises(InputError, match=r"eviction = 'tlru'.*allowed: lru, lfu, fifo"):
        load_config(root / "configs" / "spec" / "6-the-tree.yaml", [system])
