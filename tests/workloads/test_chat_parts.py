"""What a chat may have beyond turns: documents, reasoning, branches, a short form."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import load_config, run
from sim.caches.ideal import IdealConfig
from tests.chats import HABITS, TEXT, common, drawn, workload
from tests.oracles import naive_prompts
from workloads.checking import check
from workloads.generators.chat import ChatWorkload, _Draws
from workloads.trace import NONE, Trace

PARTS = st.fixed_dictionaries(
    {
        "document_tokens": st.sampled_from([None, 5]),
        "reasoning_tokens": st.sampled_from([None, 4, {"distribution": "uniform", "low": 0, "high": 3}]),
        "branching": st.sampled_from(
            [None, {"regenerate": 1.0}, {"edit": 1.0}, {"regenerate": 0.4, "edit": 0.3}]
        ),
    }
)


@settings(derandomize=True, max_examples=150)
@given(HABITS, PARTS, st.integers(0, 1000))
def test_against_a_client_that_writes_prompts_out(
    habits: dict[str, Any], parts: dict[str, Any], seed: int
) -> None:
    """Any parts and habits together: messages, common prefixes, and the hits of an ideal cache."""
    chat = workload(habits, **parts)
    trace, plain = chat.build(seed, Path()), workload({}).build(seed, Path())
    check(trace)
    steps = _Draws(chat, seed)._steps(np.ones(len(trace), bool))
    turns = drawn(plain)
    prompts = naive_prompts.prompts(
        turns, [0] * len(trace), TEXT, habits, steps, parts["document_tokens"] or 0
    )
    flat = [[token for message in prompt for token in message] for prompt in prompts]
    assert trace.input_tokens == [len(prompt) for prompt in flat]
    split = trace.by_message
    check(split)
    for request, prompt in enumerate(prompts):
        ends = [0, *(split.content.end[node] for node in split.message_path(split.prompt[request]))]
        assert [after - before for before, after in pairwise(ends)] == [len(message) for message in prompt]
    paths = [trace.content.path(prompt) for prompt in trace.prompt]
    for one, other in combinations(range(len(trace)), 2):
        both = set(paths[one]) & set(paths[other])
        assert max((trace.content.end[node] for node in both), default=0) == common(flat[one], flat[other])
    thought = [
        output - reply
        for output, (_, reply) in zip(trace.output_tokens, [t for one in turns for t in one], strict=True)
    ]
    cache, known = IdealConfig(kind="ideal").replay(trace, "cache"), list[list[Any]]()
    for at, request in trace.instant_order():
        expected = max((common(flat[request], text) for text in known), default=0)
        assert cache.serve(request, at).hit_tokens == expected
        reply = naive_prompts.words(trace.output_tokens[request] - thought[request], "reply", request)
        known.append(flat[request] + naive_prompts.words(thought[request], "thought", request) + reply)


def test_the_first_message_is_unlike_later_ones() -> None:
    """Its length is drawn by itself; everything else is as it was."""
    trace, plain = workload({}, first_user_tokens=50).build(1, Path()), workload({}).build(1, Path())
    firsts = [i for i, turn in enumerate(trace.turn) if turn == 1]
    assert {trace.input_tokens[i] for i in firsts} == {TEXT + 50}
    assert trace.output_tokens == plain.output_tokens and trace.think_s == plain.think_s
    grown = [
        trace.input_tokens[after] - trace.input_tokens[i]
        for i, after in enumerate(trace.follower)
        if after != NONE
    ]
    before = [
        plain.input_tokens[after] - plain.input_tokens[i]
        for i, after in enumerate(plain.follower)
        if after != NONE
    ]
    assert grown == before


def test_reasoning_that_is_dropped(tmp_path: Path) -> None:
    """20 chats of 6 turns, 1,000 system, 80 user, 800 reasoning and 200 reply tokens, in closed form.

    Blocks of 16 on an idle engine. Of turn k's prompt, turn k + 1 finds all up to the question; reply
    and next question are computed: 280 tokens and the rest of the block before.
    """
    config = {
        "name": "reasoning",
        "workload": {
            "kind": "chat", "sessions": 20, "arrival": {"process": "uniform", "rate_per_s": 0.001},
            "turns": 6, "think_time_s": 1, "system_prompt": {"tokens": 1000}, "user_tokens": 80,
            "reply_tokens": 200, "reasoning_tokens": 800,
        },
        "systems": {"e": {"kind": "engine", "model": "llama-3.1-8b", "hardware": "h200"}},
    }  # fmt: skip
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    records = run(load_config(tmp_path / "c.yaml")).runs["e"].records
    assert records.input_tokens.sum() == 213_600
    computed = 0
    for session in range(20):
        for turn in range(6):
            prompt, known = 1080 + 280 * turn, 800 + 280 * turn if turn else 1000 * (session > 0)
            computed += prompt - known // 16 * 16
    assert records.input_tokens.sum() - records.cache_read_input_tokens.sum() == computed == 31_232
    assert set(records.output_tokens.tolist()) == {1000}


def test_three_keys_are_a_chat() -> None:
    """All else has a default; the same goes for a number of users."""
    short = ChatWorkload.model_validate({"kind": "chat", "sessions": 2000, "arrival": {"rate_per_s": 2}})
    trace = short.build(0, Path())
    check(trace)
    assert 3.2 < len(trace) / 2000 < 3.8  # 1 + 0.5 x 5
    single = sum(
        1 for after, turn in zip(trace.follower, trace.turn, strict=True) if after == NONE and turn == 1
    )
    assert 0.46 < single / 2000 < 0.54
    users = ChatWorkload.model_validate({"kind": "chat", "sessions": 20, "arrival": {"concurrency": 4}})
    assert users.build(0, Path()).concurrency == 4


@pytest.mark.parametrize("branching", [{"regenerate": 0.7, "edit": 0.4}, {"regenerate": -0.1}])
def test_shares_that_cannot_be(branching: dict[str, float]) -> None:
    """Named, with what is allowed."""
    with pytest.raises(ValueError, match=r"at most 1|greater than or equal to 0"):
        workload({}, branching=branching)


def _columns(trace: Trace) -> tuple[Any, ...]:
    return (
        trace.prompt,
        trace.reply,
        trace.content.parent,
        trace.content.end,
        trace.arrival_s,
        trace.think_s,
    )


def test_regenerating_adds_no_prompt_content() -> None:
    """Every turn regenerated: each session has one prompt, however many replies."""
    trace = workload({}, branching={"regenerate": 1.0}).build(2, Path())
    assert len(set(trace.prompt)) == len(set(trace.session))
    assert len(set(trace.reply)) == len(trace)
    assert _columns(trace) == _columns(workload({}, branching={"regenerate": 1.0}).build(2, Path()))
