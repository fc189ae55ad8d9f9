"""SGLang's scheduler: one small exact example per rule, one second per iteration."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.engine.sglang.admission import CLIP_MAX_NEW_TOKENS, NewTokenRatio, PrefillPass
from sim.engine.sglang.config import SglangEngine
from sim.engine.sglang.memory import SglangMemory
from sim.results.itl import gaps_of
from tests.engine.driving import check_always
from tests.engine.driving_sglang import (
    LONG,
    Spec,
    letters,
    memory_with,
    serve,
    sglang_fleet,
    steps_of,
    times_of,
)
from workloads.errors import InputError
from workloads.trace import Trace

TIGHT: dict[str, Any] = {"schedule_conservativeness": 0.1}
"""Next to nothing is reserved for the replies of running requests."""
BOTH = pytest.mark.parametrize("fast_forward", [True, False])


def _schedule(*requests: Spec, pages: int = 999, **engine: Any) -> list[list[tuple[int, int]]]:
    """(request, tokens) of every iteration."""
    fleet = sglang_fleet(letters(*requests), pages=pages, record_steps=True, **engine)
    check_always(fleet).run()
    return [step.sched for step in steps_of(fleet)]


# -- prefill first -----------------------------------------------------------------------------------


@BOTH
def test_a_prefill_stops_all_decodes(fast_forward: bool) -> None:
    """Who arrives at 2 is computed alone in the next iteration; the other's reply waits for it."""
    records = serve(("abc", 4), ("xy", 2, 2), fast_forward=fast_forward)
    assert times_of(records) == [(0, 1, 5), (2, 3, 4)]


def test_prefills_share_a_batch_and_decodes_another() -> None:
    """Two prompts in one iteration, then one token each until the shorter reply ends."""
    assert _schedule(("abc", 3), ("xy", 2)) == [[(0, 3), (1, 2)], [(0, 1), (1, 1)], [(0, 1)]]


def test_gaps_between_tokens_count_the_prefills_between() -> None:
    """The first one's second token comes two seconds after its first; all others one second apart."""
    gaps = gaps_of(serve(("abc", 4), ("xy", 3, 1)).steps, (0, 25, 50, 75, 100))
    assert gaps.count == 5
    assert gaps.percentiles() == [1, 1, 1, 1, 2]


# -- chunks ------------------------------------------------------------------------------------------


def test_one_prompt_is_cut_and_goes_on_first() -> None:
    """Chunks of 4: "uvwxyz" begins in what "abc" leaves, goes on first, and "q" gets the rest."""
    schedule = _schedule(("abc", 1), ("uvwxyz", 1), ("q", 1), chunked_prefill_size=4)
    assert schedule == [[(0, 3), (1, 1)], [(1, 4)], [(1, 1), (2, 1)]]


def test_no_decode_while_a_prompt_is_begun() -> None:
    """The first one's second token waits for all three chunks of the other."""
    schedule = _schedule(("ab", 2), ("uvwxyz", 1), chunked_prefill_size=3)
    assert schedule == [[(0, 2), (1, 1)], [(1, 3)], [(1, 2)], [(0, 1)]]


def test_a_chunk_ends_on_a_page() -> None:
    """Pages of 4, chunks of 8: after 4 (3 tokens take a page) 4 are left, not 5."""
    schedule = _schedule(("abc", 1), ("nopqrstuvw", 1), page_size=4, chunked_prefill_size=8)
    assert schedule == [[(0, 3), (1, 4)], [(1, 6)]]


def test_without_chunks_a_long_prompt_is_computed_at_once() -> None:
    """-1: the first prompt of a batch may exceed max_prefill_tokens, the next one may not reach it."""
    schedule = _schedule(
        ("abcdefgh", 1), ("xy", 1), ("q", 1), chunked_prefill_size=-1, max_prefill_tokens=5
    )
    assert schedule == [[(0, 8)], [(1, 2), (2, 1)]]
    schedule = _schedule(("ab", 1), ("xyz", 1), chunked_prefill_size=-1, max_prefill_tokens=5)
    assert schedule == [[(0, 2)], [(1, 3)]]


