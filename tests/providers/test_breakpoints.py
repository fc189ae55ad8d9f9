# ruff: noqa: E501 (tables of cases)
"""Rules of marks: what is written, what is found, for how long. Each test fails without its rule."""

from __future__ import annotations

from typing import Any

import pytest

from sim.providers.marks import Caching, Marks
from tests.providers.script import SLOW, made, read, rules, script, send, written
from workloads.errors import InputError

OPUS5 = rules("anthropic", "claude-opus-5")
CHAT = {"system": 2000, "u1": 100, "r1": 50, "u2": 100, "r2": 50, "u3": 100}
TURNS = (("system u1", 0), ("system u1 r1 u2", 60), ("system u1 r1 u2 r2 u3", 120))


def test_automatic_mark_at_the_end_of_the_prompt() -> None:
    """Each turn reads the prompt of the turn before and writes the rest."""
    done = send(script(CHAT, *TURNS), OPUS5)
    assert read(done) == [0, 2100, 2250]
    assert written(done) == [2100, 150, 150]


def test_nothing_is_cached_when_off() -> None:
    done = send(script(CHAT, *TURNS), OPUS5, mode="off")
    assert read(done) == written(done) == [0, 0, 0]


def test_only_marked_positions_can_be_read() -> None:
    """Another conversation shares the system message, but no mark stands at its end."""
    trace = script(CHAT | {"v1": 70}, ("system u1", 0), ("system v1", 60))
    assert read(send(trace, OPUS5)) == [0, 0]
    assert read(send(trace, OPUS5, marks="system")) == [0, 2000]
    assert written(send(trace, OPUS5, marks="system")) == [2100, 70]


@pytest.mark.parametrize(
    ("marks", "expected_read", "expected_written"),
    [
        ("none", [0, 0, 0], [0, 0, 0]),
        ("system", [0, 2000, 2000], [2000, 0, 0]),
        ("last", [0, 2100, 2250], [2100, 150, 150]),
        ("window", [0, 2100, 2250], [2100, 150, 150]),
        ("all", [0, 2000, 2150], [2000, 150, 150]),
    ],
)
def test_strategies(marks: str, expected_read: list[int], expected_written: list[int]) -> None:
    """``all`` leaves the newest message out: it is written once it is history."""
    done = send(script(CHAT, *TURNS), OPUS5, mode="explicit", marks=marks)
    assert read(done) == expected_read
    assert written(done) == expected_written


def test_window_writes_entries_at_the_last_messages() -> None:
    """A conversation that goes another way after u1 finds u1's end only if a mark stood there."""
    trace = script(CHAT | {"x": 9}, ("system u1 r1 u2 r2 u3", 0), ("system u1 x", 60))
    assert read(send(trace, OPUS5, mode="explicit", marks="window", window=4)) == [0, 0]
    trace = script(CHAT | {"x": 9}, ("system u1 r1 u2", 0), ("system u1 x", 60))
    assert read(send(trace, OPUS5, mode="explicit", marks="window", window=4)) == [0, 2100]
    assert read(send(trace, OPUS5, mode="explicit", marks="window", window=2)) == [0, 0]


def _long(blocks: int) -> dict[str, int]:
    return {f"m{i}": 100 for i in range(1, blocks + 1)}


def _upto(n: int) -> str:
    return " ".join(f"m{i}" for i in range(1, n + 1))


def test_lookback_of_twenty_positions() -> None:
    """A mark at block 35 tries blocks 35 to 16: an entry at 16 is found, one at 15 is missed."""
    blocks = _long(35)
    assert read(send(script(blocks, (_upto(16), 0), (_upto(35), 60)), OPUS5)) == [0, 1600]
    assert read(send(script(blocks, (_upto(15), 0), (_upto(35), 60)), OPUS5)) == [0, 0]


def test_lookback_goes_on_at_the_next_earlier_mark() -> None:
    """The window's earliest mark stands three messages back and reaches three further."""
    blocks = _long(35)
    trace = script(blocks, (_upto(13), 0), (_upto(35), 60))
    assert read(send(trace, OPUS5, mode="explicit", marks="window", window=4)) == [0, 1300]
    assert read(send(trace, OPUS5, mode="explicit", marks="window", window=3)) == [0, 0]


