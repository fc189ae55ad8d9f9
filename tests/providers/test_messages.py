"""A message of several segments is one message: marks stand at its end, lookbacks count it once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.providers.marks import Caching, Marks
from tests.chats import HABITS, chat, workload
from tests.oracles.naive_provider import NaiveBreakpoints, Prompt
from tests.providers.script import SLOW, made, read, rules, send, written
from workloads.checking import check
from workloads.content import ROOT
from workloads.formats.mooncake import MooncakeTrace
from workloads.trace import Trace

OPUS5 = rules("anthropic", "claude-opus-5")
FIXED: dict[str, Any] = {
    "sessions": 1,
    "turns": 3,
    "system_prompt": {"tokens": 2000},
    "user_tokens": 100,
    "reply_tokens": 50,
}
CLOCK_AND_FIELDS = {
    "system_prompt": {"kind": "clock", "tokens": 20, "at_token": 500},
    "dynamic_fields": {"kind": "user", "tokens": 30},
}


def _built(habits: dict[str, Any]) -> Trace:
    return workload(habits, **FIXED).build(1, Path()).by_message


@pytest.mark.parametrize(
    ("strategy", "ends"),
    [
        ("last", [2450]),
        ("window", [2450, 2320, 2270, 2170]),
        ("all", [2320, 2020]),
        ("system", [2020]),
    ],
)
def test_marks_stand_at_ends_of_messages(strategy: str, ends: list[int]) -> None:
    """Turn 3 under a clock in the system message and fields behind the user message, two segments each."""
    trace = _built(CLOCK_AND_FIELDS)
    assert len(trace.content.path(trace.prompt[2])) == 8 > len(trace.message_path(trace.prompt[2])) == 6
    caching = Caching.model_validate({"mode": "explicit", "marks": strategy})
    assert [mark.tokens for mark in Marks(trace, caching, OPUS5).of(2)] == ends


def _in_halves(*messages: int) -> Trace:
    """Requests a minute apart, each the first so many of the same messages of 50 + 50 tokens."""
    trace, ends = Trace(messages=True), [ROOT]
    for _ in range(max(messages)):
        half = trace.content.append(ends[-1], 50)
        ends.append(trace.content.append(half, 50))
        trace.continuations.add(ends[-1])
    for i, count in enumerate(messages):
        trace.add(prompt=ends[count], output_tokens=1, arrival_s=60.0 * i)
    check(trace)
    return trace


@pytest.mark.parametrize(("earlier", "found"), [(16, 1600), (15, 0)])
@pytest.mark.parametrize("unit", ["position", "message"])
def test_lookback_counts_messages(earlier: int, found: int, unit: str) -> None:
    """From the end of message 35 twenty messages back is message 16, whatever they are made of."""
    counted = OPUS5.model_copy(update={"lookback_unit": unit})
    assert read(send(_in_halves(earlier, 35), counted)) == [0, found]


def test_a_message_that_goes_on_is_another_message() -> None:
    """An entry ends inside the longer message: no mark stands there; a grid of tokens finds it."""
    trace = Trace(messages=True)
    system = trace.content.append(ROOT, 2000)
    said = trace.content.append(system, 100)
    fields = trace.content.append(said, 30)
    trace.continuations.add(fields)
    trace.add(prompt=said, output_tokens=1, arrival_s=0)
    trace.add(prompt=fields, output_tokens=1, arrival_s=60)
    assert read(send(trace, OPUS5)) == [0, 0]
    assert read(send(trace, made("grid"))) == [0, 2100]


def test_marks_of_a_trace_of_blocks(tmp_path: Path) -> None:
    """Two that share a block meet at its end; what nobody meets stands for itself."""
    rows = [([1], 300), ([2], 512), ([3, 4], 700), ([3, 5], 900)]
    keys = ("timestamp", "output_length", "hash_ids", "input_length")
    lines = [json.dumps(dict(zip(keys, (i, 1, *row), strict=True))) for i, row in enumerate(rows)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n")
    trace = MooncakeTrace(kind="trace", format="mooncake", path=tmp_path / "t.jsonl").build(0, tmp_path)
    assert [trace.content.end[node] for node in trace.anchors] == [300, 512, 512, 512]


@pytest.mark.parametrize(("lookback", "found"), [(2, [0, 2000, 2150]), (1, [0, 2000, 2000])])
def test_resent_replies_are_replies(lookback: int, found: list[int]) -> None:
    """A reply resent behind a question without its fields is new content, and no message to the model.

    Turn 3 marks the end of reply 2: question 2 is the first message counted, behind reply 1 the second,
    where turn 2 wrote. With one the system message's own mark is next.
    """
    trace = _built({"dynamic_fields": {"kind": "user", "tokens": 30}})
    by_message = made("breakpoint", max_writes=4, lookback=lookback, lookback_unit="message")
    assert read(send(trace, by_message, mode="explicit", marks="all")) == found


def _ends(strategy: str, prompt: Prompt) -> list[int]:
    n = len(prompt)
    return {
        "none": [],
        "last": [n],
        "system": [1],
        "window": [n - i for i in range(3) if n - i > 0],
        "all": sorted({1, n - 1}),
    }[strategy]


@settings(derandomize=True, max_examples=200)
@given(
    habits=HABITS,
    seed=st.integers(0, 1000),
    strategy=st.sampled_from(["none", "last", "system", "window", "all"]),
    automatic=st.booleans(),
    opening=st.booleans(),
    lookback=st.sampled_from([1, 2, 3, 20]),
    unit=st.sampled_from(["position", "message"]),
    minimum=st.sampled_from([0, 40]),
)
def test_against_prompts_written_out(
    habits: dict[str, Any],
    seed: int,
    strategy: str,
    automatic: bool,
    opening: bool,
    lookback: int,
    unit: str,
    minimum: int,
) -> None:
    """Every read and write of a chat under any habits, against a client and a cache written out naively."""
    small = chat(habits, seed)
    lifetimes = [{"name": "x", "seconds": 40, "write_mult": 1.25}]
    followed = made(
        "breakpoint", auto_mark=automatic, opening=opening, lookback=lookback, lookback_unit=unit,
        min_tokens=minimum, max_writes=4, over_limit="latest", lifetimes=lifetimes,
    )  # fmt: skip
    done = send(small.trace, followed, SLOW, marks=strategy, window=3)
    prompts: list[Prompt] = [
        tuple((tuple(message), len(message)) for message in prompt) for prompt in small.prompts
    ]

    def to_the_model(message: object) -> bool:
        assert isinstance(message, tuple)
        return unit == "position" or message[0][0] != "reply"

    oracle = NaiveBreakpoints(40, minimum, lookback, to_the_model, opening)
    for i in sorted(range(len(prompts)), key=lambda i: (done.arrival_s[i], i)):
        marks = {*_ends(strategy, prompts[i]), *([len(prompts[i])] if automatic else [])}
        expected = oracle.serve(prompts[i], sorted(marks), done.arrival_s[i], done.arrival_s[i] + 1)
        assert (read(done)[i], written(done)[i]) == expected
