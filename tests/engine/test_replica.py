"""The replica's scheduler: one small exact example per rule, one second per iteration."""

from __future__ import annotations

from typing import Any

import pytest

from sim.results.records import Records
from tests.caches.cases import trace_of
from tests.engine.driving import check_always, fleet_of
from tests.oracles.naive_vllm import NaiveRequest

Spec = tuple[str, int] | tuple[str, int, int]
"""Prompt, one letter per token; output tokens; arrival (default 0)."""


def _serve(*requests: Spec, blocks: int = 99, **engine: Any) -> Records:
    """Records of requests with replies of their own, block size 1."""
    made = []
    for i, (prompt, output_tokens, *arrival) in enumerate(requests):
        reply = [1000 * (i + 1) + j for j in range(output_tokens)]
        made.append(NaiveRequest(f"r{i}", [ord(c) for c in prompt], reply, arrival=sum(arrival)))
    return check_always(fleet_of(trace_of(made), blocks=blocks, block_size=1, **engine)).run()


def _times(records: Records) -> list[tuple[float, float, float]]:
    columns = records.scheduled_s, records.first_token_s, records.finished_s
    return [tuple(row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def test_the_prefill_gives_the_first_token() -> None:
    """A reply of 3 tokens takes 3 iterations, the prompt's included."""
    assert _times(_serve(("abc", 3))) == [(0, 1, 3)]


def test_a_long_prompt_is_cut_to_the_budget() -> None:
    """10 tokens at 4 an iteration: the first output token comes with the third chunk."""
    assert _times(_serve(("abcdefghij", 1), max_num_batched_tokens=4)) == [(0, 3, 3)]


def test_decodes_take_their_share_of_the_budget_first() -> None:
    """One decode leaves 3 of 4 tokens: a prompt of 6 takes two iterations beside it."""
    records = _serve(("a", 9), ("uvwxyz", 1, 1), max_num_batched_tokens=4)
    assert _times(records)[1] == (1, 3, 3)


def test_a_prompt_under_way_goes_before_new_ones() -> None:
    """5 tokens at 3 an iteration leave one for the next request in the second iteration."""
    records = _serve(("abcde", 1), ("xy", 1), ("z", 1), max_num_batched_tokens=3)
    assert _times(records) == [(0, 2, 2), (1, 3, 3), (2, 3, 3)]


def test_no_more_than_max_num_seqs_run() -> None:
    """The third request waits for the first to finish, although budget and memory would do."""
    records = _serve(("a", 2), ("b", 3), ("c", 1), max_num_seqs=2)
    assert _times(records) == [(0, 1, 2), (0, 1, 3), (2, 3, 3)]


def test_a_head_that_does_not_fit_blocks_all_behind() -> None:
    """Of 7 blocks 4 are free: "vwxyz" has to wait for the first one's end, and "q" waits behind it."""
    records = _serve(("abc", 3), ("vwxyz", 1), ("q", 1), blocks=7)
    assert _times(records) == [(0, 1, 3), (3, 4, 4), (3, 4, 4)]


def test_the_whole_known_sequence_must_fit() -> None:
    """Not only the first chunk of 2 tokens, for which there would be room."""
    records = _serve(("ab", 3), ("vwxyz", 1), blocks=6, max_num_batched_tokens=4)
    assert _times(records)[1] == (3, 5, 5)


def test_idle_blocks_of_a_hit_are_needed_too() -> None:
    """At 2 three blocks are free, but they are those that "abcx" finds: it needs one more."""
    records = _serve(("abc", 1), ("pq", 2, 1), ("abcx", 1, 2), blocks=6)
    assert records.cache_read_input_tokens.tolist() == [0, 0, 3]
    assert _times(records) == [(0, 1, 1), (1, 2, 3), (3, 4, 4)]


def test_who_come_together_share_a_prompt() -> None:
    """Blocks are published when they are allocated: the second of two equal prompts hits at once."""
    records = _serve(("abcd", 1), ("abcd", 1))
    assert records.cache_read_input_tokens.tolist() == [0, 3]
    assert _times(records) == [(0, 1, 1), (0, 1, 1)]


def test_a_chunk_can_be_hit_only_when_it_is_scheduled() -> None:
    """With half of "abcdefgh" allocated, a second one arriving then finds what the first has by then."""
    records = _serve(("abcdefgh", 1), ("abcdefgh", 1, 1), max_num_batched_tokens=5)
    assert records.cache_read_input_tokens.tolist() == [0, 7]


@pytest.mark.parametrize("fast_forward", [True, False])
def test_the_last_one_is_preempted_and_comes_back_first(fast_forward: bool) -> None:
    """5 blocks, two prompts of 2 tokens and 4 output tokens each: one block short at 1.

    The second request gives its blocks back and heads the queue, before a third one that would fit.
    At 4 it is back, with one output token and all but its last block still cached.
    """
    records = _serve(("ab", 4), ("xy", 4), ("q", 1, 1), blocks=5, fast_forward=fast_forward)
    assert records.preemptions.tolist() == [0, 1, 0]
    assert _times(records) == [(0, 1, 4), (0, 1, 7), (4, 5, 5)]
    assert records.engine is not None
    assert records.engine.preempted_queries_tokens == 3  # prompt and one output token
    assert records.cache_read_input_tokens.tolist() == [0, 0, 0], "resumptions are no first hits"