def test_messages_are_counted_where_replies_are_not() -> None:
    """Lookback over ends of messages to the model: the reply between them does not use it up."""
    trace = script(CHAT, ("system u1 > r1", 0), ("system u1 r1 u2", 60))
    two = made("breakpoint", auto_mark=True, lookback=2)
    assert read(send(trace, two)) == [0, 0]
    assert read(send(trace, two.model_copy(update={"lookback": 3}))) == [0, 2100]
    assert read(send(trace, two.model_copy(update={"lookback_unit": "message"}))) == [0, 2100]


@pytest.mark.parametrize(
    ("model", "minimum"),
    [
        ("claude-opus-5", 512), ("claude-opus-5-5", 512), ("claude-fable-5", 512), ("claude-fable-5-1", 512),
        ("claude-fable-5-2", 512), ("claude-mythos-5", 512), ("claude-sonnet-5-5", 512), ("claude-haiku-5-5", 512),
        ("claude-opus-4-8", 1024), ("claude-opus-4-1", 1024), ("claude-opus-4-0", 1024), ("claude-sonnet-5", 1024),
        ("claude-sonnet-4-6", 1024), ("claude-sonnet-4-5", 1024), ("claude-opus-4-7", 2048), ("claude-3-5-haiku", 2048),
        ("claude-mythos-preview", 2048), ("claude-opus-4-6", 4096), ("claude-opus-4-5", 4096), ("claude-haiku-4-5", 4096),
    ],
)  # fmt: skip
def test_minimum_by_model(model: str, minimum: int) -> None:
    """One token under the minimum: no error, both counters 0; at the minimum it is written and read."""
    for length, found in ((minimum - 1, 0), (minimum, minimum)):
        trace = script({"a": length, "b": 5}, ("a", 0), ("a b", 60))
        done = send(trace, rules("anthropic", model))
        assert read(done) == [0, found]
        assert written(done)[0] == found


def test_minimum_holds_for_each_mark() -> None:
    """The system message alone is too short, the whole prompt is not."""
    trace = script({"system": 500, "u": 100, "v": 100}, ("system u", 0), ("system v", 60))
    done = send(trace, OPUS5, mode="explicit", marks="system")
    assert written(done) == [0, 0]
    done = send(trace, OPUS5, marks="system")
    assert (read(done), written(done)) == ([0, 0], [600, 600])


def test_lifetime_from_start_to_start() -> None:
    """Found 299.9 s after the start of the writing request, missed at exactly 300 s (a parameter)."""
    for gap, found in ((299.9, 1000), (300, 0), (300.1, 0)):
        assert read(send(script({"a": 1000}, ("a", 0), ("a", gap)), OPUS5)) == [0, found]
    edge = OPUS5.model_copy(update={"at_ttl": "hit"})
    for gap, found in ((300, 1000), (300.1, 0)):
        assert read(send(script({"a": 1000}, ("a", 0), ("a", gap)), edge)) == [0, found]


def test_generation_time_consumes_the_lifetime() -> None:
    """The clock starts with the request; under ``response_end`` it starts with the end of the reply."""
    trace = script({"a": 1000}, ("a", 0), ("a", 350), reply=101)  # the reply ends at 101 s
    assert read(send(trace, OPUS5, SLOW)) == [0, 0]
    assert read(send(trace, OPUS5.model_copy(update={"clock": "response_end"}), SLOW)) == [0, 1000]


def test_a_read_restarts_the_clock_at_no_charge() -> None:
    trace = script({"a": 1000}, ("a", 0), ("a", 200), ("a", 400))
    done = send(trace, OPUS5)
    assert (read(done), written(done)) == ([0, 1000, 1000], [1000, 0, 0])
    fixed = OPUS5.model_copy(update={"refresh_on_read": False})
    assert read(send(trace, fixed)) == [0, 1000, 0]


def test_a_read_refreshes_the_requests_own_marks_only() -> None:
    """The system entry lives on while turns mark it; without that mark it expires under them."""
    trace = script(CHAT | {"v": 9}, ("system u1", 0), ("system u1 r1 u2", 200), ("system v", 400))
    assert read(send(trace, OPUS5, marks="system")) == [0, 2100, 2000]
    first = script(
        CHAT | {"v": 9}, ("system", 0), ("system u1", 200), ("system u1 r1 u2", 290), ("system v", 560)
    )
    assert read(send(first, OPUS5)) == [0, 2000, 2100, 0]