def test_max_prefill_tokens_ends_a_batch() -> None:
    """With chunks the limit is looked at between two requests only."""
    assert _schedule(("abc", 1), ("xy", 1), ("q", 1), max_prefill_tokens=4) == [[(0, 3), (1, 2)], [(2, 1)]]


# -- what is in the tree, and when -------------------------------------------------------------------


def test_a_batch_shares_nothing() -> None:
    """KV enters the tree with the result: of three equal prompts the third, a second later, hits."""
    records = serve(("abcd", 1), ("abcd", 1), ("abcd", 1, 1))
    assert records.cache_read_input_tokens.tolist() == [0, 0, 3]


def test_copies_are_freed() -> None:
    """Both compute "abcdef"; afterwards the pool holds it once, and each its own reply so far."""
    fleet = sglang_fleet(letters(("abcdef", 9), ("abcdef", 9)), pages=99, record_steps=True)
    check_always(fleet).run()
    assert [99 - step.free for step in steps_of(fleet)][:3] == [12, 8, 10]


def test_every_chunk_enters_the_tree() -> None:
    """The begun prompt's first chunk is found by the same prompt admitted beside its second one."""
    records = serve(("abcdef", 1), ("abcdef", 1, 1), chunked_prefill_size=4, max_running_requests=2)
    assert records.cache_read_input_tokens.tolist() == [0, 4]


@pytest.mark.parametrize(("at", "hit"), [(2.0, 3), (9.0, 6)])
def test_a_reply_being_written_is_not_found(at: float, hit: int) -> None:
    """At 2 a token of the reply has KV but is private; at 9 all are found but the last, which has none."""
    trace = Trace()
    prompt = trace.content.append(0, 3)
    reply = trace.content.append(prompt, 4)
    trace.add(prompt=prompt, reply=reply, output_tokens=4, arrival_s=0.0)
    trace.add(prompt=trace.content.append(reply, 1), output_tokens=1, arrival_s=at)
    records = check_always(sglang_fleet(trace, pages=99)).run()
    assert records.cache_read_input_tokens.tolist() == [0, hit]


# -- admission ---------------------------------------------------------------------------------------


def test_no_more_than_max_running_requests() -> None:
    """The third request waits for the first to leave."""
    records = serve(("a", 2), ("b", 3), ("c", 1), max_running_requests=2)
    assert times_of(records) == [(0, 1, 2), (0, 1, 4), (2, 3, 3)]


@pytest.mark.parametrize(("pages", "together"), [(12, True), (11, False)])
def test_an_admission_reserves_the_whole_reply(pages: int, together: bool) -> None:
    """After "ab" with 3 to come and a page, "xy" needs 2 + 3 + 1, less than what is left of the pool."""
    schedule = _schedule(("ab", 3), ("xy", 3), pages=pages + 1, ignore_eos=True)
    assert (len(schedule[0]) == 2) is together


@pytest.mark.parametrize(("pages", "at"), [(19, 9), (18, 17)])
def test_the_tokens_found_are_not_free_for_the_request(pages: int, at: float) -> None:
    """At 9 "abcdexy" needs 2 + 1 + 1, less than the pages without 5 found, 1 held and 8 to come for "q"."""
    records = serve(("abcdef", 1), ("q", 9, 8), ("abcdexy", 1, 9), pages=pages, ignore_eos=True)
    assert times_of(records)[2][0] == at


@pytest.mark.parametrize(("pages", "options"), [(14, {}), (17, {"ignore_eos": True})])
def test_running_requests_are_expected_to_need_a_part(pages: int, options: dict[str, Any]) -> None:
    """Of 10 tokens to come 7 are reserved at 0.7, all with ignore_eos; of the 6 left 5 may be asked for."""
    assert times_of(serve(("a", 11), ("bcd", 1, 1), pages=pages, **options))[1][0] == 1
    assert times_of(serve(("a", 11), ("bcde", 1, 1), pages=pages, **options))[1][0] == 11


def test_no_reply_is_expected_to_be_longer_than_4096() -> None:
    """Two requests for 9000 tokens each share 10,000 pages, as far as admission knows."""
    asked = {"max_new_tokens": 9000, "ignore_eos": True}
    assert len(_schedule(("a", 2), ("b", 2), pages=10_000, **asked)[0]) == 2
    assert len(_schedule(("a", 2), ("b", 2), pages=8_000, **asked)[0]) == 1


