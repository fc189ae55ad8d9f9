"""Published figures of providers beside what the rules give; the page is docs/validation.md."""

from __future__ import annotations

import pytest

from tests.docs.makers.published import anthropic_2024, saved, saved_by_the_second, saved_later, ten_turns


@pytest.mark.parametrize(("name", "latency", "cost"), [("book", 79, 90), ("many-shot", 31, 86)])
def test_rows_with_a_published_setup(name: str, latency: float, cost: float) -> None:
    """Percentages within 3 points. (The latency line was fitted to these rows: no proof of it.)"""
    saved_latency, saved_cost = saved_by_the_second(anthropic_2024(name))
    assert abs(100 * saved_latency - latency) <= 3
    assert abs(100 * saved_cost - cost) <= 3


@pytest.mark.parametrize(
    ("system", "user", "reply", "share"),
    [(2000, 200, 400, 51.2), (3000, 200, 400, 54.7), (1000, 100, 200, 51.2)],
)
def test_ten_turns(system: int, user: int, reply: int, share: float) -> None:
    """Moving mark, five-minute writes, output included: the derived percentages."""
    result = ten_turns(system, f"workload.user_tokens={user}", f"workload.reply_tokens={reply}")
    assert round(100 * saved(result), 1) == share


def test_ten_turns_published_cost_lies_in_the_range() -> None:
    """53 % lies between what plausible turn sizes give."""
    assert saved(ten_turns(2000)) < 0.53 < saved(ten_turns(3000))


def test_ten_turns_published_latency_lies_in_the_range() -> None:
    """-75 % of the mean latency needs a system prompt between 50,000 and 100,000 tokens on the same line.

    No one size gives both percentages: at that length the cost falls by more than 53 %.
    """
    shorter, longer = ten_turns(50_000), ten_turns(100_000)
    assert saved_later(shorter) < 0.75 < saved_later(longer)
    assert min(saved(shorter), saved(longer)) > 0.53


def test_openai_at_its_launch() -> None:
    """2024-10-01: reads at half price, from 1,024 tokens, in steps of 128, at most an hour."""
    from datetime import UTC, datetime

    from tests.providers.script import read, rules, script, send
    from tests.providers.test_bills import prices

    old = rules("openai", "gpt-4o")
    for length in (1023, 1024, 1151, 1152, 2006):
        trace = script({"a": length, "b": 600}, ("a", 0), ("a b", 60))
        assert read(send(trace, old, ttl="in_memory"))[1] == (length // 128 * 128 if length >= 1024 else 0)
    card = prices("openai", "gpt-4o", start=datetime(2024, 10, 1, tzinfo=UTC)).cards[0]
    assert card.read / card.input == pytest.approx(0.5)


def test_codex_35300() -> None:
    """On Bedrock, a 9,060-token opening: 0 % reused by the implicit breakpoint, 98.6 % with a mark."""
    from tests.providers.script import read, rules, script, send

    blocks = {"system": 9060, **{f"q{i}": 40 for i in range(70)}}
    trace = script(blocks, *((f"system q{i}", 10.0 * i) for i in range(70)))
    assert sum(read(send(trace, rules("bedrock", "gpt-6-sol")))) == 0
    mended = read(send(trace, rules("openai", "gpt-6-sol", "explicit"), marks="system"))
    assert sum(mended) / (9060 * 70) == pytest.approx(0.986, abs=5e-4)


def test_latency_line_goes_through_the_published_seconds() -> None:
    """11.5 and 2.4 s at 100,000 tokens, 1.6 and 1.1 s at 10,000."""
    from sim.providers.latency import HostedLatency

    line = HostedLatency()
    seconds = [
        line.ttft_s(100_000, 0),
        line.ttft_s(0, 100_000),
        line.ttft_s(10_000, 0),
        line.ttft_s(0, 10_000),
    ]
    assert seconds == pytest.approx([11.5, 2.4, 1.6, 1.1], abs=0.01)