def test_an_entry_inside_the_hit_is_not_written_again() -> None:
    """New writes are longer than the hit: an expired system entry is not renewed by a longer hit."""
    trace = script(
        CHAT | {"v": 9}, ("system", 0), ("system u1", 100), ("system u1 r1 u2", 390), ("system v", 410)
    )
    short = made("breakpoint", auto_mark=True, max_writes=4, refresh_on_read=False)
    assert read(send(trace, short, marks="system")) == [0, 2000, 2100, 0]


def test_a_read_does_not_revive_an_expired_entry() -> None:
    """A mark inside the hit, on an entry that died at 300 s: refreshing it would be a write for nothing."""
    turns = (("system u1", 0), ("system u1 r1 u2", 200), ("system u1", 400), ("system v", 410))
    done = send(script(CHAT | {"v": 9}, *turns), OPUS5, mode="explicit", marks="window", window=2)
    assert read(done) == [0, 2100, 2100, 0]


def test_no_read_keeps_an_entry_beyond_its_cap() -> None:
    """500 s after the first write it is gone, also if a second request wrote the same in the meantime."""
    capped = made("breakpoint", auto_mark=True, lifetimes=[{"name": "x", "seconds": 300, "cap_s": 500}])
    trace = script({"a": 1000}, ("a", 0), ("a", 200), ("a", 400), ("a", 499), ("a", 500))
    assert read(send(trace, capped)) == [0, 1000, 1000, 1000, 0]
    both = script({"a": 1000}, ("a", 0), ("a", 0.5), ("a", 300.3))
    for cap_s, found in ((300.2, 0), (300.4, 1000)):
        short = made(
            "breakpoint", auto_mark=True, lifetimes=[{"name": "x", "seconds": 300, "cap_s": cap_s}]
        )
        assert read(send(both, short, SLOW)) == [0, 0, found]


def test_one_hour_costs_more_and_lives_longer() -> None:
    """A read restarts the entry's own lifetime, not the default one."""
    trace = script({"a": 1000}, *(("a", at) for at in (0, 3599, 2 * 3599, 2 * 3599 + 3600)))
    done = send(trace, OPUS5, ttl="1h")
    assert read(done) == [0, 1000, 1000, 0]
    assert written(done, 1) == [1000, 0, 0, 1000]
    assert written(done, 0) == [0, 0, 0, 0]


def test_mixed_lifetimes() -> None:
    """A as read, B - A as 1h write, C - B as 5m write, the rest as input."""
    trace = script(CHAT, ("system u1", 0), ("system u1 r1 u2", 400))
    done = send(trace, OPUS5, marks="system", system_ttl="1h")
    assert (written(done, 1), written(done, 0)) == ([2000, 0], [100, 250])
    assert read(done) == [0, 2000]  # the 5m entry of u1 is gone, the 1h entry of the system is not
    first = script(CHAT, ("system u1", 0))
    done = send(first, OPUS5, mode="explicit", marks="all", system_ttl="1h")
    assert (written(done, 1), written(done, 0)) == ([2000], [0])  # the history is the system message alone
    same = send(first, OPUS5, mode="explicit", marks="all", ttl="1h", system_ttl="1h")
    assert written(same, 1) == [2000]


def test_a_place_carries_one_mark() -> None:
    """The automatic mark and that of the system message, on a prompt that is nothing else."""
    caching = Caching(mode="automatic", marks="system")
    assert [mark.tokens for mark in Marks(script(CHAT, ("system", 0)), caching, OPUS5).of(0)] == [2000]
    assert len(Marks(script(CHAT, ("system u1", 0)), caching, OPUS5).of(0)) == 2


def test_entries_become_readable_when_the_response_begins() -> None:
    """N equal cold requests in flight cause N writes; from the first token on the entry is read."""
    trace = script({"a": 1000}, ("a", 0), ("a", 0.5), ("a", 0.999), ("a", 1.0))
    done = send(trace, OPUS5, SLOW)
    assert read(done) == [0, 0, 0, 1000]
    assert written(done) == [1000, 1000, 1000, 0]


def test_visibility_can_be_late() -> None:
    """An extra delay, and providers whose entries exist only after the response ends."""
    trace = script({"a": 1500}, ("a", 0), ("a", 2.9), ("a", 3.0), ("a", 11))
    late = OPUS5.model_copy(update={"visible_delay_s": 2.0})
    assert read(send(trace, late, SLOW)) == [0, 0, 1500, 1500]
    trace = script({"a": 1500}, ("a", 0), ("a", 9.9), ("a", 10), reply=10)
    assert read(send(trace, rules("qwen", "qwen3-max", "explicit"), SLOW)) == [0, 0, 1500]
    at_once = OPUS5.model_copy(update={"visible_at": "request_start"})
    assert read(send(trace, at_once, SLOW)) == [0, 1500, 1500]