def test_who_does_not_fit_ends_the_pass() -> None:
    """ "q" would fit, but is behind "vwxyz"; both come in when the first one leaves."""
    records = serve(("ab", 6), ("vwxyz", 3, 1), ("q", 1, 1), pages=13, ignore_eos=True)
    assert times_of(records) == [(0, 1, 6), (6, 7, 9), (6, 7, 7)]


def test_a_full_batch_admits_nobody_until_somebody_leaves() -> None:
    """At 1 the late one is refused. The ratio falls and it would fit soon, but nobody tries till "b" ends.

    Without "b" nobody tries before the end of "a".
    """
    late = (LONG[:20], 290, 1)
    assert times_of(serve(("a", 1000), late, pages=1010))[1][0] == 1000
    records = serve(("a", 1000), ("b", 100, 1), late, pages=1010)
    assert times_of(records)[2][0] == times_of(records)[1][2] == 101


def test_who_leaves_with_its_first_token_opens_the_batch() -> None:
    """At 1 "wxyz" asks for 19 of 17.7 that "x" leaves; a second later "x" is gone, and it fits."""
    records = serve(("a", 20), ("x", 1, 1), ("wxyz", 14, 1), pages=23, **TIGHT)
    assert [first for first, _, _ in times_of(records)] == [0, 1, 2]


def test_an_admission_may_close_the_batch_behind_it() -> None:
    """Pages of 4: "x" passes with 5 + 16 of 22.7 tokens and is charged 24, so nobody is tried till it ends.

    At 2 "y" would fit, with 6 of 8.2.
    """
    records = serve(("a", 20), ("x", 16, 1), ("y", 1, 2), pages=10, page_size=4, chunked_prefill_size=64)
    assert times_of(records)[1] == (1, 2, 17)
    assert times_of(records)[2][0] == 17


def test_the_ratio_starts_again_after_idling() -> None:
    """150 steps bring it to 0.55, at which the last one would fit at 201; but the engine has been idle."""
    records = serve(("q", 150), ("a", 100, 200), (LONG + LONG + LONG[:18], 1, 201), pages=160)
    assert times_of(records)[2][0] == 300


def test_nobody_can_fit() -> None:
    """A prompt that the pool never holds: an error, not an endless loop."""
    with pytest.raises(InputError, match=r"replica 0 can never admit .*5 known tokens"):
        serve(("abcde", 1), pages=5)


def test_the_ratio() -> None:
    """0.7 to 0.098 in 600 steps; after a retraction what is used; at most 1; from the start when idle."""
    ratio = NewTokenRatio(1.0)
    assert ratio.value == 0.7
    ratio.steps += 300
    assert ratio.value == pytest.approx(0.7 - 0.602 / 2, rel=1e-12)
    ratio.steps += 299
    assert ratio.value > 0.098
    ratio.steps += 5
    assert ratio.value == pytest.approx(0.098)
    ratio.retracted([])
    assert ratio.value == 0
    ratio.steps += 1
    assert ratio.value == pytest.approx(0.098)
    ratio.reset()
    assert ratio.value == 0.7
    assert NewTokenRatio(3.0).value == 1


def test_steps_of_the_ratio_round_alike() -> None:
    """Many at once and one by one end on the same last bit."""
    once, singly = NewTokenRatio(1.1), NewTokenRatio(1.1)
    once.steps += 577
    for _ in range(577):
        singly.steps += 1
    assert once.value == singly.value