def test_four_slots() -> None:
    """Four marks and the automatic one are refused, as are five; three and the automatic one are not."""
    trace = script(CHAT, *TURNS)
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"mode": "explicit", "marks": "window", "window": 5}, "caching: 5 marks.*allowed: at most 4"),
        ({"mode": "automatic", "marks": "window", "window": 4}, "5 marks.*and the automatic one"),
    )
    for caching, said in refused:
        with pytest.raises(InputError, match=said):
            send(trace, OPUS5, **caching)
    send(trace, OPUS5, marks="window", window=3)
    one = made("breakpoint", max_writes=1)
    with pytest.raises(InputError, match=r"caching: 2 marks.*allowed: at most 1"):
        send(trace, one, mode="explicit", marks="all")
    send(trace, one, mode="explicit", marks="last")


def test_latest_four_where_more_marks_are_no_error() -> None:
    """OpenAI: the implicit breakpoint and the latest three marks are written, an earlier one is not."""
    new = rules("openai", "gpt-6-sol", lookback=1, opening=False)
    blocks = {"a": 2000, "b": 10, "c": 10, "d": 10, "e": 10}
    trace = script(blocks | {"x": 5}, ("a b c d e", 0), ("a", 60), ("a b", 60))
    assert read(send(trace, new, marks="window", window=9)) == [0, 0, 2010]


def test_openai_new_tries_the_opening_and_twenty_messages() -> None:
    """The end of the system message is found from any distance, once something was written there."""
    new = rules("openai", "gpt-6-sol", opening_written=False)
    blocks = {"system": 2000, **{f"m{i}": 10 for i in range(40)}}
    long = " ".join(["system", *(f"m{i}" for i in range(40))])
    trace = script(blocks, ("system", 0), (long, 60))
    assert read(send(trace, new)) == [0, 2000]
    assert read(send(trace, new.model_copy(update={"opening": False}))) == [0, 0]
    near = " ".join(["system", *(f"m{i}" for i in range(20))])
    blind = new.model_copy(update={"opening": False})
    assert read(send(script(blocks, ("system", 0), (near, 60)), blind)) == [0, 2000]
    assert read(send(script(blocks, ("system", 0), (near + " m20", 60)), blind)) == [0, 0]


def test_openai_new_implicit_breakpoint_behind_a_changing_tail() -> None:
    """Hosted by Bedrock the tail is written at 1.25x each time and never read; one explicit mark mends it.

    On the provider's own API the opening is written too, and then read.
    """
    blocks = {"system": 9060, **{f"q{i}": 40 for i in range(5)}}
    trace = script(blocks, *((f"system q{i}", 60.0 * i) for i in range(5)))
    direct = send(trace, rules("openai", "gpt-6-sol"))
    assert (read(direct), written(direct)) == ([0, *[9060] * 4], [9100, *[40] * 4])
    trapped = send(trace, rules("bedrock", "gpt-6-sol"))
    assert (sum(read(trapped)), sum(written(trapped))) == (0, 5 * 9100)
    mended = send(trace, rules("openai", "gpt-6-sol", "explicit"), marks="system")
    assert read(mended) == [0, *[9060] * 4]
    assert written(mended) == [9060, 0, 0, 0, 0]


def test_openai_explicit_mode_without_marks_is_off() -> None:
    done = send(script(CHAT, *TURNS), rules("openai", "gpt-6-sol", "explicit"), marks="none")
    assert read(done) == written(done) == [0, 0, 0]


def test_longer_than_the_minimum_lifetime() -> None:
    """``longest_s`` draws a lifetime per request: some entries outlive the minimum, none dies before."""
    from sim.providers.schema import Lifetime

    drawn = Lifetime(name="30m", seconds=1800, longest_s=7200)
    new = rules("openai", "gpt-6-sol", lifetimes=[drawn])
    pairs = [(f"a{i}", float(at)) for i in range(40) for at in (0, 4000)]
    lengths = {f"a{i}": 2000 for i in range(40)}
    found = read(send(script(lengths, *pairs), new))
    assert 0 < found.count(2000) < 40
    sooner = [(f"a{i}", float(at)) for i in range(40) for at in (0, 1799)]
    assert read(send(script(lengths, *sooner), new)).count(2000) == 40