@given(st.integers(0, 2), st.floats(0, 1), st.integers(1, 9999), st.integers(0, 9999))
def test_what_running_requests_need_is_asked_for_if_it_matters(
    running: int, used: float, known: int, wanted: int
) -> None:
    """Whether memory has more than ``wanted`` is exact, before and after a charge, asked for or not."""
    memory = SglangMemory(letters().content, 1, 9999)
    engine = SglangEngine(kind="sglang", chunked_prefill_size=9999)
    needed, asked = used * running * CLIP_MAX_NEW_TOKENS, []

    def reserved() -> float:
        asked.append(needed)
        return needed

    prefill = PrefillPass(engine, memory, running, reserved, None)
    assert prefill.has(wanted) is (9999 - needed > wanted)
    (request,) = memory_with("abc")[1]
    request.prompt_tokens = known
    prefill.resume(request)
    reply = 0 if prefill.cut is request else 1
    assert prefill.has(wanted) is (9999 - (needed + (prefill.tokens + 1 + reply)) > wanted)
    most = running * CLIP_MAX_NEW_TOKENS + prefill.tokens + 1 + reply
    assert len(asked) <= (9999 - most <= max(wanted, prefill.tokens))


# -- retraction --------------------------------------------------------------------------------------


@BOTH
def test_the_one_with_the_fewest_tokens_is_retracted(fast_forward: bool) -> None:
    """The longer prompt comes at 2 with fewer tokens out: at 36 memory is full, and it loses its reply.

    It comes back when the other one ends: its prompt is still in the tree, its 34 tokens of reply are not.
    """
    records = serve(("+-", 60), (LONG[:30], 60, 2), pages=100, fast_forward=fast_forward, **TIGHT)
    assert records.preemptions.tolist() == [0, 1]
    assert records.engine is not None
    assert records.engine.preempted_queries_tokens == 64
    assert records.engine.preempted_hits_tokens == 30
    assert records.engine.recomputed_tokens == 63 - 30


def test_a_retraction_makes_room_for_twenty_steps() -> None:
    """7 slots are free at once, enough for the 4 steps of the other, but the prompt is evicted too."""
    fleet = sglang_fleet(letters(("ab", 10), ("xyz", 6, 2)), pages=14, record_steps=True, **TIGHT)
    check_always(fleet).run()
    retractions = [step for step in steps_of(fleet) if step.preempted]
    assert [step.preempted for step in retractions] == [[1]]
    assert retractions[0].evicted == [(1, 2, 0)]
    assert [step.resumed for step in steps_of(fleet) if step.resumed] == [[(1, 0)]]


def test_of_equals_the_longest_prompt_is_retracted() -> None:
    """Both have as many tokens out; "vwxyz" has the longer prompt, although it came first."""
    records = serve(("vwxyz", 6), ("ab", 6), pages=15, **TIGHT)
    assert records.preemptions.tolist() == [1, 0]


def test_priority_goes_before_length() -> None:
    """With retraction_policy priority the lowest priority is retracted, whatever it has."""
    for policy, preempted in (("length", [1, 0]), ("priority", [0, 1])):
        trace = letters(("vwxyz", 6), ("ab", 6))
        trace.priority = [2, 1]
        fleet = sglang_fleet(trace, pages=15, retraction_policy=policy, **TIGHT)
        assert check_always(fleet).run().preemptions.tolist() == preempted


def test_who_is_retracted_queues_last() -> None:
    """ "q", which waited already, is admitted before the retracted one."""
    fleet = sglang_fleet(
        letters(("ab", 9), ("uvwxyz", 9), ("q", 2, 1)), pages=19, max_running_requests=2,
        record_steps=True, **TIGHT,
    )  # fmt: skip
    check_always(fleet).run()
    steps = steps_of(fleet)
    (retraction,) = [i for i, step in enumerate(steps) if step.preempted]
    assert steps[retraction].preempted == [1]
    admitted = [index for step in steps[retraction:] for index, _ in step.new + step.resumed]
    assert admitted == [2, 1]


@BOTH
def test_the_last_one_is_aborted(fast_forward: bool) -> None:
    """Alone with 10 of 10 slots it cannot go on: it ends without its last token, and is recorded."""
    trace = letters(("abcd", 9), ("xy", 2, 20))
    fleet = check_always(sglang_fleet(trace, pages=10, fast_forward=fast_forward))
    records = fleet.run()
    records.check()
    assert records.status.tolist()[0] == "aborted"
    assert records.finished_s[1] == 22
    assert records.first_token_s[0] == 1 and str(records.finished_s[0]) == "nan"
    assert records.replica.tolist() == [0, 0]
